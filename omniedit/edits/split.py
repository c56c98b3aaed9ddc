"""Splitting a long clip into pieces, editing each, and joining the results into one clip."""

import itertools
import os
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from omniedit.downloads.placement import (
    check_writable,
    copy_result,
    remove_leftover_part,
    saved_file,
)
from omniedit.edits.batch import BatchOptions, BatchRun, EditOutcome
from omniedit.edits.clips import (
    fetched_clip,
    probe_result,
    read_facts,
)
from omniedit.edits.edit import EditOptions, known_edit
from omniedit.edits.planner import PlannedEdit, check_price
from omniedit.edits.requests import PreparedEdit, digest_of, prepare, with_result
from omniedit.edits.save import find_file_at, is_whole
from omniedit.edits.session import Session
from omniedit.edits.sidecar import check_sidecar
from omniedit.edits.targets import Destination, Target, numbered, refuse_source
from omniedit.edits.upload import check_is_same, preparation_shown, warn_of_lost_marks
from omniedit.errors import (
    InvalidInputError,
    MissingExtraError,
    NotAVideoError,
    OmniEditError,
    TargetExistsError,
    install_command,
)
from omniedit.http.links import Incomplete
from omniedit.media import is_available
from omniedit.media.timeline import parse_time
from omniedit.models import (
    DEFAULT_MODEL,
    MODELS,
    TASK_PREFIX,
    EditRequest,
    Model,
    Record,
    SavedFile,
    Sound,
    clip_name,
    find_model,
    is_local,
    render_count,
    task_name,
)
from omniedit.system.files import absolute_path, private_folder

if TYPE_CHECKING:
    from omniedit.media.pieces import Piece

