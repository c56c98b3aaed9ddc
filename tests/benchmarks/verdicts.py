"""A measured figure beside its target."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One figure, and the most (or, `is_least`, the least) that it is to be."""

    what: str
    measured: float
    target: float
    unit: str = "×"
    is_least: bool = False

    @property
    def is_met(self) -> bool:
        """Whether the target is reached."""
        if self.is_least:
            return self.measured >= self.target
        return self.measured <= self.target

    def __str__(self) -> str:
        sign = "≥" if self.is_least else "≤"
        target = f"{sign} {self.target:g} {self.unit}"
        measured = f"{self.measured:.2f} {self.unit}"
        return (
            f"  {self.what:<58} {measured:>12}  {target:<12} {'met' if self.is_met else 'NOT MET'}"
        )
