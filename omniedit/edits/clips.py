"""Clips, on this machine and behind URLs: looked at before anything is paid for."""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from omniedit.edits.session import Session
from omniedit.errors import (
    Hint,
    InvalidInputError,
    LocalError,
    MissingExtraError,
    OmniEditError,
    ResultGoneError,
    TooExpensiveError,
    UnavailableError,
    install_command,
)
from omniedit.events import Retrying, Transferring
from omniedit.evolink.uploads import ClipDigest, digest_clip
from omniedit.http.links import Incomplete, look_at_url
from omniedit.http.urls import check_clip_url, check_no_video_page, without_query
from omniedit.media import (
    ClipFacts,
    Problem,
    check_marks,
    check_order,
    describe_difference,
    is_available,
    is_suspiciously_short,
    needs_conversion,
    parse_mark,
    verdict,
)
from omniedit.models import (
    TASK_PREFIX,
    ClipPlan,
    EditRequest,
    Model,
    SavedFile,
    VideoFacts,
    find_model,
    is_local,
    is_video_name,
    natural_order,
)
from omniedit.system.files import absolute_path, is_file, is_folder


class Findings(NamedTuple):
    """What `probe` found out about a clip."""

    facts: ClipFacts
    problems: tuple[Problem, ...]
    model: Model

    @property
    def refusals(self) -> tuple[Problem, ...]:
        """What keeps the clip from being edited, unless the user does something about it."""
        return tuple(problem for problem in self.problems if not problem.is_automatic)

    @property
    def fits(self) -> bool | None:
        """Whether it can be edited; None where its length is unknown and no problem was found."""
        if self.refusals:
            return False
        return None if self.facts.duration_s is None else True

    @property
    def estimated_credits(self) -> float | None:
        """About what an edit costs at least; None where length or model is unknown."""
        return self.model.estimated_credits(self.facts.duration_s)

    @property
    def error(self) -> InvalidInputError | None:
        """Why it does not fit, as an error; None where no problem was found."""
        if not self.refusals:
            return None
        first = self.refusals[0]
        reasons = "; ".join(problem.message for problem in self.refusals)
        message = f"{self.facts.name} does not fit: {reasons}"
        return InvalidInputError(message, code=first.code, hint=first.fix)


def clip_name(video: str) -> str:
    """Return the name of a clip's file, at the end of its path or URL."""
    if is_local(video):
        return Path(video).name
    _, _, path = without_query(video).partition("://")[2].partition("/")
    return unquote(path).rpartition("/")[2]


def clips_of(session: Session, sources: Sequence[str]) -> list[str]:
    """Return the clips that are meant: a folder stands for its videos, in natural order.

    What a folder holds of results that are known here is left out; what was named never is.

    Raises:
        InvalidInputError: If a folder holds no video.
        LocalError: If a folder cannot be read.
    """
    clips: list[str] = []
    for source in sources:
        if is_local(source) and is_folder(source):
            clips += _clips_in(session, Path(source))
        else:
            clips.append(source)
    return clips


def _clips_in(session: Session, folder: Path) -> list[str]:
    try:
        videos = [path for path in folder.iterdir() if _is_video(path)]
    except OSError as error:
        msg = f"cannot read the folder {folder}: {error.strerror}"
        raise LocalError(msg) from None
    if not videos:
        msg = f"{folder} holds no videos"
        hint = "folders in it are not looked into, nor files with unknown endings or hidden ones"
        raise InvalidInputError(msg, code="no_videos", hint=hint)
    results: dict[int, list[SavedFile]] = {}
    for file in session.journal.saved_files():
        results.setdefault(file.size_bytes, []).append(file)
    clips = [
        # A file of that name, not a task.
        f"./{path}" if str(path).startswith(TASK_PREFIX) else str(path)
        for path in sorted(videos, key=lambda path: (natural_order(path.name), path.name))
        if not _is_result(session, path, results)
    ]
    if left_out := len(videos) - len(clips):
        what = "1 result" if left_out == 1 else f"{left_out} results"
        session.note(f"{what} of edits in {folder} left out", is_general=True)
    return clips


def _is_result(session: Session, path: Path, results: Mapping[int, Sequence[SavedFile]]) -> bool:
    try:
        same_size = results.get(path.stat().st_size, ())
    except OSError:
        # It went away meanwhile, which its own line will say.
        return False
    if session.is_sandbox:
        # Its results have the content of their clips.
        same_size = [file for file in same_size if file.path == str(absolute_path(path))]
    if not same_size:
        return False
    digest = digest_of_clip(session, path, check=False).sha256
    return any(file.sha256 == digest for file in same_size)


def _is_video(path: Path) -> bool:
    is_shown = not path.name.startswith(".")
    return is_shown and is_video_name(path.name) and is_file(path)


