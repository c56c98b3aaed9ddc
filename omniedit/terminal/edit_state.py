"""The progress of one edit, interpolated between polls so that its display moves evenly."""

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from omniedit.events import Preparing, Progressed, Submitted, Transferring
from omniedit.policy import DEFAULT

_POLL_EVERY_S: Final = DEFAULT.longest_watched_poll_s
"""The longest time between two polls of a watched task."""
_BAR_EASE_S: Final = 0.7
"""The time constant with which the bar approaches the known progress."""
_REMAINING_EASE_S: Final = 6.0
"""The time constant with which the remaining time approaches the newest estimate."""
_SPEED_WINDOW_S: Final = 5.0
_SPEED_SAMPLE_S: Final = 0.25
_FULL: Final = 100.0


@dataclass(eq=False, repr=False, slots=True)
class Remaining:
    """The remaining seconds to display: they count down and never jump."""

    _shown_s: float | None = None
    _shown_at: float = 0.0

    def ease_to(self, known_s: float, now: float) -> float:
        """Return the seconds to display, given `known_s` as the newest estimate."""
        if self._shown_s is None:
            self._shown_s = known_s
        else:
            passed_s = max(0.0, now - self._shown_at)
            counted_s = max(0.0, self._shown_s - passed_s)
            share = 1 - math.exp(-passed_s / _REMAINING_EASE_S)
            self._shown_s = counted_s + (known_s - counted_s) * share
        self._shown_at = now
        return self._shown_s


@dataclass(eq=False, repr=False, slots=True, kw_only=True)
class Transfer:
    """The progress of an upload or a download."""

    direction: str
    name: str
    began_at: float
    done_bytes: int = 0
    total_bytes: int | None = None
    samples: deque[tuple[float, int]] = field(default_factory=deque[tuple[float, int]])

    def update(self, event: Transferring, now: float) -> None:
        """Record progress; cheap enough to call for every chunk."""
        if event.done_bytes < self.done_bytes:  # started over
            self.samples.clear()
        self.done_bytes, self.total_bytes = event.done_bytes, event.total_bytes
        if not self.samples or now - self.samples[-1][0] >= _SPEED_SAMPLE_S:
            self.samples.append((now, event.done_bytes))
            while now - self.samples[0][0] > _SPEED_WINDOW_S:
                self.samples.popleft()

    @property
    def percent(self) -> float | None:
        """The percentage transferred; None if the total size is unknown."""
        return min(_FULL, _FULL * self.done_bytes / self.total_bytes) if self.total_bytes else None

    def speed(self, now: float) -> float | None:
        """Return the recent speed in bytes per second; None until it can be measured."""
        if not self.samples or now - self.samples[0][0] < _SPEED_SAMPLE_S:
            return None
        since, had_bytes = self.samples[0]
        return (self.done_bytes - had_bytes) / (now - since)

    def remaining_s(self, now: float) -> float | None:
        """Return the remaining seconds at the current speed; None if unknown."""
        speed = self.speed(now)
        if not speed or self.total_bytes is None:
            return None
        return max(0.0, (self.total_bytes - self.done_bytes) / speed)


class Pause(NamedTuple):
    """The wait between a failed attempt and its retry."""

    message: str
    attempt: int
    until: float


@dataclass(eq=False, repr=False, slots=True, kw_only=True)
class EditState:
    """The state of one edit, and how its progress is displayed."""

    updated_at: float
    task_id: str | None = None
    label: str = ""
    """The name shown to people: its clip or manifest line."""
    state: str = "starting"
    progress: int | None = None
    is_over: bool = False
    """Whether nothing is left to do for it; a later event may reset it."""
    has_ended: bool = False
    """Whether its task has ended; the result may still be downloading."""
    has_been_followed: bool = False
    """Whether it was ever seen unfinished, so that its duration is known."""
    transfer: Transfer | None = None
    preparing: Preparing | None = None
    pause: Pause | None = None
    unchanged_since: float | None = None
    _shown_remaining: Remaining = field(default_factory=Remaining)
    _elapsed_s: float = 0.0
    _remaining_s: float | None = None
    _shown_percent: float = 0.0
    _shown_at: float = 0.0

    def elapsed_s(self, now: float) -> float:
        """Return how long the task has been running, or how long it took."""
        return self._elapsed_s + (0.0 if self.has_ended else max(0.0, now - self.updated_at))

    def remaining_s(self, now: float) -> float | None:
        """Return the estimated remaining seconds; None if unknown."""
        if self.transfer is not None:
            return self.transfer.remaining_s(now)
        if self.preparing is not None:
            return self.preparing.remaining_s
        if self._remaining_s is None:
            return None
        known_s = max(0.0, self._remaining_s - max(0.0, now - self.updated_at))
        return self._shown_remaining.ease_to(known_s, now)

    @property
    def known_percent(self) -> float | None:
        """The percentage as last reported; None if unknown."""
        if self.transfer is not None:
            return self.transfer.percent
        if self.preparing is not None:
            total = self.preparing.total
            return min(_FULL, _FULL * self.preparing.done / total) if total else None
        return self.progress

    def percent(self, now: float) -> float | None:
        """Return the percentage to display: smoothed between polls, and never backwards."""
        if self.progress is None or self.transfer is not None or self.preparing is not None:
            return self.known_percent
        passed_s = max(0.0, now - (self._shown_at or now))
        gap = self._expected(now, self.progress) - self._shown_percent
        self._shown_percent += max(0.0, gap) * (1 - math.exp(-passed_s / _BAR_EASE_S))
        self._shown_at = now
        return self._shown_percent

    def update_from_poll(self, event: Progressed, now: float) -> None:
        """Record what a poll showed."""
        task = event.record.task
        progress = task.progress if task else None
        if progress is not None and progress > (self.progress or 0):
            self.unchanged_since = None
        self.progress = progress
        self.is_over = self.has_ended = False
        self.has_been_followed |= task is not None and not task.is_terminal
        self.updated_at, self._elapsed_s, self._remaining_s = (
            now,
            event.elapsed_s,
            event.remaining_s,
        )

    def update_from_submission(self, event: Submitted, now: float) -> None:
        """Record that the task has just started."""
        task = event.record.task
        self.is_over = False
        self.updated_at, self._elapsed_s = now, 0.0
        self._remaining_s = task.estimated_s if task and not task.is_terminal else None

    def end(self, now: float) -> None:
        """Record that the task has ended."""
        self._elapsed_s = self.elapsed_s(now)
        self.updated_at, self._remaining_s = now, None
        self.is_over = self.has_ended = True
        self.progress = int(_FULL) if self.state == "completed" else None

    def _expected(self, now: float, progress: int) -> float:
        """Return the likely percentage: it starts at the expected rate, then levels off.

        The next poll may show less than expected, so the value approaches what one interval should
        add but never reaches it.
        """
        if progress >= _FULL or not self._remaining_s:
            return progress
        rate = (_FULL - progress) / self._remaining_s
        reach = min(rate * _POLL_EVERY_S, (_FULL - progress) * 0.9)
        passed_s = max(0.0, now - self.updated_at)
        return progress + reach * (1 - math.exp(-rate * passed_s / reach))
