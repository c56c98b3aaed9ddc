"""Policies for tests: the product's, without the rests and time-outs that nobody need sit out."""

import importlib
import pkgutil
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from inspect import isclass, isfunction, unwrap
from types import FunctionType, ModuleType
from typing import Final

import omniedit
from omniedit.policy import DEFAULT, Policy

HURRIED: Final = DEFAULT._replace(
    read_timeout_s=20.0,
    submit_timeout_s=20.0,
    upload_timeout_s=20.0,
    grace_s=20.0,
    first_backoff_s=0.02,
    longest_backoff_s=0.1,
    read_budget_s=1.6,
    submit_budget_s=1.6,
    early_poll_s=0.02,
    shortest_poll_s=0.02,
    longest_watched_poll_s=0.2,
    longest_unwatched_poll_s=0.2,
)


def impatient(policy: Policy = HURRIED, *, timeout_s: float = 0.4) -> Policy:
    """Return a policy for replies that never come."""
    return policy._replace(
        read_timeout_s=timeout_s, submit_timeout_s=timeout_s, upload_timeout_s=timeout_s
    )


def resigned(policy: Policy = HURRIED, *, budget_s: float = 0.3) -> Policy:
    """Return a policy for what is tried again without any hope."""
    return policy._replace(read_budget_s=budget_s, submit_budget_s=budget_s)


@contextmanager
def enforced(policy: Policy) -> Generator[None]:
    """Have the part of a policy in force for a block that the product does not take from it yet."""
    modules, functions = _modules(), _functions()
    constants, defaults = _constants(policy), _parameters(policy)
    before = [
        (vars(module), {name: vars(module)[name] for name in constants if name in vars(module)})
        for module in modules
    ] + [(kwdefaults, dict(kwdefaults)) for kwdefaults in functions]
    try:
        for module in modules:
            names = vars(module)
            names.update({name: value for name, value in constants.items() if name in names})
        for kwdefaults in functions:
            kwdefaults.update({n: defaults[n] for n in _names(kwdefaults)})
        yield
    finally:
        for names, values in before:
            names.update(values)


@cache
def _modules() -> tuple[ModuleType, ...]:
    """Return the modules with such constants, and load all: a later one would keep the policy."""
    found = [omniedit]
    for module in pkgutil.walk_packages(omniedit.__path__, "omniedit."):
        if not module.name.startswith("omniedit.sandbox") and not module.name.endswith("__main__"):
            with suppress(ModuleNotFoundError):  # of an extra that is not installed
                found.append(importlib.import_module(module.name))
    return tuple(module for module in found if _constants(HURRIED).keys() & vars(module).keys())


@cache
def _functions() -> tuple[dict[str, object], ...]:
    """Return the defaults of the functions that have such parameters."""
    found: dict[int, dict[str, object]] = {}
    for module in _loaded():
        for value in vars(module).values():
            members = vars(value).values() if isclass(value) else [value]
            for member in members:
                function = unwrap(member) if callable(member) else member
                if isfunction(function) and _names(_defaults(function)):
                    found[id(function)] = _defaults(function)
    return tuple(found.values())


def _loaded() -> list[ModuleType]:
    return [module for name, module in list(sys.modules.items()) if name.startswith("omniedit.")]


def _defaults(function: FunctionType) -> dict[str, object]:
    is_ours = function.__module__.startswith("omniedit.")
    return (function.__kwdefaults__ or {}) if is_ours else {}


def _names(kwdefaults: Mapping[str, object]) -> list[str]:
    parameters = _parameters(HURRIED)
    return [name for name in parameters if type(kwdefaults.get(name)) is type(parameters[name])]


def _constants(policy: Policy) -> Mapping[str, float]:
    """Return the values of the product's constants, by name."""
    return {
        "FIRST_DELAY_S": policy.first_backoff_s,
        "LONGEST_DELAY_S": policy.longest_backoff_s,
        "SUBMIT_TIMEOUT_S": policy.submit_timeout_s,
        "UPLOAD_TIMEOUT_S": policy.upload_timeout_s,
    }


def _parameters(policy: Policy) -> Mapping[str, float | Policy]:
    """Return the values of parameters that have a default, by name."""
    return {
        "budget_s": policy.submit_budget_s,
        "grace_s": policy.grace_s,
        "timeout_s": policy.read_timeout_s,
        "policy": policy,
    }