def look(session: Session, video: str, *, name: str | None = None) -> ClipFacts | Incomplete:
    """Return what a clip is; of a URL little more than the header is read.

    Args:
        video: Path or URL.
        name: What messages call it, where that is something else.

    Raises:
        InvalidInputError: If it is certainly no clip.
    """
    from omniedit.media import probe  # noqa: PLC0415 - brings PyAV

    if is_local(video):
        path = Path(video)
        kind = f"facts of {name or video}"
        return session.remember(kind, path, lambda: probe(path, name=name or video))
    return look_at_url(
        session.http,
        video,
        lambda file: probe(file, name=without_query(video), reads_all=file.is_small),
        allow_internal=session.allows_internal_clips,
    )


def look_at_result(
    session: Session, path: str, *, name: str, clip: VideoFacts | None
) -> VideoFacts | None:
    """Return what came back, and tell how it differs from the clip; None where nobody can look.

    Args:
        session: Is told.
        path: Of the saved result.
        name: What messages call it.
        clip: What was sent, where that is known.
    """
    if not session.looks_at_results or not is_available():
        return None
    from omniedit.media import probe  # noqa: PLC0415 - brings PyAV

    try:
        # Not remembered: a batch has thousands, and each is looked at once.
        result = probe(Path(path), name=name).seen
    except OmniEditError as error:
        session.warn(f"{name} may not be playable: {error.message}")
        return None
    if clip is not None and is_suspiciously_short(clip, result):
        lengths = f"{result.duration_s:.2f} s of {clip.duration_s:.2f} s"
        session.warn(f"{name} is shorter than half the clip: {lengths}")
    elif clip is not None and (difference := describe_difference(clip, result)):
        # In a batch the same is said once.
        session.note(difference, is_general=True)
    return result


def probe(session: Session, video: str, model: Model) -> Findings:
    """Return what a clip is, whether it fits a model, and what an edit of it costs.

    Raises:
        InvalidInputError: If it is certainly no clip.
        UnavailableError: If too little of a URL could be read to tell.
    """
    if not video:
        msg = "VIDEO is empty"
        raise InvalidInputError(msg, code="invalid_url")
    if not is_local(video):
        check_no_video_page(video)
    facts = look(session, video)
    if isinstance(facts, Incomplete):
        # An edit goes on with a warning: it asks the service. Here nobody else is asked.
        msg = f"the clip could not be looked at: {facts.reason}"
        hint = "download it and probe the file; an edit does not depend on this"
        raise UnavailableError(msg, code="clip_not_read", hint=hint)
    problems = verdict(facts, longest_s=model.longest_clip_s)
    return Findings(facts=facts, problems=problems, model=model)


def plan_clip(session: Session, request: EditRequest) -> ClipPlan:
    """Look at a clip, and refuse what would be paid for in vain.

    Raises:
        InvalidInputError: If the clip does not fit, with the flag that would fix it.
        MissingExtraError: If it needs an extra that is not installed.
        TooExpensiveError: If it is estimated above its limit, or cannot be estimated.
    """
    start_s = None if request.start is None else parse_mark(request.start, name="--start")
    end_s = None if request.end is None else parse_mark(request.end, name="--end")
    check_order(start_s, end_s, name=request.video)
    model = find_model(request.model)
    if request.max_credits is not None and not model.is_known:
        msg = f"what the edit costs cannot be estimated: the prices of {model.model_id} are unknown"
        raise TooExpensiveError(msg, hint="leave `--max-credits` out, or choose a known model")
    if not is_available():
        _accept_no_extra(session, request)
        return ClipPlan()
    facts = look(session, request.source or request.video, name=request.video)
    if isinstance(facts, Incomplete):
        _accept_no_look(session, facts, request)
        return ClipPlan(start_s=start_s, end_s=end_s, is_written_anew=request.is_cut)
    length_s = _marked_length(facts, start_s, end_s)
    sent = replace(facts, duration_s=length_s)
    if request.is_cut:
        # What a cut leaves is written as the service wants it.
        sent = replace(
            sent,
            container="mp4",
            container_s=None,
            video_codec="h264",
            color_transfer=None,
            size_bytes=None,
        )
    if request.is_checked or (request.is_cut and request.check is None):
        _refuse_unfit(sent, request)
    is_converted = (
        is_local(request.video)
        and request.is_checked
        and needs_conversion(facts, longest_s=model.longest_clip_s, keeps_hdr=request.keeps_hdr)
    )
    return ClipPlan(
        start_s=start_s,
        end_s=end_s,
        is_written_anew=request.is_cut or is_converted,
        estimated_credits=_affordable(facts, length_s, request),
        sent=sent.seen,
    )


