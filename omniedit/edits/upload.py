"""The clips of edits, or what is made of them, on their way to the file service."""

from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

from omniedit.edits.clips import clip_name, digest_of_clip, fetched_clip, is_local, progress_of
from omniedit.edits.requests import PreparedEdit, digest_of
from omniedit.edits.session import Session
from omniedit.errors import JournalError, TargetBusyError
from omniedit.evolink.uploads import Uploader, changed, check_size
from omniedit.http.urls import origin_of
from omniedit.models import UploadedClip
from omniedit.system.folders import private_folder

_LONGEST_STEM: Final = 50  # characters, of four bytes at most


def uploaded_url(session: Session, edit: PreparedEdit, *, deadline: float | None = None) -> str:
    """Return the URL at the file service of a clip, or of what is made of it.

    What was uploaded before is used again as long as it lives; of many edits that need the
    same at once, one uploads it.

    Raises:
        InvalidInputError: If the clip cannot be fetched, cut or converted.
        LocalError: If it changed, or the disk fails.
        ServiceError: If the file service does not take it.
    """
    key = edit.clip.removeprefix("sha256:")
    if edit.is_written_anew:
        # The query of a clip's URL may be a signature, which has no business in the journal.
        key = digest_of([edit.clip, _mark(edit.start_s), _mark(edit.end_s)])
    files_origin = session.origin
    if not session.is_sandbox:
        files_origin = origin_of(session.find_connection().files_url)
    with _uploading(session, key, deadline):
        with suppress(JournalError):
            known = session.journal.find_upload(
                key,
                origin=session.origin,
                files_origin=files_origin,
                valid_for_s=session.policy.upload_margin_s,
            )
            if known is not None:
                return known.url
        with _ready(session, edit) as path:
            uploaded = session.with_retries(
                lambda: _upload(
                    session, path, name=clip_name(edit.request.video), deadline=deadline
                ),
                budget_s=session.policy.submit_budget_s,
                deadline=deadline,
            )
        with suppress(JournalError):
            session.journal.record_upload(
                key, uploaded, origin=session.origin, files_origin=files_origin
            )
        return uploaded.url


@contextmanager
def _ready(session: Session, edit: PreparedEdit) -> Generator[Path]:
    """Hold the file that is uploaded for a block: the clip, or what was made of it."""
    video, source = edit.request.video, edit.request.source
    if is_local(video) and not edit.is_written_anew:
        yield Path(video)
        return
    with ExitStack() as stack:
        path = Path(source or video)
        if source is None and not is_local(video):
            path = stack.enter_context(fetched_clip(session, video))
        yield stack.enter_context(_written_anew(session, path, edit))


@contextmanager
def _written_anew(session: Session, source: Path, edit: PreparedEdit) -> Generator[Path]:
    """Hold a clip that was cut, converted, or both, in a private file."""
    from omniedit.media import prepare  # noqa: PLC0415 - brings PyAV

    session.note("the clip is written anew before it is uploaded")
    with private_folder(session.private_folder) as private:
        # There must be room for more in a name.
        target = private / f"{source.stem[:_LONGEST_STEM]}.mp4"
        prepare(source, target, start_s=edit.start_s, end_s=edit.end_s)
        check_is_same(session, source)
        check_size(
            target.stat().st_size,
            name=f"what {source} becomes",
            hint="make it smaller with another program, or host it as an MP4 and give its URL",
        )
        yield target


def _upload(session: Session, path: Path, *, name: str, deadline: float | None) -> UploadedClip:
    """Upload a clip, which must be what it was when it was looked at."""
    check_is_same(session, path)
    return uploader(session).upload(
        path,
        expected=digest_of_clip(session, path, check=False),
        deadline=deadline,
        on_progress=progress_of(session, name, "upload"),
    )


def uploader(session: Session) -> Uploader:
    """Return the file service."""
    connection = session.find_connection()
    return Uploader(session.http, files_url=connection.files_url, key=connection.key)


@contextmanager
def _uploading(session: Session, key: str, deadline: float | None) -> Generator[None]:
    """Keep others for a block from uploading the same; an upload costs nothing."""
    with ExitStack() as stack:
        # Nor does anybody wait for ever: at worst it is uploaded twice.
        with suppress(JournalError, TargetBusyError):
            stack.enter_context(session.journal.uploading(key, timeout_s=session.left_s(deadline)))
        yield


def check_is_same(session: Session, path: Path) -> None:
    """Refuse a clip that is not what it was when its digest was taken.

    Raises:
        LocalError: If it changed.
    """
    if session.has_changed("digest", path):
        raise changed(path)


def _mark(mark_s: float | None) -> str | None:
    return None if mark_s is None else repr(mark_s)
