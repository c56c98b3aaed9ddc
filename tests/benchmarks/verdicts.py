"""A measured figure and its target."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One figure and its upper limit, or its lower limit if `is_least`."""

    what: str
    measured: float
    target: float | None  # None if there is no target
    unit: str = "x"
    is_least: bool = False

    @property
    def is_met(self) -> bool:
        """Whether the target is met; true if there is none."""
        if self.target is None:
            return True
        return self.measured >= self.target if self.is_least else self.measured <= self.target

    def __str__(self) -> str:
        shown = f"  {self.what:<56} {self.measured:8.2f} {self.unit:<3}"
        if self.target is None:
            return shown
        sign = "≥" if self.is_least else "≤"
        return f"{shown}  {sign} {self.target:<5g} {'met' if self.is_met else 'NOT MET'}"
