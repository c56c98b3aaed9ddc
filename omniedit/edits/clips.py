"""Clips, local or behind URLs: finding, fetching, and checking them before anything is paid for."""

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

from omniedit.edits.session import Session
from omniedit.errors import (
    Hint,
    InvalidInputError,
    LocalError,
    OmniEditError,
    ResultGoneError,
    TooExpensiveError,
    UnavailableError,
    install_command,
)
from omniedit.events import Working
from omniedit.evolink.uploads import ClipDigest, digest_clip
from omniedit.http.links import Incomplete, Link, read_from_url
from omniedit.http.urls import check_no_video_page
from omniedit.media import is_available, require_extra
from omniedit.media.facts import (
    ClipFacts,
    Problem,
    describe_difference,
    find_problems,
    is_suspiciously_short,
    needs_conversion,
)
from omniedit.media.timeline import check_cut, parse_time
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
    render_count,
    without_query,
)
from omniedit.system import error_reason
from omniedit.system.files import absolute_path, is_file, is_folder
from omniedit.system.locks import private_folder

RAISE_OR_CUT: Final = "raise the limit, or cut the clip with `--start T --end T`"
_KNOWN_MODEL: Final = "leave `--max-credits` out, or choose a known model"
_LOCAL_FILE: Final = "leave `--max-credits` out, or give a local file"


class Findings(NamedTuple):
    """Whether a clip fits a model."""

    facts: ClipFacts
    problems: tuple[Problem, ...]
    model: Model

    @property
    def refusals(self) -> tuple[Problem, ...]:
        """The problems that prevent an edit unless the user fixes them."""
        return tuple(problem for problem in self.problems if not problem.is_automatic)

    @property
    def fits(self) -> bool | None:
        """Whether the clip can be edited; None if its length is unknown and no problem is known."""
        if self.refusals:
            return False
        return None if self.facts.duration_s is None else True

    @property
    def estimated_credits(self) -> float | None:
        """About what an edit costs; None if the clip's length or the model's prices are unknown."""
        return self.model.estimated_credits(self.facts.duration_s)

    @property
    def error(self) -> InvalidInputError | None:
        """An error that says why the clip cannot be edited; None if no known problem prevents it."""
        if not self.refusals:
            return None
        first = self.refusals[0]
        reasons = "; ".join(problem.message for problem in self.refusals)
        message = f"{self.facts.name} does not fit: {reasons}"
        return InvalidInputError(message, code=first.code, hint=first.fix)


