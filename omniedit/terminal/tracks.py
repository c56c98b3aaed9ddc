"""What the screen knows of each edit between two looks at it, and of all of them together."""

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Final

from omniedit.events import (
    Completed,
    Event,
    Failed,
    LineFailed,
    Noted,
    Preparing,
    Progressed,
    Retrying,
    Saved,
    Stalled,
    Submitted,
    Transferring,
    Warned,
)

_LOOK_EVERY_S: Final = 8.0
"""How far apart looks at a watched task are, at most."""
_EASE_S: Final = 0.7
"""How quickly the bar closes in on what is known."""
_SPEED_WINDOW_S: Final = 5.0
_SPEED_SAMPLE_S: Final = 0.25
_FULL: Final = 100.0


@dataclass(slots=True, kw_only=True)
class Transfer:
    """Bytes on their way."""

    direction: str
    name: str
    done_bytes: int = 0
    total_bytes: int | None = None
    samples: deque[tuple[float, int]] = field(default_factory=deque[tuple[float, int]])

    def take(self, event: Transferring, now: float) -> None:
        """Note how far it is; cheap enough for every chunk."""
        if event.done_bytes < self.done_bytes:  # started over
            self.samples.clear()
        self.done_bytes, self.total_bytes = event.done_bytes, event.total_bytes
        if not self.samples or now - self.samples[-1][0] >= _SPEED_SAMPLE_S:
            self.samples.append((now, event.done_bytes))
            while now - self.samples[0][0] > _SPEED_WINDOW_S:
                self.samples.popleft()

    @property
    def percent(self) -> float | None:
        """How much of it is done; None where the whole is unknown."""
        return min(_FULL, _FULL * self.done_bytes / self.total_bytes) if self.total_bytes else None

    def speed(self, now: float) -> float | None:
        """Return bytes a second of late; None before that can be told."""
        if not self.samples or now - self.samples[0][0] < _SPEED_SAMPLE_S:
            return None
        since, had_bytes = self.samples[0]
        return (self.done_bytes - had_bytes) / (now - since)

    def remaining_s(self, now: float) -> float | None:
        """Return how long it will take at this speed."""
        speed = self.speed(now)
        if not speed or self.total_bytes is None:
            return None
        return max(0.0, (self.total_bytes - self.done_bytes) / speed)


@dataclass(slots=True, kw_only=True)
class Pause:
    """A failure that is about to be tried again."""

    message: str
    attempt: int
    until: float


@dataclass(slots=True, kw_only=True)
class Track:
    """One edit on the screen."""

    seen_at: float
    task_id: str | None = None
    state: str = "starting"
    progress: int | None = None
    is_over: bool = False
    """Whether nothing is under way for it any more, as far as anybody said."""
    transfer: Transfer | None = None
    pause: Pause | None = None
    still_since: float | None = None
    _elapsed_s: float = 0.0
    _remaining_s: float | None = None
    _shown: float = 0.0
    _shown_at: float = 0.0

    def elapsed_s(self, now: float) -> float:
        """Return for how long it has been under way."""
        return self._elapsed_s + max(0.0, now - self.seen_at)

    def remaining_s(self, now: float) -> float | None:
        """Return for how long it will go on, as far as anybody knows."""
        if self.transfer is not None:
            return self.transfer.remaining_s(now)
        if self._remaining_s is None:
            return None
        return max(0.0, self._remaining_s - max(0.0, now - self.seen_at))

    def percent(self, now: float) -> float | None:
        """Return how much to show as done: smooth, and never backwards."""
        if self.transfer is not None:
            return self.transfer.percent
        if self.progress is None:
            return None
        passed_s = max(0.0, now - (self._shown_at or now))
        gap = self._expected(now, self.progress) - self._shown
        self._shown += max(0.0, gap) * (1 - math.exp(-passed_s / _EASE_S))
        self._shown_at = now
        return self._shown

    def restart_clock(self, now: float, *, elapsed_s: float, remaining_s: float | None) -> None:
        """Note the times that hold as of now."""
        self.seen_at, self._elapsed_s, self._remaining_s = now, elapsed_s, remaining_s

    def _expected(self, now: float, progress: int) -> float:
        """Return where it probably is: at first as fast as expected, but never past the next look.

        What the next look will bring is unknown, so the way there is only ever approached.
        """
        if progress >= _FULL or not self._remaining_s:
            return progress
        rate = (_FULL - progress) / self._remaining_s
        reach = min(rate * _LOOK_EVERY_S, (_FULL - progress) * 0.9)
        passed_s = max(0.0, now - self.seen_at)
        return progress + reach * (1 - math.exp(-rate * passed_s / reach))