def digest_of_clip(session: Session, path: Path, *, check: bool) -> ClipDigest:
    """Return the digest of a clip that may be uploaded.

    Args:
        path: The clip.
        check: Refuse what is certainly too large or not an MP4.
    """
    return session.remember("digest", path, lambda: digest_clip(path, check=check))


@contextmanager
def clip_on_this_machine(session: Session, request: EditRequest) -> Generator[Path]:
    """Hold the file of a clip for a block; that of a URL is fetched, unless it was before.

    Raises:
        InvalidInputError: If it cannot be fetched.
        LocalError: If the disk does not take it.
    """
    if request.source is not None or is_local(request.video):
        yield Path(request.source or request.video)
        return
    with fetched_clip(session, request.video) as path:
        yield path


@contextmanager
def fetched_clip(session: Session, url: str) -> Generator[Path]:
    """Hold the clip of a URL in a private file for a block.

    Raises:
        InvalidInputError: If it cannot be fetched.
        LocalError: If the disk does not take it.
    """
    check_clip_url(url, allow_internal=session.allows_internal_clips)
    with ExitStack() as stack:
        try:
            path = stack.enter_context(
                session.downloader.fetch(
                    url,
                    what="clip",
                    folder=session.private_folder,
                    on_progress=progress_of(session, "clip", "download"),
                    on_retry=lambda message, rest_s, attempt: session.report(
                        Retrying(message=message, delay_s=rest_s, attempt=attempt)
                    ),
                )
            )
        except ResultGoneError as error:
            msg = f"the clip cannot be fetched: {error.message}"
            raise InvalidInputError(msg, hint="give a local copy of it") from error
        except OmniEditError as error:
            if isinstance(error, UnavailableError):
                error.message = f"the clip cannot be fetched: {error.message}"
            raise
        yield path


def _accept_no_extra(session: Session, request: EditRequest) -> None:
    if request.is_cut or (request.check and not is_local(request.video)):
        msg = "looking into clips and cutting them needs the extra `media`"
        raise MissingExtraError(msg, hint=install_command("media"))
    if request.max_credits is not None:
        msg = "what the edit costs cannot be estimated without the extra `media`"
        raise TooExpensiveError(msg, hint=install_command("media"))
    session.note(
        "only the clip's first bytes were looked at, not its length and codecs:"
        f" `{install_command('media')}` adds that",
        is_general=True,
    )


def _accept_no_look(session: Session, incomplete: Incomplete, request: EditRequest) -> None:
    if request.max_credits is not None:
        msg = f"what the edit costs cannot be estimated: {incomplete.reason}"
        raise TooExpensiveError(msg, hint="leave `--max-credits` out, or give a local file")
    message = f"the clip could not be looked at: {incomplete.reason}"
    session.warn(message)


def progress_of(
    session: Session, name: str, direction: str, *, task_id: str | None = None
) -> Callable[[int, int | None], None]:
    """Return what reports the bytes of a transfer, done and in all."""

    def report(done_bytes: int, total_bytes: int | None) -> None:
        session.report(
            Transferring(
                name=name,
                direction=direction,
                done_bytes=done_bytes,
                total_bytes=total_bytes,
                task_id=task_id,
            )
        )

    return report


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


def _refuse_unfit(facts: ClipFacts, request: EditRequest) -> None:
    longest_s = find_model(request.model).longest_clip_s
    for problem in verdict(
        facts, longest_s=longest_s, keeps_hdr=request.keeps_hdr, is_cut=request.is_cut
    ):
        if not problem.is_automatic:
            msg = f"{facts.name} does not fit: {problem.message}"
            text = f"{problem.fix.text}; `--no-check` sends it as it is"
            hint = Hint(text, *problem.fix.commands)
            raise InvalidInputError(msg, code=problem.code, hint=hint)


def _affordable(facts: ClipFacts, length_s: float | None, request: EditRequest) -> float | None:
    """Return the estimate, None where there is none.

    Raises:
        TooExpensiveError: If it is above the limit, or there is none to hold against it.
    """
    max_credits = request.max_credits
    estimate = find_model(request.model).estimated_credits(length_s)
    if max_credits is None:
        return estimate
    if estimate is None:
        msg = f"what the edit costs cannot be estimated: the length of {facts.name} is unknown"
        raise TooExpensiveError(msg, hint="leave `--max-credits` out, or give a local file")
    if estimate > max_credits:
        msg = (
            f"the edit is estimated at about {estimate:.1f} credits at least, above --max-credits"
            f" {max_credits:g}; nothing was sent"
        )
        hint = "raise the limit, or cut the clip with `--start T --end T`"
        raise TooExpensiveError(msg, hint=hint)
    return estimate
