"""Preparing the clips of edits and uploading them to the file service."""

from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
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
    key = edit.clip_sha256 or edit.clip_id
    plan = edit.plan
    if plan.is_reencoded:
        # Hash the URL: its query may be a signature, which must not be stored in the journal.
        marks = [None if mark is None else repr(mark) for mark in (plan.start_s, plan.end_s)]
        key = digest_of([edit.clip_id, *marks, edit.request.keeps_hdr])
    origin = session.origin
    margin_s = session.policy.upload_margin_s
    files_origin = origin if session.is_sandbox else origin_of(session.connection.files_url)
    with ExitStack() as stack:
        # If the lock cannot be taken in time, continue without it: uploading twice costs nothing.
        with suppress(JournalError, WaitTimeoutError):
            stack.enter_context(session.locked("uploading", key, deadline=deadline))
        if not plan.is_reencoded:
            _check_frames(session, edit.request)
        with suppress(JournalError):
            known = session.journal.find_upload(
                key, origin=origin, files_origin=files_origin, valid_for_s=margin_s
            )
            if known is not None:
                return known.url
        uploaded = _upload(session, edit, deadline)
        with suppress(JournalError):
            session.journal.record_upload(key, uploaded, origin=origin, files_origin=files_origin)
        return uploaded.url


def save_prepared(
    session: Session, video: str, target: Path, *, model_id: str
) -> tuple[SavedFile, str]:
    """Save a local clip as an edit would upload it; return the file, and what was done to the clip.

    Raises:
        InvalidInputError: If the clip does not fit, cannot be converted, or is damaged.
        LocalError: If a file cannot be read or written, or the target is taken.
    """
    request = EditRequest(video=video, prompt="", model=model_id)
    path = Path(video)
    with ExitStack() as stack:
        plan = plan_clip(session, request)
        if plan.is_reencoded:
            prepared = stack.enter_context(_prepared_copy(session, path, request, plan))
            path = prepared.path
            done = prepared.done
        else:
            _check_frames(session, request)
            done = "copied"
            session.note(done)
        saved = session.placement().copy(saved_file(path), target, overwrite=False)
    return saved, done


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
    working = partial(Working, name=name, what=what)
    next_s: float | None = None
    if not after_s:
        # Report at once: seeking, or trying encoders, may take a while before the first frame.
        next_s = session.monotonic()
        session.report(working(done=0.0, total=None))

    def report(progress: "Progress") -> None:
        nonlocal next_s
        session.check_not_stopping()
        now = session.monotonic()
        is_due = progress.elapsed_s >= after_s if next_s is None else now >= next_s
        if is_due and progress.done_s < progress.total_s:
            next_s = now + _SHOWN_EVERY_S
            session.report(
                working(
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
            session.report(working(done=1.0, total=1.0))


def warn_of_lost_marks(session: Session, marks: tuple[str, ...], *, whose: str, where: str) -> None:
    """Warn, once per message, that marks of provenance are lost in a file made from others."""
    for mark in marks:
        name = _MARK_NAMES.get(mark, mark)
        session.warn(f"the {name} of {whose} is lost in {where}", is_once=True)


def uploader(session: Session) -> Uploader:
    """Return a client of the file service."""
    connection = session.connection
    return Uploader(session.http, files_url=connection.files_url, key=connection.key)


def check_is_same(session: Session, path: Path) -> None:
    """Refuse a clip that has changed since its digest was taken.

    Raises:
        LocalError: If the clip has changed.
    """
    if session.has_changed("digest", path):
        raise clip_changed_error(path)


def _upload(session: Session, edit: PreparedEdit, deadline: float | None) -> UploadedClip:
    """Upload the clip itself, or a prepared copy."""
    name = edit.request.piece or clip_name(edit.request.video)
    with session.uploads, ExitStack() as stack:
        session.check_not_stopping()
        path = stack.enter_context(local_clip(session, edit.request, deadline=deadline))
        if edit.plan.is_reencoded:
            copy = _prepared_copy(session, path, edit.request, edit.plan)
            path = stack.enter_context(copy).path

        def upload() -> UploadedClip:
            check_is_same(session, path)
            return uploader(session).upload(
                path,
                expected=digest_of_clip(session, path),
                deadline=deadline,
                on_progress=progress_of(session, name, "uploading"),
            )

        budget_s = session.policy.submit_budget_s
        return session.retry(budget_s=budget_s, deadline=deadline).call(upload)


@contextmanager
def _prepared_copy(
    session: Session, source: Path, request: EditRequest, plan: ClipPlan
) -> Generator["Prepared"]:
    """Yield a private copy of the clip that was cut, converted, or both; note what was changed."""
    from omniedit.media.writing import prepare_clip, refuse_damage  # noqa: PLC0415 - brings PyAV

    name = request.piece or clip_name(request.video)
    what = "cutting" if request.is_cut else "converting"
    with private_folder(session.private_folder) as private:
        # Leave room for what may be appended to the name.
        target = private / f"{source.stem[:_LONGEST_STEM]}.mp4"
        with preparation_shown(session, name, what) as on_progress:
            prepared = prepare_clip(
                source,
                target,
                name=request.video,
                start_s=plan.start_s,
                end_s=plan.end_s,
                keeps_hdr=request.keeps_hdr,
                on_progress=on_progress,
            )
        if request.check is not False:
            refuse_damage(prepared.check, name=request.video)
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


def _check_frames(session: Session, request: EditRequest) -> None:
    """Decode a clip that is uploaded unchanged, once per command, to find damaged frames.

    Raises:
        InvalidInputError: If too many frames are damaged.
    """
    if request.check is False or not is_local(request.video) or not is_available():
        return
    from omniedit.media.writing import check_clip, refuse_damage  # noqa: PLC0415 - brings PyAV

    path = Path(request.video)
    name = clip_name(request.video)

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