class Board:
    """All edits of a command, by what they have reported."""

    def __init__(self, *, total_tasks: int, now: float) -> None:
        self.total_tasks = total_tasks
        self.started_at = now
        self.tracks: dict[str, Track] = {}
        self.pause: Pause | None = None
        self.completed = 0
        self.saved = 0
        self.failed = 0
        self._shown = 0.0

    @property
    def is_single(self) -> bool:
        """Whether there is one edit only, whatever it reports."""
        return self.total_tasks <= 1

    @property
    def done(self) -> int:
        """How many ended well: saved, or completed where nothing is saved."""
        return self.saved or self.completed

    @property
    def running(self) -> list[Track]:
        """The edits under way, in the order in which they came."""
        return [track for track in self.tracks.values() if not track.is_over]

    @property
    def summary(self) -> str:
        """All edits in one line: `37/120 saved, 24 running, 1 failed`."""
        word = "saved" if self.saved or not self.completed else "completed"
        parts = [f"{self.done}/{self.total_tasks} {word}", f"{len(self.running)} running"]
        if self.failed:
            parts.append(f"{self.failed} failed")
        return ", ".join(parts)

    def percent(self, now: float) -> float:
        """Return how much of everything is done."""
        running = sum(track.percent(now) or 0.0 for track in self.running)
        whole = _FULL * max(1, self.total_tasks)
        percent = min(_FULL, _FULL * (_FULL * (self.done + self.failed) + running) / whole)
        self._shown = max(self._shown, percent)
        return self._shown

    def take(self, event: Event, now: float) -> Track:
        """Note what happened; return the edit it happened to."""
        track = self._track_of(event, now)
        match event:
            case Submitted() | Progressed() | Completed() | Failed():
                self._take_task(track, event, now)
            case Stalled():
                track.still_since = now - event.since_s
            case Retrying():
                self._take_pause(track, event, now)
            case Transferring():
                self._take_transfer(track, event, now)
            case Saved():
                self.saved += 1
                self.tracks.pop("" if self.is_single else _key(event), None)
            case LineFailed() | Preparing() | Noted() | Warned():
                if isinstance(event, LineFailed):
                    self.failed += 1
                    self.tracks.pop(event.task_id or "", None)
        return track

    def _take_pause(self, track: Track, event: Retrying, now: float) -> None:
        pause = Pause(message=event.message, attempt=event.attempt, until=now + event.delay_s)
        if event.task_id is None and not self.is_single:
            self.pause = pause
        else:
            track.pause = pause

    def _track_of(self, event: Event, now: float) -> Track:
        key = "" if self.is_single else _key(event)
        if isinstance(event, Noted | Warned | LineFailed | Preparing) or (
            key == "" and not self.is_single
        ):
            return Track(seen_at=now)
        if isinstance(event, Saved) and key not in self.tracks:
            return Track(seen_at=now, task_id=event.task_id)
        return self.tracks.setdefault(key, Track(seen_at=now))

    def _take_task(
        self, track: Track, event: Submitted | Progressed | Completed | Failed, now: float
    ) -> None:
        task = event.record.task
        track.task_id = event.record.task_id
        track.transfer = track.pause = None
        track.is_over = False
        if event.record.status != track.state:
            track.still_since = None
        track.state = event.record.status
        match event:
            case Submitted():
                track.restart_clock(
                    now, elapsed_s=0.0, remaining_s=task.estimated_s if task else None
                )
            case Progressed():
                progress = task.progress if task else None
                if progress is not None and progress > (track.progress or 0):
                    track.still_since = None
                track.progress = progress
                track.restart_clock(now, elapsed_s=event.elapsed_s, remaining_s=event.remaining_s)
            case Completed():
                self.completed += 1
                self._end(track, now)
            case Failed():
                self.failed += 1
                self._end(track, now)

    def _end(self, track: Track, now: float) -> None:
        track.is_over = True
        track.progress = int(_FULL) if track.state == "completed" else None
        track.restart_clock(now, elapsed_s=track.elapsed_s(now), remaining_s=None)

    def _take_transfer(self, track: Track, event: Transferring, now: float) -> None:
        transfer = track.transfer
        if transfer is None or (transfer.direction, transfer.name) != (event.direction, event.name):
            transfer = track.transfer = Transfer(direction=event.direction, name=event.name)
            track.state = f"{event.direction}ing"
        track.still_since = track.pause = None
        track.is_over = False
        transfer.take(event, now)
        is_whole = event.total_bytes is not None and event.done_bytes >= event.total_bytes
        if is_whole and event.direction == "upload":
            # The task that comes of it has a track of its own, except where there is only one.
            track.state, track.transfer = "submitting", None
            if not self.is_single:
                self.tracks.pop(_key(event), None)


def _key(event: Event) -> str:
    """Return what tells one edit from another; an upload has no task yet."""
    match event:
        case Submitted() | Progressed() | Completed() | Failed():
            return event.record.task_id or ""
        case Stalled():
            return event.task_id
        case Saved():
            return event.task_id or ""
        case Transferring():
            return event.task_id or f"{event.direction} {event.name}"
        case Retrying():
            return event.task_id or ""
        case Noted() | Warned() | LineFailed() | Preparing():
            return ""
