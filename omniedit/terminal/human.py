"""Human-readable values: durations, sizes, credits, times, advice, and a one-line status."""

from collections.abc import Mapping
from datetime import UTC, datetime, tzinfo
from itertools import pairwise
from typing import Final

from omniedit.models import CREDITS_PER_DOLLAR, Record, SavedFile, Task, TaskError, clip_name
from omniedit.schemas import instant
from omniedit.terminal.streams import Span

NOT_SAVED: Final = "not saved"
ID_CHARACTERS: Final = 8
"""How many characters at the end of an ID usually tell it apart."""

_MINUTE_S: Final = 60
_HOUR_S: Final = 3600
_DAY_S: Final = 86400
_UNITS: Final = ((_DAY_S, "d"), (_HOUR_S, "h"), (_MINUTE_S, "m"), (1, "s"))
_WEEKDAYS_S: Final = 6 * _DAY_S
"""For how long a weekday is the only one of its name."""
_KILO: Final = 1000
_GAP: Final = "  "
_NONE: Final = "-"
_ADVICE: Final = {
    "content_policy_violation": "change the prompt or the clip: the content policy refuses them",
    "generation_failed_no_content": "rephrase the prompt",
    "image_dimension_mismatch": "use another clip: the service rejects its dimensions",
    "image_processing_error": "use another clip: the service cannot read this one",
    "invalid_parameters": "check the clip and the prompt: the service rejects them",
    "quota_exceeded": "run the edit again later, with fewer edits at a time",
    "request_cancelled": "if you still want it, run the edit again with `--again`",
    "resource_not_found": "check that the clip's URL still works",
}


def advice_on(error: TaskError) -> str | None:
    """Return the service's own suggestion, or else advice for the error's code.

    An error with a kind is omniedit's own or a refused submission, not a failed task, so an unknown
    code gets no advice.
    """
    advice = error.suggestion or _ADVICE.get(error.code)
    if advice:
        return advice
    if error.is_retryable:
        return "run the edit again later"
    return None if error.kind else "contact EvoLink's support with the task ID"


def render_duration(seconds: float) -> str:
    """Return `58s`, `1m05s`, `3h07m` or `2d04h`: two units at most, one word."""
    total = max(0, int(seconds))
    for (unit_s, unit), (below_s, below) in pairwise(_UNITS):
        if total >= unit_s:
            return f"{total // unit_s}{unit}{total % unit_s // below_s:02d}{below}"
    return f"{total}s"


def render_age(seconds: float) -> str:
    """Return `58s ago`, `10m ago`, `3h ago` or `2d ago`."""
    total = max(0, int(seconds))
    unit_s, unit = next((each for each in _UNITS if total >= each[0]), _UNITS[-1])
    return f"{total // unit_s}{unit} ago"


def render_when(unix_s: float | None, now: float | None, *, zone: tzinfo | None = None) -> str:
    """Return `5h ago`, `Fri 17:05`, `21 Nov` or `21 Nov 2025`: the shortest that is clear.

    Args:
        unix_s: The time; None if it is unknown.
        now: Unix time; None for a script, which gets `2026-11-27 17:05` in UTC.
        zone: The time zone; None for this machine's.
    """
    utc = instant(unix_s, timespec="minutes")
    if unix_s is None or utc is None:
        return _NONE
    if now is None:
        return utc.replace("T", " ").removesuffix("Z")
    age_s = now - unix_s
    if -_MINUTE_S < age_s < _DAY_S:  # clocks may differ by some seconds
        return render_age(age_s)
    moment = datetime.fromtimestamp(unix_s, UTC).astimezone(zone)
    if 0 < age_s < _WEEKDAYS_S:
        return f"{moment:%a %H:%M}"
    is_this_year = moment.year == datetime.fromtimestamp(now, UTC).astimezone(zone).year
    return f"{moment.day} {moment:%b}" + ("" if is_this_year else f" {moment.year}")


def render_clock(seconds: float) -> str:
    """Return `0:58`, `1:05` or `3:07:09`: digits that keep their positions while counting."""
    total = max(0, int(seconds))
    minutes, second = divmod(total, _MINUTE_S)
    hours, minute = divmod(minutes, _MINUTE_S)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"


def render_took(seconds: float) -> str:
    """Return `48 s` or `1m05s`: how long a task took, for use in a sentence."""
    return f"{int(max(0.0, seconds))} s" if seconds < _MINUTE_S else render_duration(seconds)


def render_size(size_bytes: float) -> str:
    """Return `812 B`, `2.1 MB` or `95 MB` (a kB is 1,000 bytes)."""
    size = float(size_bytes)
    if size < _KILO:
        return f"{int(size)} B"
    for unit in ("kB", "MB", "GB"):
        size /= _KILO
        # Rounding would show 9.96 as 10.0, and 999.7 as 1000.
        if size < 9.95:  # noqa: PLR2004
            return f"{size:.1f} {unit}"
        if size < _KILO - 0.5:
            return f"{size:.0f} {unit}"
    return f"{size / _KILO:.1f} TB"


