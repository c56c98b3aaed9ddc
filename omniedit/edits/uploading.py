"""Local clips, and what is made of clips, brought to where the service finds them."""

from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
from typing import Final

from omniedit.edits.clips import ready_clip
from omniedit.edits.ports import Session
from omniedit.edits.requests import clip_name, digest_of, is_local
from omniedit.edits.retries import with_retries
from omniedit.errors import JournalError
from omniedit.events import Transferring
from omniedit.models import EditRequest
from omniedit.policy import DEFAULT

_MARGIN_S: Final = 3600.0
"""An uploaded clip must stay at least this long to be used again."""


def uploaded_clip(session: Session, request: EditRequest) -> str:
    """Return the URL at the file service of a clip, or of what is made of it.

    What was uploaded before is used again as long as it stays; of many edits that need the same
    at once, one uploads it.

    Raises:
        InvalidInputError: The clip cannot be fetched, cut or converted.
        LocalError: It changed, or the disk fails.
        ServiceError: The file service does not take it.
    """
    key = _key_of(request)
    name = clip_name(request.video)

    def report_progress(done_bytes: int, total_bytes: int | None) -> None:
        session.report(
            Transferring(
                name=name, direction="upload", done_bytes=done_bytes, total_bytes=total_bytes
            )
        )

    with _uploading(session, key):
        with suppress(JournalError):
            known = session.journal.find_upload(key, origin=session.origin, valid_for_s=_MARGIN_S)
            if known is not None:
                return known.url
        with ready_clip(session, request, is_local=is_local(request.video)) as path:
            uploaded = with_retries(
                session,
                lambda: session.clips.upload(path, on_progress=report_progress),
                budget_s=DEFAULT.submit_budget_s,
            )
        with suppress(JournalError):
            session.journal.record_upload(key, uploaded, origin=session.origin)
        return uploaded.url


def _key_of(request: EditRequest) -> str:
    """Return what an upload is known by."""
    if not request.is_written_anew:
        return request.clip.removeprefix("sha256:")
    # The query of a clip's URL may be a signature, which has no business in the journal.
    return digest_of([request.clip, request.start, request.end])


@contextmanager
def _uploading(session: Session, key: str) -> Generator[None]:
    """Keep others for a block from uploading the same; an upload costs nothing, so none must."""
    with ExitStack() as stack:
        with suppress(JournalError):
            stack.enter_context(session.journal.uploading(key))
        yield