CONCURRENCY: Final = 4
PIECES_SUFFIX: Final = ".pieces"
_MARK_DIGITS: Final = 6
"""Decimals of a piece's marks in seconds; the marks are part of the identity of its edit."""
_UNSEEN_GAP_S: Final = 0.125
"""The largest gap not reported: at another frame rate a result may be off by two frames."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitOptions:
    """The options of an edit in pieces."""

    destination: Destination
    again: bool
    overwrite: bool
    sound: Sound
    max_credits: float | None
    timeout_s: float  # for each piece


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitPlan:
    """The pieces of a clip, with the edits to make of them and those known already."""

    source: Path
    model: Model
    has_sound: bool
    pieces: "tuple[Piece, ...]"
    edits: tuple[PlannedEdit, ...]
    known: tuple[Record | None, ...]
    """The attempt that each edit continues; None if the edit is to be submitted."""
    target: Target | None
    """The target of the joined clip; None for standard output."""
    joined: SavedFile | None
    """The file at the target, if it already is the joined clip of these results."""

    def marks_s(self, number: int) -> tuple[float, float]:
        """Return the start and end of a piece, rounded exactly as in its edit."""
        piece = self.pieces[number - 1]
        start_s = piece.cut_start_s or 0.0
        end_s = start_s + piece.duration_s if piece.cut_end_s is None else piece.cut_end_s
        return round(start_s, _MARK_DIGITS), round(end_s, _MARK_DIGITS)

    @property
    def longest_s(self) -> float:
        """The length of the longest piece."""
        return max(piece.duration_s for piece in self.pieces)

    @property
    def due_count(self) -> int:
        """The number of pieces to submit and pay for."""
        return self.known.count(None)

    @property
    def due_credits(self) -> float | None:
        """The estimated cost of the pieces to submit; None if unknown."""
        pieces = zip(self.pieces, self.known, strict=True)
        return self.model.estimated_credits(
            sum(piece.duration_s for piece, known in pieces if known is None)
        )


@contextmanager
def planned_split(
    session: Session, request: EditRequest, options: SplitOptions
) -> Generator[SplitPlan]:
    """Plan the pieces of a clip; the files that the plan needs exist until the block ends.

    Nothing is submitted. Each piece is an ordinary edit, the same as one of the clip with the
    corresponding `--start` and `--end`.

    Raises:
        MissingExtraError: If the extra `media` is not installed.
        InvalidInputError: If the request is invalid, or the clip cannot be split.
        TooExpensiveError: If the estimate for all pieces exceeds the limit.
        TargetExistsError: If the target is taken.
        LocalError: If the target cannot be written.
    """
    if request.video.startswith(TASK_PREFIX):
        request = with_result(session, request)
    _check(session, request)
    with (
        session.fetched_files.pop_all(),
        _with_local_clip(session, request) as local_request,
        private_folder(session.private_folder) as spare,
    ):
        yield _plan(session, local_request, options, spare_folder=str(spare))


def edit_pieces(
    session: Session,
    plan: SplitPlan,
    options: SplitOptions,
    on_outcome: Callable[[EditOutcome], None],
) -> list[Record]:
    """Make the edits of all pieces, a few at a time; return the records of those that were saved.

    Args:
        on_outcome: Called with the outcome of each piece as soon as there is one.
    """
    batch_options = BatchOptions(
        concurrency=CONCURRENCY,
        again=options.again,
        overwrite=options.overwrite,
        timeout_s=options.timeout_s,
        max_credits=options.max_credits,
    )
    records: dict[int, Record] = {}
    try:
        for outcome in BatchRun(session, batch_options).run(plan.edits):
            checked = _checked(session, outcome)
            on_outcome(checked)
            if checked.record is not None and checked.error is None:
                records[outcome.edit.number] = checked.record
    except BaseException:
        # Before this ends, record the submissions whose reply is outstanding.
        session.stop()
        raise
    return [records[number] for number in sorted(records)]


def join_pieces(
    session: Session, plan: SplitPlan, records: Sequence[Record], options: SplitOptions
) -> SavedFile | None:
    """Join the results of all pieces and save the clip; return None if it goes to standard output.

    Args:
        records: The records of all pieces, in order, with their results saved.

    Raises:
        InvalidInputError: If a result is not a clip.
        TargetExistsError: If the target is taken.
        LocalError: If a file cannot be read or written.
    """
    from omniedit.media.pieces import join  # noqa: PLC0415 - brings PyAV

    results = [
        absolute_path(_result_path(record, edit))
        for record, edit in zip(records, plan.edits, strict=True)
    ]
    check_is_same(session, plan.source)
    with private_folder(session.private_folder) as private:
        path = private / "joined.mp4"
        name = (
            clip_name(plan.edits[0].request.video) if plan.target is None else plan.target.path.name
        )
        with preparation_shown(session, name, "joining") as on_progress:
            joined = join(
                plan.pieces,
                results,
                path,
                original=None if options.sound is Sound.NONE else plan.source,
                original_start_s=plan.pieces[0].cut_start_s,
                new_audio=options.sound is Sound.NEW,
                on_progress=on_progress,
            )
        warn_of_lost_marks(session, joined.lost_marks, whose="the results", where="the joined clip")
        _report_gap(session, joined.largest_gap_s, sound=options.sound)
        if plan.target is None:
            session.stream_out(path)
            return None
        facts = probe_result(session, str(path), name=name, clip=None)
        file = saved_file(path)._replace(facts=facts, sound=options.sound)
        return _placed(session, file, plan.target, records, options)


def forget_leftovers(plan: SplitPlan) -> None:
    """Remove temporary files left by a run that was killed right after it placed the clip."""
    if plan.joined is not None:
        remove_leftover_part(Path(plan.joined.path), plan.joined.sha256)


def _check(session: Session, request: EditRequest) -> None:
    """Check as much of the request as possible before the clip of a URL is fetched."""
    if not is_available():
        msg = "splitting a clip needs the extra `media`"
        raise MissingExtraError(msg, hint=install_command("media"))
    for name, mark in (("--start", request.start), ("--end", request.end)):
        if mark is not None:
            parse_time(mark, name=name)
    prepare(session, request._replace(start=None, end=None, check=False, max_credits=None))


@contextmanager
def _with_local_clip(session: Session, request: EditRequest) -> Generator[EditRequest]:
    """Fetch the clip of a URL, once for all its pieces; yield the request with that file."""
    if is_local(request.video):
        yield request
        return
    with fetched_clip(session, request.video) as path:
        yield request._replace(source=str(path))


def _plan(
    session: Session, request: EditRequest, options: SplitOptions, *, spare_folder: str
) -> SplitPlan:
    """Return the plan; if the joined clip goes to standard output, results go to `spare_folder`."""
    from omniedit.media.pieces import plan_split  # noqa: PLC0415 - brings PyAV

    # Do not check whether the whole clip fits the model: only its pieces have to.
    whole = prepare(session, request._replace(check=False, max_credits=None))
    source = Path(request.source or request.video)
    model = find_model(request.model)
    pieces = tuple(
        plan_split(
            source,
            longest_s=model.longest_clip_s
            if model.is_known
            else MODELS[DEFAULT_MODEL].longest_clip_s,
            start_s=whole.plan.start_s,
            end_s=whole.plan.end_s,
        )
    )
    facts = read_facts(session, str(source), name=request.video)
    target = None if options.destination.is_stdout else _target(whole, options)
    folder = spare_folder if target is None else _pieces_folder(whole, target)
    planned = [
        _piece_edit(session, request, piece, number, count=len(pieces), folder=f"{folder}/")
        for number, piece in enumerate(pieces, start=1)
    ]
    known = tuple(
        known_edit(session, edit.identity, _options_of(edit, options)) for edit in planned
    )
    edits = tuple(
        replace(
            edit,
            output=_output_for(edit, record, folder=Path(folder), count=len(pieces)),
            is_due=record is None,
            estimated_credits=model.estimated_credits(piece.duration_s),
        )
        for edit, record, piece in zip(planned, known, pieces, strict=True)
    )
    plan = SplitPlan(
        source=source,
        model=model,
        has_sound=not isinstance(facts, Incomplete) and facts.has_audio,
        pieces=pieces,
        edits=edits,
        known=known,
        target=target,
        joined=None
        if target is None
        else _find_joined(session, target, known, sound=options.sound),
    )
    check_price(
        render_count(plan.due_count, "piece"),
        plan.due_credits,
        max_credits=options.max_credits,
        hint="raise the limit, or cut the clip with `--start T --end T`",
    )
    _check_target(session, plan, options)
    return plan


def _target(whole: PreparedEdit, options: SplitOptions) -> Target:
    # For the same prompt, an edit in one go, in pieces, or with another sound gets another name.
    identity = digest_of([whole.identity, "split", options.sound is Sound.NEW])
    request = whole.request
    return options.destination.target_of_joined(
        request.shown_video,
        request.prompt,
        identity,
        # With `--split`, the original sound is the default and gets no suffix.
        sound=Sound.NONE if options.sound is Sound.NONE else Sound.NEW,
    )


def _pieces_folder(whole: PreparedEdit, target: Target) -> str:
    """Return the folder for the results of pieces: beside the joined clip, whatever its name."""
    name = Destination(None).target_of_joined(
        whole.request.shown_video, whole.request.prompt, digest_of([whole.identity, "split"])
    )
    return str(Path(target.shown).with_name(name.path.stem + PIECES_SUFFIX))


def _piece_edit(
    session: Session, request: EditRequest, piece: "Piece", number: int, *, count: int, folder: str
) -> PlannedEdit:
    name = f"piece {number} of {count}"
    own = request._replace(
        start=_shown_mark(piece.cut_start_s),
        end=_shown_mark(piece.cut_end_s),
        max_credits=None,
        piece=name,
    )
    try:
        identity = prepare(session, own).identity
    except InvalidInputError as error:
        error.message = f"{name}: {error.message}"
        raise
    return PlannedEdit(number=number, label=name, request=own, identity=identity, output=folder)


def _output_for(edit: PlannedEdit, known: Record | None, *, folder: Path, count: int) -> str:
    """Return the path for the result of a piece: `07.mp4`, or `07-2.mp4` if that is taken."""
    name = f"{edit.number:0{max(2, len(str(count)))}}.mp4"
    paths = (folder / numbered(name, index) for index in itertools.count())
    return str(next(path for path in paths if _is_free_for(known, path)))


def _is_free_for(known: Record | None, path: Path) -> bool:
    if not os.path.lexists(path):
        return True
    return known is not None and find_file_at(known, Target(path, str(path))) is not None


def _shown_mark(mark_s: float | None) -> str | None:
    return None if mark_s is None else f"{mark_s:.{_MARK_DIGITS}f}".rstrip("0").rstrip(".")


def _options_of(edit: PlannedEdit, options: SplitOptions) -> EditOptions:
    return EditOptions(
        destination=Destination(edit.output), again=options.again, timeout_s=options.timeout_s
    )


def _check_target(session: Session, plan: SplitPlan, options: SplitOptions) -> None:
    if plan.target is None:
        return
    refuse_source(plan.edits[0].request.video, plan.target.path)
    check_writable(Path(plan.edits[0].output), overwrite=True)
    is_free = options.overwrite or plan.joined is not None
    check_writable(plan.target.path, overwrite=is_free)
    joined = plan.joined.sha256 if plan.joined else None
    check_sidecar(session, plan.target.path, None, sha256=joined, overwrite=options.overwrite)


def _checked(session: Session, outcome: EditOutcome) -> EditOutcome:
    """Turn the outcome of a piece into an error if its saved result cannot be joined."""
    record = outcome.record
    if record is None or outcome.error is not None:
        return outcome
    try:
        read_facts(session, str(_result_path(record, outcome.edit)))
    except InvalidInputError as error:
        msg = f"the result of {task_name(record.task_id)} cannot be joined: {error.message}"
        return replace(outcome, error=NotAVideoError(msg, task_id=record.task_id))
    except OmniEditError as error:
        return replace(outcome, error=error)
    return outcome


def _find_joined(
    session: Session, target: Target, known: Sequence[Record | None], *, sound: Sound
) -> SavedFile | None:
    """Return the joined clip at the target, if there is one for these results and it is whole."""
    records = [record for record in known if record is not None and record.task is not None]
    if len(records) < len(known):
        return None
    path = str(absolute_path(target.path))
    for file in session.journal.find_joined(_joined_digest(records, sound=sound)):
        if file.path == path and is_whole(file):
            return file
    return None


def _placed(
    session: Session,
    file: SavedFile,
    target: Target,
    records: Sequence[Record],
    options: SplitOptions,
) -> SavedFile:
    digest = _joined_digest(records, sound=options.sound)

    def record(copy: SavedFile) -> None:
        known = file._replace(path=copy.path)
        session.write_journal(lambda: session.journal.record_saved(digest, known))

    try:
        copy = copy_result(
            file,
            target.path,
            overwrite=options.overwrite,
            sleep=session.sleep,
            on_verified=record,
        )
        return file._replace(path=copy.path)
    except TargetExistsError:
        # Another process may have joined the same pieces in the meantime.
        existing = _find_joined(session, target, records, sound=options.sound)
        if existing is None:
            raise
        return existing


def _report_gap(session: Session, gap_s: float, *, sound: Sound) -> None:
    if abs(gap_s) <= _UNSEEN_GAP_S:
        return
    text = f"a result is {abs(gap_s):.1f} s {'shorter' if gap_s > 0 else 'longer'} than its piece"
    if sound is Sound.NEW:
        text += "; the joined clip is as long as its results"
    else:
        text += ": its last frame is held" if gap_s > 0 else ": its end is cut off"
    session.warn(text)


def _joined_digest(records: Sequence[Record], *, sound: Sound) -> str:
    # Earlier versions stored a bool here: keep it for two of the three, so that clips joined by
    # them are still found.
    kind = sound if sound is Sound.NONE else sound is Sound.NEW
    return digest_of([[record.task_id for record in records], kind])


def _result_path(record: Record, edit: PlannedEdit) -> Path:
    return Destination(edit.output).target(record.video, record.task_id).path