def render_credits(amount: float) -> str:
    """Return `64.2 credits ($0.94)`."""
    return f"{render_amount(amount)} credits (${amount / CREDITS_PER_DOLLAR:,.2f})"


def render_estimate(amount: float | None) -> str:
    """Return `about 64.2 credits ($0.94), plus thinking tokens`, or "an unknown price"."""
    price = render_price(amount)
    return price if amount is None else f"{price}, plus thinking tokens"


def render_price(amount: float | None) -> str:
    """Return `about 64.2 credits ($0.94)`, or "an unknown price"."""
    return "an unknown price" if amount is None else f"about {render_credits(amount)}"


def render_amount(credits: float) -> str:  # noqa: A002 - the unit's name
    """Return `64.2`."""
    return f"{credits:,.1f}"


def render_charge(task: Task | None) -> str:
    """Return the charge of a finished task: `31.2 credits ($0.46)` or `credits unknown`."""
    if task is None or task.credits_used is None:
        return "credits unknown"
    return render_credits(task.credits_used)


def render_reserved(task: Task | None, *, estimate: float | None = None) -> str:
    """Return the credits reserved and the earlier estimate; empty if there is no task yet."""
    reserved = ""
    if task is not None:
        amount = task.credits_reserved
        reserved = "credits unknown" if amount is None else f"{render_credits(amount)} reserved"
    if estimate is None:
        return reserved
    if reserved == f"{render_credits(estimate)} reserved":
        return f"{reserved}, as estimated"
    return "; ".join(filter(None, [reserved, f"estimated {render_estimate(estimate)}"]))


def render_moment(unix_s: float) -> str:
    """Return `2026-09-06 14:03 UTC`."""
    moment = instant(unix_s, timespec="minutes")
    return moment.replace("T", " ").replace("Z", " UTC") if moment else "at an unknown time"


def render_status_line(
    record: Record, now: float, *, lost_files: Mapping[str, str] | None = None
) -> list[Span]:
    """Return one line about an edit, its task ID first; `lost_files` is as for `render_table`."""
    task = record.task
    error = failure_of(record)
    parts = [Span(name_of(record)), Span(record.shown_status)]
    if task is not None and task.is_completed:
        parts += [
            _saved_file(record, lost_files or {}),
            Span(render_charge(task)),
            Span(_link(record, now)),
        ]
    elif error is not None:
        parts.append(Span(f"{error.code}: {error.message}"))
    elif task is not None and not task.is_terminal:
        if task.progress is not None:
            parts.append(Span(f"{task.progress} %"))
        created_at = record.created_at if task.created_at is None else task.created_at
        parts.append(Span(f"{render_duration(now - created_at)} elapsed"))
        parts.append(Span(render_reserved(task)))
    spans: list[Span] = []
    for part in parts:
        if part.text:
            spans += [Span(_GAP), part]
    return spans[1:]


def name_of(record: Record) -> str:
    """Return the task ID, or the request ID if there is no task."""
    return record.task_id or record.request_id or _NONE


def submitted_at(record: Record) -> float | None:
    """Return when an edit was submitted here, or else when the service created its task."""
    if record.request_id is not None:
        return record.created_at
    return record.task.created_at if record.task else None


def failure_of(record: Record) -> TaskError | None:
    """Return why the task failed, or the submission was refused."""
    return record.error or (record.task.failure if record.task else None)


def render_clip(video: str | None) -> str:
    """Return what to call a clip: its file name, or the host of a URL that has none."""
    if not video:
        return ""
    return clip_name(video) or video.partition("://")[2].partition("/")[0]


def link_left_s(record: Record, now: float) -> float | None:
    """Return how long the result link is certain to stay valid; None if unknown."""
    if record.task is None or not record.task.is_completed:
        return None
    if record.is_result_gone:
        return 0.0
    if record.link_valid_until is None:
        return None
    return max(0.0, record.link_valid_until - now)


def shown_file(record: Record, lost_files: Mapping[str, str]) -> SavedFile | None:
    """Return the newest saved file that still exists, or else the newest of all."""
    existing = (
        file
        for file in reversed(record.saved)
        if not file.is_elsewhere and file.path not in lost_files
    )
    return next(existing, record.saved[-1] if record.saved else None)


def _saved_file(record: Record, lost_files: Mapping[str, str]) -> Span:
    file = shown_file(record, lost_files)
    if file is None:
        return Span(NOT_SAVED)
    if file.is_elsewhere:
        return Span("saved elsewhere")
    if file.path in lost_files:
        fate = lost_files[file.path]
        return Span(f"{file.path} {'has' if fate == 'changed' else 'is'} {fate}")
    return Span(f"saved {file.path}", file=file.path)


def _link(record: Record, now: float) -> str:
    left_s = link_left_s(record, now)
    if left_s is None:
        return ""
    if left_s:
        return f"link valid for {render_duration(left_s)}"
    return "link expired" if record.task and record.task.result_urls else "no result"
