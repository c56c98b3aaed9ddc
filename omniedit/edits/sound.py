"""The sound of saved results: new from the service, the clip's original, or none."""

from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from omniedit.downloads.placement import saved_file
from omniedit.edits.clips import file_facts, local_clip
from omniedit.edits.requests import PreparedEdit
from omniedit.edits.save import announce_if_there, record_placed, record_saved
from omniedit.edits.session import Session
from omniedit.edits.targets import Target
from omniedit.edits.upload import check_is_same, preparation_shown, warn_of_lost_marks
from omniedit.errors import (
    InvalidInputError,
    MissingExtraError,
    NotAVideoError,
    OmniEditError,
    TargetExistsError,
    UnavailableError,
    WaitTimeoutError,
    install_command,
)
from omniedit.media import is_available
from omniedit.models import Record, SavedFile, Sound, clip_name
from omniedit.system import error_reason
from omniedit.system.folders import private_folder

_INAUDIBLE_S: Final = 0.05
_AS_SERVED: Final = "`--sound new` saves the result as it is"


def check_sound(sound: Sound) -> None:
    """Refuse a sound that cannot be produced on this machine.

    Raises:
        MissingExtraError: If the sound needs the extra `media`, which is not installed.
    """
    if sound is not Sound.NEW and not is_available():
        msg = f"`--sound {sound}` needs the extra `media`"
        raise MissingExtraError(msg, hint=install_command("media"))


def save_with_sound(
    session: Session,
    edit: PreparedEdit,
    record: Record,
    served: SavedFile,
    target: Target,
    *,
    deadline: float,
) -> Record:
    """Save a result with another sound; keep the served file only if the two differ.

    Args:
        edit: The edit, whose clip has the original sound.
        record: The task's record.
        served: The result as served, saved and whole.
        target: The target of the file with the other sound.
        deadline: A monotonic instant by which fetching the clip must end.

    Raises:
        WaitTimeoutError: If the deadline passed first.
        NotAVideoError: If the result is not a video.
        InvalidInputError: If the clip cannot be fetched or read.
        TargetExistsError: If the target is taken.
        LocalError: If a file cannot be read or written.
    """
    task_id = str(record.task_id)
    with ExitStack() as stack:
        try:
            path = stack.enter_context(
                with_sound(
                    session,
                    edit,
                    Path(served.path),
                    sound=target.sound,
                    name=target.shown,
                    deadline=deadline,
                )
            )
        except OmniEditError:
            session.warn(f"the result as it was served is kept: {served.path}")
            raise
        is_changed = path != Path(served.path)

        def variant(file: SavedFile) -> SavedFile:
            return file._replace(
                # Rewriting a file loses its provenance marks.
                facts=served.facts and served.facts._replace(marks=())
                if is_changed
                else served.facts,
                sound=target.sound,
                served_path=served.path if is_changed else None,
            )

        try:
            file = session.placement(deadline).copy(
                saved_file(path) if is_changed else served,
                target.path,
                overwrite=target.overwrite,
                on_verified=lambda file: record_saved(session, task_id, variant(file)),
            )
        except TargetExistsError:
            # Another process may have saved the same variant in the meantime.
            existing = announce_if_there(session, record, target)
            if existing is None:
                raise
            return existing
    if not is_changed:
        try:
            Path(served.path).unlink(missing_ok=True)
        except OSError as error:
            # On Windows, for example, a player may have it open.
            session.warn(f"cannot remove {served.path}: {error_reason(error)}")
        else:
            session.write_journal(lambda: session.journal.forget_file(task_id, served))
            others = tuple(known for known in record.saved if known.path != served.path)
            record = record._replace(saved=others)
    return record_placed(session, record, variant(file), target)


@contextmanager
def with_sound(
    session: Session,
    edit: PreparedEdit,
    result: Path,
    *,
    sound: Sound,
    name: str,
    deadline: float,
) -> Generator[Path]:
    """Yield a private copy of a result with another sound, or the result itself if nothing changes.

    Args:
        edit: The edit, whose clip has the original sound.
        result: The result as served.
        sound: The sound of the copy.
        name: The name of the copy in messages.
        deadline: A monotonic instant by which fetching the clip must end.

    Raises:
        WaitTimeoutError: If the deadline passed first.
        NotAVideoError: If the result is not a video.
        InvalidInputError: If the clip cannot be fetched or read.
        LocalError: If a file cannot be read or written.
    """
    from omniedit.media.audio import replace_audio  # noqa: PLC0415 - brings PyAV

    try:
        facts = file_facts(session, result, name=name)
    except InvalidInputError as error:
        msg = f"the sound of {name} cannot be changed: {error.message}"
        raise NotAVideoError(msg, hint=_AS_SERVED) from error
    with ExitStack() as stack:
        private = stack.enter_context(private_folder(session.private_folder))
        original = None
        if sound is Sound.ORIGINAL:
            try:
                original = stack.enter_context(_original_clip(session, edit, deadline))
            except InvalidInputError as error:
                error.hint = _AS_SERVED
                raise
        what = "muting" if original is None else "replacing sound"
        shown = preparation_shown(session, clip_name(name), what)
        with shown as on_progress:
            laid = replace_audio(
                result,
                private / "sound.mp4",
                original=original,
                original_start_s=edit.plan.start_s,
                original_end_s=edit.plan.end_s,
                on_progress=on_progress,
            )
        if original is not None:
            check_is_same(session, original)
        if original is not None and laid.sound is Sound.NONE:
            session.note(f"the clip has no sound, so {name} has none")
        if laid.sound is Sound.NONE and not facts.has_audio:
            yield result
            return
        warn_of_lost_marks(session, laid.lost_marks, whose="the result", where=name)
        if laid.sound is Sound.ORIGINAL:
            _warn_of_difference(session, laid.difference_s)
        yield laid.path


@contextmanager
def _original_clip(session: Session, edit: PreparedEdit, deadline: float) -> Generator[Path]:
    # A task found completed at the last moment still gets a few seconds to be saved.
    deadline = max(deadline, session.monotonic() + session.policy.grace_s)
    with ExitStack() as stack:
        try:
            path = stack.enter_context(local_clip(session, edit.request, deadline=deadline))
        except UnavailableError as error:
            if session.monotonic() < deadline:
                raise
            msg = "time ran out before the clip, whose sound is needed, was fetched"
            raise WaitTimeoutError(msg, hint=_AS_SERVED) from error
        yield path


def _warn_of_difference(session: Session, difference_s: float) -> None:
    if abs(difference_s) <= _INAUDIBLE_S:
        return
    what = "shorter than the result, which ends in silence"
    if difference_s > 0:
        what = "longer than the result, and is cut off"
    session.warn(f"the clip's sound is {abs(difference_s):.2f} s {what}")
