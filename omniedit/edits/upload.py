"""Preparing the clips of edits and uploading them to the file service."""

from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from omniedit.downloads.placement import saved_file
from omniedit.edits.clips import digest_of_clip, local_clip, plan_clip, progress_of
from omniedit.edits.requests import PreparedEdit, digest_of
from omniedit.edits.session import Session
from omniedit.errors import JournalError, WaitTimeoutError
from omniedit.events import Working
from omniedit.evolink.uploads import Uploader, check_upload_size, clip_changed_error
from omniedit.http.urls import origin_of
from omniedit.media import is_available
from omniedit.media.facts import C2PA
from omniedit.models import (
    ClipPlan,
    EditRequest,
    SavedFile,
    UploadedClip,
    clip_name,
    is_local,
    render_count,
)
from omniedit.system.locks import private_folder

if TYPE_CHECKING:
    from omniedit.media.containers import Progress
    from omniedit.media.video import FrameCheck
    from omniedit.media.writing import Prepared

_LONGEST_STEM: Final = 50  # characters, of four bytes at most
_SHOWN_EVERY_S: Final = 0.1
_CHECK_SHOWN_AFTER_S: Final = 1.0
_MARK_NAMES: Final = {C2PA: "C2PA manifest"}


def uploaded_url(session: Session, edit: PreparedEdit, *, deadline: float | None = None) -> str:
    """Upload a clip, prepared if necessary, and return its URL on the file service.

    An earlier upload is used again until it expires. If several edits need the same file at the
    same time, only one uploads it.

    Raises:
        InvalidInputError: If the clip cannot be fetched, cut or converted, or is damaged.
        LocalError: If the clip has changed, or a file cannot be read or written.
        ServiceError: If the file service refuses the upload.
    """
    key, plan = edit.clip_sha256 or edit.clip_id, edit.plan
    if plan.is_reencoded:
        # Hash the URL: its query may be a signature, which must not be stored in the journal.
        marks = [None if mark is None else repr(mark) for mark in (plan.start_s, plan.end_s)]
        key = digest_of([edit.clip_id, *marks, edit.request.keeps_hdr])
    origin = session.origin
    files_origin = origin if session.is_sandbox else origin_of(session.connection.files_url)
    with _upload_lock(session, key, deadline):
        if not plan.is_reencoded:
            _check_frames(session, edit.request)
        with suppress(JournalError):
            known = session.journal.find_upload(
                key,
                origin=origin,
                files_origin=files_origin,
                valid_for_s=session.policy.upload_margin_s,
            )
            if known is not None:
                return known.url
        with session.uploads, _file_to_upload(session, edit, deadline) as path:
            uploaded = session.with_retries(
                lambda: _upload(session, path, name=_name_of(edit.request), deadline=deadline),
                budget_s=session.policy.submit_budget_s,
                deadline=deadline,
            )
        with suppress(JournalError):
            session.journal.record_upload(key, uploaded, origin=origin, files_origin=files_origin)
        return uploaded.url


def save_prepared(
    session: Session, video: str, target: Path, *, model_id: str
) -> tuple[SavedFile, str]:
    """Save the clip exactly as an edit would upload it; nothing is sent.

    Args:
        video: The path of a local clip.
        target: The file to write, which must not exist.
        model_id: The model of the edit.

    Returns:
        The saved file, and what was done to the clip.

    Raises:
        InvalidInputError: If the clip does not fit, cannot be converted, or is damaged.
        TargetExistsError: If the target is taken.
        LocalError: If a file cannot be read or written.
    """
    request, path = EditRequest(video=video, prompt="", model=model_id), Path(video)
    with ExitStack() as stack:
        plan = plan_clip(session, request)
        if plan.is_reencoded:
            prepared = stack.enter_context(_prepared_copy(session, path, request, plan))
            path, done = prepared.path, prepared.done
        else:
            _check_frames(session, request)
            done = "copied"
            session.note(done)
        saved = session.placement().copy(saved_file(path), target, overwrite=False)
    return saved, done


@contextmanager
def _file_to_upload(
    session: Session, edit: PreparedEdit, deadline: float | None
) -> Generator[Path]:
    """Yield the file to upload: the clip itself, or a prepared copy."""
    session.check_not_stopping()
    with local_clip(session, edit.request, deadline=deadline) as path:
        if not edit.plan.is_reencoded:
            yield path
            return
        with _prepared_copy(session, path, edit.request, edit.plan) as prepared:
            yield prepared.path


