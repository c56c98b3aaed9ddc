"""Sidecars: JSON files beside saved results that record what they are and where they come from."""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from omniedit import __version__
from omniedit.downloads.placement import check_writable, remove_leftover_part
from omniedit.edits.clips import file_facts, is_whole
from omniedit.edits.records import parents_of
from omniedit.edits.session import Session
from omniedit.edits.targets import Target
from omniedit.errors import JournalError, LocalError, OmniEditError, TargetExistsError
from omniedit.http.urls import without_secrets
from omniedit.journal.reading import is_present
from omniedit.media import is_available
from omniedit.models import Record, SavedFile, known_sum
from omniedit.schemas import instant, video_fields
from omniedit.system.files import read_own_file

SCHEMA: Final = 1
SUFFIX: Final = ".json"
_MOST_BYTES: Final = 1024 * 1024


def check_sidecar(
    session: Session, target: Target, task_id: str | None, *, sha256: str | None = None
) -> None:
    """Check that the sidecar of a result can be written, before anything is paid or waited for.

    Args:
        target: The target of the result.
        task_id: The task of the result; None for a new one, or a clip joined from several.
        sha256: The digest of the file at the target, if it is a joined clip that is whole.

    Raises:
        TargetExistsError: If a file other than this result's sidecar has its name.
        LocalError: If the sidecar cannot be written.
    """
    if not session.writes_sidecars:
        return
    path = Path(sidecar_path(target.path))
    try:
        check_writable(path, overwrite=target.overwrite)
    except TargetExistsError as error:
        if _sha256_in(path, task_id, sha256) is None:
            error.hint = "choose another name for the result, or replace both with `--force`"
            raise


def write_sidecar(session: Session, record: Record, file: SavedFile, *, overwrite: bool) -> None:
    """Write the sidecar of a saved result, if sidecars are enabled and it is missing.

    Raises:
        TargetExistsError: If another file has its name.
        LocalError: If it cannot be written.
    """
    if session.writes_sidecars and session.private_folder not in Path(file.path).parents:
        # The journal may have fields from other replies that this record lacks.
        with suppress(JournalError):
            record = session.journal.find_task(str(record.task_id)) or record
        credits_used = record.task.credits_used if record.task else None
        _write(
            session, record, file, record.task_id, credits_used=credits_used, overwrite=overwrite
        )


def complete_sidecars(session: Session) -> Iterator[OmniEditError]:
    """Write the missing sidecars of this origin's saved results; yield an error per failure."""
    if not session.writes_sidecars:
        return
    for record in session.journal.recent():
        if record.origin != session.origin:
            continue
        served = {file.served_path for file in record.saved}
        for file in record.saved:
            path = Path(file.path)
            if file.path in served or not is_present(file) or os.path.lexists(sidecar_path(path)):
                continue
            try:
                if is_whole(session, file):
                    write_sidecar(session, record, file, overwrite=False)
            except OmniEditError as error:
                yield error.about(task_id=record.task_id, request_id=record.request_id)


def write_joined_sidecar(
    session: Session, pieces: Sequence[Record], file: SavedFile, *, overwrite: bool
) -> None:
    """Write the sidecar of a clip joined from several results, without a task ID.

    Raises:
        TargetExistsError: If another file has its name.
        LocalError: If it cannot be written.
    """
    if session.writes_sidecars:
        first, last = pieces[0], pieces[-1]
        whole = first._replace(request_id=None, end_s=last.end_s)
        credits_used = known_sum(
            piece.task.credits_used if piece.task else None for piece in pieces
        )
        _write(session, whole, file, None, credits_used=credits_used, overwrite=overwrite)


def _write(
    session: Session,
    record: Record,
    file: SavedFile,
    task_id: str | None,
    *,
    credits_used: float | None,
    overwrite: bool,
) -> None:
    path = Path(sidecar_path(file.path))
    written_sha256 = _sha256_in(path, task_id, file.sha256)
    if written_sha256 == file.sha256:
        remove_leftover_part(path, file.sha256)
        return
    task = record.task
    fields = {
        "schema": SCHEMA,
        "omniedit": __version__,
        "video": None if record.video is None else without_secrets(record.video),
        "video_sha256": record.clip_sha256,
        "prompt": record.prompt,
        "model": record.shown_model,
        "sound": file.sound,
        "start_seconds": record.start_s,
        "end_seconds": record.end_s,
        "parents": list(parents_of(session, record)),
        "task_id": task_id,
        "request_id": record.request_id,
        "created_at": instant(task.created_at if task else None),
        "completed_at": instant(record.completed_after),
        "credits_used": credits_used,
        **_facts_of(session, file),
    }
    content = json.dumps(fields, indent=2).encode() + b"\n"
    # A sidecar of the same task may be replaced: it describes the result with another sound.
    is_own = written_sha256 is not None
    session.placement().write_content(path, file.sha256, [content], overwrite=overwrite or is_own)


def _facts_of(session: Session, file: SavedFile) -> dict[str, object]:
    """Return the fields of a saved file; its folder is left out as private."""
    facts = file.facts
    if facts is None and is_available():
        with suppress(OmniEditError):
            facts = file_facts(session, Path(file.path)).video_facts
    return {
        "file": Path(file.path).name,
        "bytes": file.size_bytes,
        "sha256": file.sha256,
        **video_fields(facts),
    }


def sidecar_path(target: Path | str) -> str:
    """Return the path of a result's sidecar."""
    return f"{target}{SUFFIX}"


def _sha256_in(path: Path, task_id: str | None, sha256: str | None) -> str | None:
    """Return the digest in a result's own sidecar; None if it is missing, damaged or foreign."""
    try:
        content = read_own_file(path, max_bytes=_MOST_BYTES)
        found: Any = json.loads(content or b"{}")
        is_own = found["task_id"] == task_id and (task_id is not None or found["sha256"] == sha256)
        return str(found["sha256"]) if is_own else None
    except (LocalError, LookupError, TypeError, ValueError, RecursionError):
        return None
