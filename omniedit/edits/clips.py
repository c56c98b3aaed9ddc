"""A look at a clip before it is paid for, and what must be done to it on the way."""

from collections.abc import Generator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from omniedit.edits.ports import Session
from omniedit.errors import (
    InvalidInputError,
    MissingExtraError,
    OmniEditError,
    ResultGoneError,
    TooExpensiveError,
    UnavailableError,
)
from omniedit.events import Noted, Retrying, Transferring, Warned
from omniedit.http.ranges import Incomplete
from omniedit.media import (
    ClipFacts,
    check_marks,
    estimated_credits,
    needs_conversion,
    parse_mark,
    verdict,
)
from omniedit.models import EditRequest

INSTALL_MEDIA: Final = "python -m pip install 'omniedit[media]'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What was typed about looking at a clip and cutting it.

    `check` is None where nothing was said: a local clip is looked at, a URL is not.
    """

    start: str | None = None
    end: str | None = None
    check: bool | None = None
    max_credits: float | None = None

    @property
    def is_cut(self) -> bool:
        """Whether only a part of the clip is meant."""
        return self.start is not None or self.end is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipPlan:
    """What a look at a clip led to."""

    start_s: float | None = None
    end_s: float | None = None
    is_written_anew: bool = False
    """Whether another file than the clip itself is uploaded: cut, converted, or both."""
    estimated_credits: float | None = None


def plan_clip(
    session: Session, video: str, wishes: Wishes, *, is_local: bool, source: str | None = None
) -> ClipPlan:
    """Look at a clip where that is asked for, and refuse what would be paid for in vain.

    Args:
        session: What it calls on.
        video: URL or path.
        wishes: What was typed.
        is_local: Whether it is a path.
        source: Path of the clip of a URL, where it was fetched before.

    Raises:
        InvalidInputError: The clip does not fit, with the flag that would fix it.
        MissingExtraError: The wish needs an extra that is not installed.
        TooExpensiveError: Estimated dearer than allowed, or not to be estimated.
    """
    start_s = None if wishes.start is None else parse_mark(wishes.start)
    end_s = None if wishes.end is None else parse_mark(wishes.end)
    is_usual = is_local if wishes.check is None else wishes.check
    if not (is_usual or wishes.is_cut or wishes.max_credits is not None):
        return ClipPlan()
    if not session.clips.can_look:
        _accept_no_extra(session, wishes, is_local=is_local)
        return ClipPlan()
    facts = session.clips.look(source or video, name=video)
    if isinstance(facts, Incomplete):
        _accept_no_look(session, facts, wishes)
        return ClipPlan(start_s=start_s, end_s=end_s, is_written_anew=wishes.is_cut)
    length_s = _marked_length(facts, start_s, end_s)
    sent = replace(facts, duration_s=length_s)
    if wishes.is_cut:
        # What a cut leaves is written as the service wants it.
        sent = replace(sent, container="mp4", video_codec="h264", size_bytes=None)
    if is_usual or wishes.is_cut:
        _refuse(sent, is_forced=wishes.check is False)
    return ClipPlan(
        start_s=start_s,
        end_s=end_s,
        is_written_anew=wishes.is_cut or (is_local and is_usual and needs_conversion(facts)),
        estimated_credits=_affordable(facts, length_s, wishes),
    )


@contextmanager
def ready_clip(session: Session, request: EditRequest, *, is_local: bool) -> Generator[Path]:
    """Hold the file that is uploaded for a block: the clip, or what was made of it.

    Raises:
        InvalidInputError: The clip cannot be fetched, cut or converted.
        LocalError: The disk does not take it.
    """
    if is_local and not request.is_written_anew:
        yield Path(request.video)
    elif is_local or request.source:
        with _prepared(session, Path(request.source or request.video), request) as path:
            yield path
    else:
        with (
            fetched_clip(session, request.video) as path,
            _prepared(session, path, request) as prepared,
        ):
            yield prepared


@contextmanager
def fetched_clip(session: Session, url: str) -> Generator[Path]:
    """Hold the clip of a URL in a private file for a block.

    Raises:
        InvalidInputError: It cannot be fetched.
        LocalError: The disk does not take it.
    """

    def report_progress(done_bytes: int, total_bytes: int | None) -> None:
        session.report(
            Transferring(
                name="clip", direction="download", done_bytes=done_bytes, total_bytes=total_bytes
            )
        )

    def report_retry(message: str, rest_s: float, attempt: int) -> None:
        session.report(Retrying(message=_of_clip(message), delay_s=rest_s, attempt=attempt))

    with ExitStack() as stack:
        try:
            path = stack.enter_context(
                session.clips.fetched(
                    url,
                    folder=session.private_folder,
                    on_progress=report_progress,
                    on_retry=report_retry,
                )
            )
        except ResultGoneError as error:
            msg = f"the clip cannot be fetched to be cut: {_of_clip(error.message)}"
            raise InvalidInputError(msg, hint="give a local copy of it") from error
        except OmniEditError as error:
            error.task_id = None  # there is no task yet
            if isinstance(error, UnavailableError):
                error.message = f"the clip cannot be fetched: {_of_clip(error.message)}"
            raise
        yield path


def _of_clip(message: str) -> str:
    """Return what was said of a result as it is said of a clip that is fetched in the same way."""
    words = {
        "the result link": "its link",
        "the result's host": "its host",
        "the result": "the clip",
    }
    for of_result, of_clip in words.items():
        message = message.replace(of_result, of_clip)
    return message


def _prepared(session: Session, source: Path, request: EditRequest) -> AbstractContextManager[Path]:
    session.report(Noted(message="the clip is written anew before it is uploaded"))
    return session.clips.prepared(
        source, start_s=request.start_s, end_s=request.end_s, folder=session.private_folder
    )


def _accept_no_extra(session: Session, wishes: Wishes, *, is_local: bool) -> None:
    if wishes.is_cut or (wishes.check and not is_local):
        msg = "looking into clips and cutting them needs the extra `media`"
        raise MissingExtraError(msg, hint=INSTALL_MEDIA)
    if wishes.max_credits is not None:
        msg = "what the edit costs cannot be estimated without the extra `media`"
        raise TooExpensiveError(msg, hint=INSTALL_MEDIA)
    session.report(
        Noted(
            message="only the clip's first bytes were looked at, not its length and codecs:"
            f" `{INSTALL_MEDIA}` adds that",
            is_general=True,
        )
    )


def _accept_no_look(session: Session, incomplete: Incomplete, wishes: Wishes) -> None:
    if wishes.max_credits is not None:
        msg = f"what the edit costs cannot be estimated: {incomplete.reason}"
        raise TooExpensiveError(msg, hint="leave `--max-credits` out, or give a local file")
    session.report(Warned(message=f"the clip could not be looked at: {incomplete.reason}"))


def _marked_length(facts: ClipFacts, start_s: float | None, end_s: float | None) -> float | None:
    """Return the length of what is sent, None where the clip's own is unknown.

    Raises:
        InvalidInputError: The marks leave nothing, or lie beyond the clip.
    """
    if facts.duration_s is None:
        return None
    check_marks(start_s, end_s, name=facts.name, duration_s=facts.duration_s, frame_s=facts.frame_s)
    end = facts.duration_s if end_s is None else min(end_s, facts.duration_s)
    return end - (start_s or 0.0)


def _refuse(facts: ClipFacts, *, is_forced: bool) -> None:
    if is_forced:
        return
    for problem in verdict(facts):
        if not problem.is_automatic:
            msg = f"{facts.name} does not fit: {problem.message}"
            hint = f"{problem.fix}; `--no-check` sends it as it is"
            raise InvalidInputError(msg, code=problem.code, hint=hint)


def _affordable(facts: ClipFacts, length_s: float | None, wishes: Wishes) -> float | None:
    """Return the estimate where a limit was set.

    Raises:
        TooExpensiveError: It is above the limit, or there is none.
    """
    if wishes.max_credits is None:
        return None
    if length_s is None:
        msg = f"what the edit costs cannot be estimated: the length of {facts.name} is unknown"
        raise TooExpensiveError(msg, hint="leave `--max-credits` out, or give a local file")
    estimate = estimated_credits(length_s)
    if estimate > wishes.max_credits:
        msg = (
            f"the edit is estimated at {estimate:.1f} credits, above --max-credits"
            f" {wishes.max_credits:g}; nothing was sent"
        )
        hint = "raise the limit, or cut the clip with `--start T --end T`"
        raise TooExpensiveError(msg, hint=hint)
    return estimate
