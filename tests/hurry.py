"""Every rest, budget and time-out of the product that tests shorten, so that none sits them out.

Nothing but numbers differs from the installed command.
"""

import importlib
import pkgutil
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from inspect import isclass, isfunction, unwrap
from types import FunctionType, ModuleType
from typing import Final

import omniedit


@dataclass(frozen=True, slots=True, kw_only=True)
class Hurry:
    """How long a command line rests, tries again and waits; the product's own numbers beside it."""

    timeout_s: float = 1.2
    """Of each read of a reply; 30 and 60 s."""
    budget_s: float = 1.6
    """How long what costs nothing is tried again; 30 and 120 s."""
    grace_s: float = 0.5
    """How long a signal waits for an outstanding reply; 5 s."""
    first_delay_s: float = 0.02
    """The rest after a first failed attempt; 1 s."""
    longest_delay_s: float = 0.1
    """The longest rest between two attempts; 30 s."""
    interval_s: float = 0.02
    """The shortest rest between two polls; 2 s."""
    longest_interval_s: float = 0.2
    """The longest one; 8 and 15 s."""

    @property
    def constants(self) -> Mapping[str, float]:
        """The values of the product's constants, by name."""
        return {
            "FIRST_DELAY_S": self.first_delay_s,
            "LONGEST_DELAY_S": self.longest_delay_s,
            "SUBMIT_BUDGET_S": self.budget_s,
            "READ_BUDGET_S": self.budget_s,
            "EARLY_LOOK_S": self.interval_s,
            "FLOOR_S": self.interval_s,
            "WATCHED_CAP_S": self.longest_interval_s,
            "UNWATCHED_CAP_S": self.longest_interval_s,
            "SUBMIT_TIMEOUT_S": self.timeout_s,
            "UPLOAD_TIMEOUT_S": self.timeout_s,
        }

    @property
    def defaults(self) -> Mapping[str, float]:
        """The values of parameters that have a default, by name."""
        return {
            "budget_s": self.budget_s,
            "grace_s": self.grace_s,
            "timeout_s": self.timeout_s,
        }


HURRIED: Final = Hurry()
IN_VAIN: Final = Hurry(budget_s=0.3)
"""For what is tried again without any hope."""


@contextmanager
def hurried(hurry: Hurry = HURRIED) -> Generator[None]:
    """Be in a hurry for a block."""
    modules, functions = _modules(), _functions()
    constants, defaults = hurry.constants, hurry.defaults
    before = [
        (vars(module), {name: vars(module)[name] for name in constants if name in vars(module)})
        for module in modules
    ] + [(kwdefaults, dict(kwdefaults)) for kwdefaults in functions]
    try:
        for module in modules:
            names = vars(module)
            names.update({name: value for name, value in constants.items() if name in names})
        for kwdefaults in functions:
            kwdefaults.update({n: defaults[n] for n in _hurried_names(kwdefaults)})
        yield
    finally:
        for names, values in before:
            names.update(values)


@cache
def _modules() -> tuple[ModuleType, ...]:
    """Return the modules with such constants, and load all: a later one would keep the hurry."""
    found = [omniedit]
    for module in pkgutil.walk_packages(omniedit.__path__, "omniedit."):
        if not module.name.startswith("omniedit.sandbox") and not module.name.endswith("__main__"):
            with suppress(ModuleNotFoundError):  # of an extra that is not installed
                found.append(importlib.import_module(module.name))
    return tuple(module for module in found if HURRIED.constants.keys() & vars(module).keys())


@cache
def _functions() -> tuple[dict[str, object], ...]:
    """Return the defaults of the functions that have such parameters."""
    found: dict[int, dict[str, object]] = {}
    for module in _loaded():
        for value in vars(module).values():
            members = vars(value).values() if isclass(value) else [value]
            for member in members:
                function = unwrap(member) if callable(member) else member
                if isfunction(function) and _hurried_names(_defaults(function)):
                    found[id(function)] = _defaults(function)
    return tuple(found.values())


def _loaded() -> list[ModuleType]:
    return [module for name, module in list(sys.modules.items()) if name.startswith("omniedit.")]


def _defaults(function: FunctionType) -> dict[str, object]:
    is_ours = function.__module__.startswith("omniedit.")
    return (function.__kwdefaults__ or {}) if is_ours else {}


def _hurried_names(kwdefaults: Mapping[str, object]) -> list[str]:
    return [name for name in HURRIED.defaults if isinstance(kwdefaults.get(name), float)]
