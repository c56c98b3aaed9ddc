"""The results of a clip's pieces as one clip again."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from omniedit.edits.looking import journalled
from omniedit.edits.ports import Session
from omniedit.edits.requests import digest_of
from omniedit.edits.targets import Destination, Target
from omniedit.errors import InvalidInputError, NotAVideoError, TargetExistsError
from omniedit.events import Warned
from omniedit.models import Record, SavedFile

if TYPE_CHECKING:
    from omniedit.edits.batch_plan import PlannedEdit
    from omniedit.edits.split import SplitOptions, SplitPlan

_UNSEEN_GAP_S: Final = 0.125
"""A result of another frame rate than its piece may end two frames before or after it."""


def find_joined(
    session: Session, target: Target, known: Sequence[Record | None], *, new_audio: bool
) -> SavedFile | None:
    """Return the joined clip where it has its name already, and is whole.

    Args:
        session: What it calls on.
        target: Its name.
        known: What is known of each piece's edit.
        new_audio: Whose sound it has.
    """
    records = [record for record in known if record is not None and record.task is not None]
    if len(records) < len(known):
        return None
    digest = _joined_digest(records, new_audio=new_audio)
    path = str(target.path.absolute())
    for file in session.journal.find_joined(digest):
        if file.path == path and session.results.is_whole(file):
            return file
    return None


def check_result(session: Session, record: Record, edit: "PlannedEdit") -> None:
    """Refuse the saved result of a piece that is no clip.

    Raises:
        NotAVideoError: It is an MP4 without pictures, say.
    """
    path = _place_of(record, edit)
    try:
        session.clips.look(str(path))
    except InvalidInputError as error:
        msg = f"the result of task {record.task_id} cannot be joined: {error.message}"
        raise NotAVideoError(msg, task_id=record.task_id) from error


def join_results(
    session: Session, plan: "SplitPlan", records: Sequence[Record], options: "SplitOptions"
) -> SavedFile | None:
    """Join the results of all pieces, and give the clip its name; None on standard output.

    Args:
        session: What it calls on.
        plan: Of the pieces.
        records: Of each of them, saved.
        options: How.

    Raises:
        InvalidInputError: A result is no clip.
        TargetExistsError: The target is taken.
        LocalError: The disk does not allow it.
    """
    results = [
        _place_of(record, edit).absolute() for record, edit in zip(records, plan.edits, strict=True)
    ]
    with session.clips.joined(
        plan.pieces,
        results,
        original=plan.source,
        original_start_s=plan.pieces[0].start_mark_s,
        new_audio=options.new_audio,
        folder=session.private_folder,
    ) as (file, gap_s):
        _tell_gap(session, gap_s, new_audio=options.new_audio)
        if plan.target is None:
            session.stream_out(Path(file.path))
            return None
        digest = _joined_digest(records, new_audio=options.new_audio)
        try:
            placed = session.results.copy(
                file,
                plan.target.path,
                overwrite=options.overwrite,
                on_verified=lambda copy: journalled(
                    session, lambda: session.journal.record_joined(digest, copy)
                ),
            )
        except TargetExistsError:
            # Another process may have joined the same pieces meanwhile.
            there = find_joined(session, plan.target, records, new_audio=options.new_audio)
            if there is None:
                raise
            return there
        return placed


def _tell_gap(session: Session, gap_s: float, *, new_audio: bool) -> None:
    if abs(gap_s) <= _UNSEEN_GAP_S:
        return
    text = f"a result is {abs(gap_s):.1f} s {'shorter' if gap_s > 0 else 'longer'} than its piece"
    if new_audio:
        text += ", and the joined clip is as long as its results"
    else:
        text += ", whose last picture stays" if gap_s > 0 else ", and its end is left out"
    session.report(Warned(message=text))


def _joined_digest(records: Sequence[Record], *, new_audio: bool) -> str:
    return digest_of([[record.task_id for record in records], new_audio])


def _place_of(record: Record, edit: "PlannedEdit") -> Path:
    return Destination(edit.output).target_for(record).path