@contextmanager
def _prepared_copy(
    session: Session, source: Path, request: EditRequest, plan: ClipPlan
) -> Generator["Prepared"]:
    """Yield a private copy of the clip that was cut, converted, or both; note what was changed."""
    from omniedit.media.writing import prepare  # noqa: PLC0415 - brings PyAV

    name, what = _name_of(request), "cutting" if request.is_cut else "converting"
    with private_folder(session.private_folder) as private:
        # Leave room for what may be appended to the name.
        target = private / f"{source.stem[:_LONGEST_STEM]}.mp4"
        with preparation_shown(session, name, what) as on_progress:
            prepared = prepare(
                source,
                target,
                name=request.video,
                start_s=plan.start_s,
                end_s=plan.end_s,
                keeps_hdr=request.keeps_hdr,
                accepts_damage=request.check is False,
                on_progress=on_progress,
            )
        check_is_same(session, source)
        check_upload_size(
            target.stat().st_size,
            name=f"the prepared copy of {request.video}",
            hint="make it smaller with another program, or host it as an MP4 and give its URL",
        )
        session.note(prepared.done)
        _warn_of_damage(session, name, prepared.check)
        if count := prepared.silenced_packets:
            packets = render_count(count, "audio packet")
            session.warn(f"{name}: {packets} cannot be decoded: replaced by silence", is_once=True)
        warn_of_lost_marks(
            session, prepared.lost_marks, whose=clip_name(request.video), where="the uploaded copy"
        )
        yield prepared


@contextmanager
def preparation_shown(
    session: Session, name: str, what: str, *, after_s: float = 0.0
) -> Generator["Callable[[Progress], None]"]:
    """Yield a callback that reports progress on a clip, and raises once the command is stopping.

    Args:
        name: The clip's name for the user.
        what: What is done to the clip, such as `cutting`.
        after_s: How long the work must take before it is reported.
    """
    next_s: float | None = None
    if not after_s:
        # Report at once: seeking, or trying encoders, may take a while before the first frame.
        next_s = session.monotonic()
        session.report(Working(name=name, what=what, done=0.0, total=None))

    def report(progress: "Progress") -> None:
        nonlocal next_s
        session.check_not_stopping()
        now = session.monotonic()
        is_due = progress.elapsed_s >= after_s if next_s is None else now >= next_s
        if is_due and progress.done_s < progress.total_s:
            next_s = now + _SHOWN_EVERY_S
            session.report(
                Working(
                    name=name,
                    what=what,
                    done=progress.done_s,
                    total=progress.total_s,
                    fps=progress.fps,
                    remaining_s=progress.remaining_s,
                )
            )

    try:
        yield report
    finally:
        if next_s is not None:
            session.report(Working(name=name, what=what, done=1.0, total=1.0))


def warn_of_lost_marks(session: Session, marks: tuple[str, ...], *, whose: str, where: str) -> None:
    """Warn, once per message, that provenance marks are lost in a file made from others.

    Args:
        marks: The marks that are lost.
        whose: The name of the files that carry them.
        where: The name of the file that lacks them.
    """
    for mark in marks:
        name = _MARK_NAMES.get(mark, mark)
        session.warn(f"the {name} of {whose} is lost in {where}", is_once=True)


def _check_frames(session: Session, request: EditRequest) -> None:
    """Decode a clip that is uploaded unchanged, once per command, to find damaged frames.

    Raises:
        InvalidInputError: If too many frames are damaged.
    """
    if request.check is False or not is_local(request.video) or not is_available():
        return
    from omniedit.media.writing import check_clip, refuse_damage  # noqa: PLC0415 - brings PyAV

    path, name = Path(request.video), clip_name(request.video)

    def check() -> "FrameCheck":
        shown = preparation_shown(session, name, "checking", after_s=_CHECK_SHOWN_AFTER_S)
        with shown as on_progress:
            return check_clip(path, on_progress=on_progress)

    found = session.remember("frames", path, check)
    refuse_damage(found, name=request.video)
    _warn_of_damage(session, name, found)


def _warn_of_damage(session: Session, name: str, check: "FrameCheck") -> None:
    if check.bad_frames:
        what = f"{check.bad_frames} of {check.frames} frames cannot be decoded"
        session.warn(f"{name}: {what}", is_once=True)


def _name_of(request: EditRequest) -> str:
    """Return the name of the upload for the user."""
    return request.piece or clip_name(request.video)


def _upload(session: Session, path: Path, *, name: str, deadline: float | None) -> UploadedClip:
    """Upload a clip, unless it has changed since its digest was taken."""
    check_is_same(session, path)
    return uploader(session).upload(
        path,
        expected=digest_of_clip(session, path),
        deadline=deadline,
        on_progress=progress_of(session, name, "upload"),
    )


def uploader(session: Session) -> Uploader:
    """Return a client of the file service."""
    connection = session.connection
    return Uploader(session.http, files_url=connection.files_url, key=connection.key)


@contextmanager
def _upload_lock(session: Session, key: str, deadline: float | None) -> Generator[None]:
    """Hold a lock that keeps other processes from uploading the same file."""
    with ExitStack() as stack:
        # If the lock cannot be taken in time, continue without it: uploading twice costs nothing.
        with suppress(JournalError, WaitTimeoutError):
            stack.enter_context(
                session.locked("uploading", key, what="uploading the same clip", deadline=deadline)
            )
        yield


def check_is_same(session: Session, path: Path) -> None:
    """Refuse a clip that has changed since its digest was taken.

    Raises:
        LocalError: If the clip has changed.
    """
    if session.has_changed("digest", path):
        raise clip_changed_error(path)