def clips_of(session: Session, sources: Sequence[str]) -> list[str]:
    """Return the given clips, with each folder replaced by its videos in natural order.

    Videos in a folder that are results known here are left out; files given by name never are.

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


def file_facts(session: Session, path: Path, *, name: str | None = None) -> ClipFacts:
    """Probe a local clip, once until it changes; `name` is its name in messages.

    Raises:
        InvalidInputError: If the content is certainly not a clip.
    """
    from omniedit.media.probing import read_clip  # noqa: PLC0415 - brings PyAV

    name = name or str(path)
    return session.remember(f"facts of {name}", path, lambda: read_clip(path, name=name).facts)


def probe_result(
    session: Session, path: str, *, name: str, clip: VideoFacts | None
) -> VideoFacts | None:
    """Probe a saved result, and report how it differs from the clip; None if it cannot be probed.

    Args:
        path: The path of the saved result.
        name: The name of the result in messages.
        clip: The clip that was sent; None if unknown.
    """
    if not session.probes_results or not is_available():
        return None
    from omniedit.media.probing import read_clip  # noqa: PLC0415 - brings PyAV

    try:
        # Not by `session.remember`: a batch may have thousands of results, each probed only once.
        result = read_clip(Path(path), name=name).facts.video_facts
    except OmniEditError as error:
        session.warn(f"{name} may not be playable: {error.message}")
        return None
    if clip is None:
        return result
    difference = describe_difference(clip, result)
    if is_suspiciously_short(clip, result):
        lengths = f"{result.duration_s:.2f} s of {clip.duration_s:.2f} s"
        session.warn(f"{name} is shorter than half the clip: {lengths}")
    elif difference is not None:
        # A general note: a batch reports each difference only once.
        session.note(difference, is_general=True)
    return result


def probe(session: Session, video: str, model: Model) -> Findings:
    """Return what a clip is, and whether it fits a model.

    Raises:
        InvalidInputError: If the content is certainly not a clip.
        MissingExtraError: If the extra `media` is not installed.
        UnavailableError: If too little could be read from a URL to tell.
    """
    if not video:
        msg = "VIDEO is empty"
        raise InvalidInputError(msg, code="invalid_url", hint="give the URL or path of a clip")
    if not is_local(video):
        check_no_video_page(video)
    require_extra("inspecting clips")
    facts = _read_facts(session, video)
    if isinstance(facts, Incomplete):
        # An edit only warns of this, because the service decides; here there is nothing to report.
        msg = f"the clip could not be inspected: {facts.reason}"
        hint = "download it and probe the file; an edit does not depend on this"
        raise UnavailableError(msg, code="clip_not_read", hint=hint)
    problems = find_problems(facts, longest_s=model.longest_clip_s)
    return Findings(facts, problems, model)


def parse_cut(request: EditRequest) -> tuple[float | None, float | None]:
    """Return the cut marks of a request in seconds.

    Raises:
        InvalidInputError: If a mark is not a valid time, or the cut leaves nothing.
    """
    start_s = None if request.start is None else parse_time(request.start, name="start")
    end_s = None if request.end is None else parse_time(request.end, name="end")
    check_cut(start_s, end_s, name=request.video)
    return start_s, end_s


def plan_clip(session: Session, request: EditRequest) -> ClipPlan:
    """Probe a clip, refuse an edit that is bound to fail, and plan how to prepare the clip.

    Raises:
        InvalidInputError: If the clip does not fit; the hint names the option that helps.
        MissingExtraError: If the request needs the extra `media`, which is not installed.
        TooExpensiveError: If the estimate exceeds the request's limit, or cannot be made.
    """
    start_s, end_s = parse_cut(request)
    model = find_model(request.model)
    if not model.is_known:
        _refuse_unpriced(request, f"the prices of {model.model_id} are unknown", hint=_KNOWN_MODEL)
    if not is_available():
        _handle_missing_extra(session, request)
        return ClipPlan()
    facts = _read_facts(session, request.video, path=request.clip_path)
    if isinstance(facts, Incomplete):
        _refuse_unpriced(request, facts.reason)
        session.warn(f"the clip could not be inspected: {facts.reason}")
        return ClipPlan(start_s=start_s, end_s=end_s, is_reencoded=request.is_cut)
    length_s = _marked_length(facts, start_s, end_s)
    sent = replace(facts, duration_s=length_s)
    if request.is_cut:
        # The cut piece is written in a form that the service accepts.
        sent = replace(
            sent,
            container="mp4",
            container_s=None,
            video_codec="h264",
            color_transfer=None,
            size_bytes=None,
        )
    if request.check is not False:
        _refuse_unfit(sent, request, model)
    is_converted = (
        is_local(request.video)
        and request.is_checked
        and needs_conversion(facts, longest_s=model.longest_clip_s, keeps_hdr=request.keeps_hdr)
    )
    estimate = model.estimated_credits(length_s)
    if estimate is None:
        _refuse_unpriced(request, f"the length of {facts.name} is unknown")
    check_price("the edit", estimate, max_credits=request.max_credits, hint=RAISE_OR_CUT)
    return ClipPlan(
        start_s=start_s,
        end_s=end_s,
        is_reencoded=request.is_cut or is_converted,
        estimated_credits=estimate,
        sent=sent.video_facts,
    )


def digest_of_clip(session: Session, path: Path, *, check: bool = False) -> ClipDigest:
    """Return the digest of a local clip, computed once.

    Args:
        path: The path of the clip.
        check: Whether to refuse a file that is too large or certainly not an MP4.
    """
    return session.remember("digest", path, lambda: digest_clip(path, check=check))


def is_whole(session: Session, file: SavedFile) -> bool:
    """Return whether a saved file still has its recorded size and digest."""
    path = Path(file.path)
    kind = f"is {file.sha256}"
    try:
        # Not by `digest_of_clip`: what it remembers tells whether a clip has changed.
        return path.stat().st_size == file.size_bytes and session.remember(
            kind, path, lambda: digest_clip(path).sha256 == file.sha256
        )
    except (OSError, ValueError, OmniEditError):
        return False


@contextmanager
def local_clip(
    session: Session,
    request: EditRequest,
    *,
    deadline: float | None,
    hint: str = "give a local copy of it",
) -> Generator[Path]:
    """Yield the path of a clip's file; the clip of a URL is fetched unless it was already.

    Args:
        request: A request that `edits.requests.prepare` has checked.
        deadline: A monotonic instant by which fetching must end.
        hint: What to do if the clip cannot be fetched.

    Raises:
        InvalidInputError: If the clip cannot be fetched.
        LocalError: If the file cannot be written.
    """
    if request.clip_path is not None or is_local(request.video):
        yield Path(request.clip_path or request.video)
        return
    with ExitStack() as stack:
        try:
            path = stack.enter_context(
                fetched_file(session, request.video, name="clip", what="clip", deadline=deadline)
            )
        except ResultGoneError as error:
            msg = f"the clip cannot be fetched: {error.message}"
            raise InvalidInputError(msg, hint=hint) from error
        except UnavailableError as error:
            error.message = f"the clip cannot be fetched: {error.message}"
            raise
        yield path


def check_price(what: str, estimate: float | None, *, max_credits: float | None, hint: str) -> None:
    """Refuse edits whose estimate exceeds the limit.

    Args:
        what: What the edits are called in the message, such as `3 pieces`.
        estimate: The total estimate in credits; None if the prices of the model are unknown.
        max_credits: The limit in credits; None for no limit.
        hint: What to do about it.
    """
    if max_credits is None:
        return
    if estimate is None:
        msg = f"the cost of {what} cannot be estimated: the prices of the model are unknown"
        raise TooExpensiveError(msg, hint=_KNOWN_MODEL)
    if estimate > max_credits:
        msg = (
            f"the estimate for {what} is {estimate:.1f} credits,"
            f" above --max-credits {max_credits:g}; nothing was sent"
        )
        raise TooExpensiveError(msg, hint=hint)


def fetch_file(
    session: Session,
    url: str,
    target: Path,
    *,
    name: str,
    what: str = "result",
    task_id: str | None = None,
    overwrite: bool = False,
    deadline: float | None = None,
    on_verified: Callable[[SavedFile], None] | None = None,
) -> SavedFile:
    """Save the file at `url` as `target`; progress shows `name`.

    See `Transfer.complete` and `Placement.write`.
    """
    from omniedit.downloads.transfer import Transfer  # noqa: PLC0415 - few commands fetch a file

    link = Link(session.http, url, what, deadline, session.allows_internal_clips)
    retry = session.retry(budget_s=math.inf, deadline=deadline, task_id=task_id)
    on_progress = progress_of(session, name, "downloading", task_id=task_id)
    return session.placement(deadline).write(
        target,
        task_id or what,
        lambda part: Transfer(link, part, retry, on_progress, task_id).complete(),
        overwrite=overwrite,
        on_verified=on_verified,
    )


@contextmanager
def fetched_file(
    session: Session,
    url: str,
    *,
    name: str,
    what: str = "result",
    task_id: str | None = None,
    deadline: float | None,
) -> Generator[Path]:
    """Yield the file at `url`, in a private folder that lasts for the block; see `fetch_file`."""
    with private_folder(session.private_folder) as folder:
        path = folder / f"{what}.mp4"
        fetch_file(session, url, path, name=name, what=what, task_id=task_id, deadline=deadline)
        yield path


def progress_of(
    session: Session, name: str, what: str, *, task_id: str | None = None
) -> Callable[[int, int | None], None]:
    """Return a callback that reports the bytes of a transfer, done and in total.

    Args:
        name: What is transferred, for the user.
        what: What is done to it: `downloading` or `uploading`.
    """

    def report(done_bytes: int, total_bytes: int | None) -> None:
        session.report(
            Working(name, what, done_bytes, total_bytes, is_transfer=True, task_id=task_id)
        )

    return report


def _clips_in(session: Session, folder: Path) -> list[str]:
    try:
        videos = [path for path in folder.iterdir() if _is_video(path)]
    except OSError as error:
        msg = f"cannot read the folder {folder}: {error_reason(error)}"
        raise LocalError(msg) from None
    if not videos:
        msg = f"{folder} holds no videos"
        hint = "subfolders, hidden files and files with unknown suffixes are ignored"
        raise InvalidInputError(msg, code="no_videos", hint=hint)
    results: dict[int, list[SavedFile]] = {}
    for file in session.journal.saved_files():
        results.setdefault(file.size_bytes, []).append(file)
    clips = [
        # `./task:X` is a file with that name, `task:X` would be a task.
        f"./{path}" if str(path).startswith(TASK_PREFIX) else str(path)
        for path in sorted(videos, key=lambda path: (natural_order(path.name), path.name))
        if not _is_result(session, path, results)
    ]
    if len(clips) < len(videos):
        what = render_count(len(videos) - len(clips), "result")
        session.note(f"skipped in {folder}: {what} of earlier edits", is_general=True)
    return clips


def _is_result(session: Session, path: Path, results: Mapping[int, Sequence[SavedFile]]) -> bool:
    try:
        same_size = results.get(path.stat().st_size, ())
    except OSError:
        # The file has disappeared; the edit of it will report that.
        return False
    if session.is_sandbox:
        # In the sandbox a result has the same content as its clip: go by the path.
        same_size = [file for file in same_size if file.path == str(absolute_path(path))]
    if not same_size:
        return False
    digest = digest_of_clip(session, path).sha256
    return any(file.sha256 == digest for file in same_size)


def _is_video(path: Path) -> bool:
    is_shown = not path.name.startswith(".")
    return is_shown and is_video_name(path.name) and is_file(path)


def _read_facts(session: Session, video: str, *, path: str | None = None) -> ClipFacts | Incomplete:
    """Probe a clip, whose file may be at another path; of a URL, little more than the header."""
    from omniedit.media.probing import probe_remote  # noqa: PLC0415 - brings PyAV

    if path is not None or is_local(video):
        return file_facts(session, Path(path or video), name=video)
    return read_from_url(
        session.http,
        video,
        lambda file: probe_remote(file, name=without_query(video), reads_all=file.is_small),
        allow_internal=session.allows_internal_clips,
    )


def _handle_missing_extra(session: Session, request: EditRequest) -> None:
    """Refuse a request that needs the extra `media`; of any other, note what is not checked."""
    if request.is_cut or (request.check and not is_local(request.video)):
        require_extra("inspecting and cutting clips")
    reason = "clips are not inspected without the extra `media`"
    _refuse_unpriced(request, reason, hint=install_command("media"))
    session.note(
        "only the clip's first bytes were checked, not its length and codecs:"
        f" `{install_command('media')}` adds that",
        is_general=True,
    )


def _refuse_unpriced(request: EditRequest, reason: str, *, hint: str = _LOCAL_FILE) -> None:
    """Refuse an edit without an estimate if it has a limit."""
    if request.max_credits is not None:
        msg = f"the cost of the edit cannot be estimated: {reason}"
        raise TooExpensiveError(msg, hint=hint)


def _marked_length(facts: ClipFacts, start_s: float | None, end_s: float | None) -> float | None:
    """Return the length of the part that a cut leaves; None if the clip's length is unknown."""
    if facts.duration_s is None:
        return None
    check_cut(start_s, end_s, name=facts.name, duration_s=facts.duration_s, frame_s=facts.frame_s)
    end = facts.duration_s if end_s is None else min(end_s, facts.duration_s)
    return end - (start_s or 0.0)


def _refuse_unfit(facts: ClipFacts, request: EditRequest, model: Model) -> None:
    problems = find_problems(
        facts, longest_s=model.longest_clip_s, keeps_hdr=request.keeps_hdr, is_cut=request.is_cut
    )
    found = Findings(facts, problems, model)
    error = found.error
    if error is not None:
        fix = found.refusals[0].fix
        error.hint = Hint(f"{fix.text}; `--no-check` sends it as it is", *fix.commands)
        raise error
