"""A long clip as edits of its pieces, and their results as one clip again."""

import itertools
import os
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from omniedit.downloads.placement import check_target as check_target_file
from omniedit.downloads.placement import copy_result, saved_file, tidy
from omniedit.edits.batch import BatchOptions, BatchRun, EditOutcome
from omniedit.edits.clips import (
    clip_name,
    fetched_clip,
    look,
    look_at_result,
)
from omniedit.edits.edit import EditOptions, known_edit
from omniedit.edits.planner import PlannedEdit, check_price
from omniedit.edits.requests import PreparedEdit, digest_of, prepare, with_result
from omniedit.edits.save import is_whole, saved_as
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
from omniedit.media import is_available, parse_mark
from omniedit.models import (
    DEFAULT_MODEL,
    MODELS,
    TASK_PREFIX,
    EditRequest,
    Model,
    Record,
    SavedFile,
    Sound,
    find_model,
    is_local,
    task_name,
)
from omniedit.system.files import absolute_path, private_folder

if TYPE_CHECKING:
    from omniedit.media import Piece

CONCURRENCY: Final = 4
PIECES_SUFFIX: Final = ".pieces"
_MARK_DIGITS: Final = 6
"""Of the seconds of a piece's marks, which are part of what its edit is known by."""
_UNSEEN_GAP_S: Final = 0.125
"""A result of another frame rate than its piece may end two frames before or after it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitOptions:
    """How a clip is edited in pieces."""

    destination: Destination
    again: bool
    overwrite: bool
    sound: Sound
    max_credits: float | None
    timeout_s: float  # for each piece


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitPlan:
    """The pieces of a clip, and what is known of them."""

    source: Path
    model: Model
    has_sound: bool
    pieces: "tuple[Piece, ...]"
    edits: tuple[PlannedEdit, ...]
    known: tuple[Record | None, ...]
    """What each edit goes on with; None where it is to be submitted."""
    target: Target | None
    """None is standard output."""
    joined: SavedFile | None
    """What has the target's name, where that is these very pieces joined already."""

    def marks_s(self, number: int) -> tuple[float, float]:
        """Return the marks between which a piece lies, exactly as its edit knows them."""
        piece = self.pieces[number - 1]
        start_s = piece.start_mark_s or 0.0
        end_s = start_s + piece.duration_s if piece.end_mark_s is None else piece.end_mark_s
        return round(start_s, _MARK_DIGITS), round(end_s, _MARK_DIGITS)

    @property
    def longest_s(self) -> float:
        """The length of the longest piece."""
        return max(piece.duration_s for piece in self.pieces)

    @property
    def due_count(self) -> int:
        """How many pieces are to be submitted, and paid."""
        return self.known.count(None)

    @property
    def due_credits(self) -> float | None:
        """What they are estimated at; None where nobody can tell."""
        pieces = zip(self.pieces, self.known, strict=True)
        return self.model.estimated_credits(
            sum(piece.duration_s for piece, known in pieces if known is None)
        )


@contextmanager
def planned_split(
    session: Session, request: EditRequest, options: SplitOptions
) -> Generator[SplitPlan]:
    """Hold the plan of a clip's pieces, with what it needs on this machine, for a block.

    Nothing is sent. A piece is an edit like any other: the same as one of the clip with `--start`
    and `--end`.

    Raises:
        MissingExtraError: If the extra that splits is not installed.
        InvalidInputError: If the request is wrong, or the clip cannot be split.
        TooExpensiveError: If all pieces together are estimated dearer than allowed.
        TargetExistsError: If the target is taken.
        LocalError: If the target cannot be written.
    """
    if request.video.startswith(TASK_PREFIX):
        request = with_result(session, request)
    _check(session, request)
    with (
        session.holding.pop_all(),
        _on_this_machine(session, request) as there,
        private_folder(session.private_folder) as spare,
    ):
        yield _plan(session, there, options, spare_folder=str(spare))


def edit_pieces(
    session: Session,
    plan: SplitPlan,
    options: SplitOptions,
    on_outcome: Callable[[EditOutcome], None],
) -> list[Record]:
    """Make the edits of all pieces, bounded; return the records of those that were saved.

    Args:
        plan: Of the pieces.
        on_outcome: Told what came of each piece, as it comes.
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
        # Whatever ends it: replies that are outstanding are written down.
        session.stop()
        raise
    return [records[number] for number in sorted(records)]


def join_pieces(
    session: Session, plan: SplitPlan, records: Sequence[Record], options: SplitOptions
) -> SavedFile | None:
    """Join the results of all pieces, and give the clip its name; None on standard output.

    Args:
        plan: Of the pieces.
        records: Of each of them, saved.

    Raises:
        InvalidInputError: If a result is no clip.
        TargetExistsError: If the target is taken.
        LocalError: If the disk does not allow it.
    """
    from omniedit.media import join  # noqa: PLC0415 - brings PyAV

    results = [
        absolute_path(_place_of(record, edit))
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
                original_start_s=plan.pieces[0].start_mark_s,
                new_audio=options.sound is Sound.NEW,
                on_progress=on_progress,
            )
        warn_of_lost_marks(session, joined.lost_marks, whose="the results", where="the joined clip")
        _report_gap(session, joined.largest_gap_s, sound=options.sound)
        if plan.target is None:
            session.stream_out(path)
            return None
        facts = look_at_result(session, str(path), name=name, clip=None)
        file = saved_file(path)._replace(facts=facts, sound=options.sound)
        return _placed(session, file, plan.target, records, options)


def forget_leftovers(plan: SplitPlan) -> None:
    """Remove what a kill right after the clip got its name left beside it."""
    if plan.joined is not None:
        tidy(Path(plan.joined.path), plan.joined.sha256)


def _check(session: Session, request: EditRequest) -> None:
    """Refuse what can be told to be wrong before the clip of a URL is fetched."""
    if not is_available():
        msg = "splitting a clip needs the extra `media`"
        raise MissingExtraError(msg, hint=install_command("media"))
    for name, mark in (("--start", request.start), ("--end", request.end)):
        if mark is not None:
            parse_mark(mark, name=name)
    prepare(session, request._replace(start=None, end=None, check=False, max_credits=None))


@contextmanager
def _on_this_machine(session: Session, request: EditRequest) -> Generator[EditRequest]:
    """Fetch the clip of a URL once for all its pieces."""
    if is_local(request.video):
        yield request
        return
    with fetched_clip(session, request.video) as path:
        yield request._replace(source=str(path))


def _plan(
    session: Session, request: EditRequest, options: SplitOptions, *, spare_folder: str
) -> SplitPlan:
    """Return the plan; results without a place beside the joined clip go to the spare folder."""
    from omniedit.media import plan_split  # noqa: PLC0415 - brings PyAV

    # Without a look: of what speaks against the clip, the pieces will be free.
    whole = prepare(session, request._replace(check=False, max_credits=None))
    source = Path(request.source or request.video)
    model = find_model(request.model)
    pieces = tuple(
        plan_split(
            source,
            longest_s=model.longest_clip_s
            if model.is_known
            else MODELS[DEFAULT_MODEL].longest_clip_s,
            start_s=whole.start_s,
            end_s=whole.end_s,
        )
    )
    facts = look(session, str(source), name=request.video)
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
            output=_place_for(edit, record, folder=Path(folder), count=len(pieces)),
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
        f"{plan.due_count} pieces",
        plan.due_credits,
        max_credits=options.max_credits,
        hint="raise the limit, or cut the clip with `--start T --end T`",
    )
    _check_target(session, plan, options)
    return plan


def _target(whole: PreparedEdit, options: SplitOptions) -> Target:
    # Of one sentence, the clip in one go, in pieces, and with each sound are different files.
    identity = digest_of([whole.identity, "split", options.sound is Sound.NEW])
    request = whole.request
    return options.destination.target_of_joined(
        request.shown_video,
        request.prompt,
        identity,
        # The original's is what is usual here.
        sound=Sound.NONE if options.sound is Sound.NONE else Sound.NEW,
    )


def _pieces_folder(whole: PreparedEdit, target: Target) -> str:
    """Return where results of pieces go: beside the joined clip, whatever it is called."""
    name = Destination(None).target_of_joined(
        whole.request.shown_video, whole.request.prompt, digest_of([whole.identity, "split"])
    )
    return str(Path(target.shown).with_name(name.path.stem + PIECES_SUFFIX))


def _piece_edit(
    session: Session, request: EditRequest, piece: "Piece", number: int, *, count: int, folder: str
) -> PlannedEdit:
    name = f"piece {number} of {count}"
    own = request._replace(
        start=_shown_mark(piece.start_mark_s),
        end=_shown_mark(piece.end_mark_s),
        max_credits=None,
        piece=name,
    )
    try:
        identity = prepare(session, own).identity
    except InvalidInputError as error:
        error.message = f"{name}: {error.message}"
        raise
    return PlannedEdit(number=number, label=name, request=own, identity=identity, output=folder)


def _place_for(edit: PlannedEdit, known: Record | None, *, folder: Path, count: int) -> str:
    """Return where the result of a piece goes: `07.mp4`, or `07-2.mp4` beside an older one."""
    name = f"{edit.number:0{max(2, len(str(count)))}}.mp4"
    paths = (folder / numbered(name, index) for index in itertools.count())
    return str(next(path for path in paths if _is_free_for(known, path)))


def _is_free_for(known: Record | None, path: Path) -> bool:
    if not os.path.lexists(path):
        return True
    return known is not None and saved_as(known, Target(path, str(path))) is not None


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
    check_target_file(Path(plan.edits[0].output), overwrite=True)
    is_free = options.overwrite or plan.joined is not None
    check_target_file(plan.target.path, overwrite=is_free)
    joined = plan.joined.sha256 if plan.joined else None
    check_sidecar(session, plan.target.path, None, sha256=joined, overwrite=options.overwrite)


def _checked(session: Session, outcome: EditOutcome) -> EditOutcome:
    """Return what came of a piece; a saved result that cannot be joined is an error."""
    record = outcome.record
    if record is None or outcome.error is not None:
        return outcome
    try:
        look(session, str(_place_of(record, outcome.edit)))
    except InvalidInputError as error:
        msg = f"the result of {task_name(record.task_id)} cannot be joined: {error.message}"
        return replace(outcome, error=NotAVideoError(msg, task_id=record.task_id))
    except OmniEditError as error:
        return replace(outcome, error=error)
    return outcome


def _find_joined(
    session: Session, target: Target, known: Sequence[Record | None], *, sound: Sound
) -> SavedFile | None:
    """Return the joined clip where it has its name already, and is whole."""
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
        session.journalled(lambda: session.journal.record_joined(digest, known))

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
        # Another process may have joined the same pieces meanwhile.
        there = _find_joined(session, target, records, sound=options.sound)
        if there is None:
            raise
        return there


def _report_gap(session: Session, gap_s: float, *, sound: Sound) -> None:
    if abs(gap_s) <= _UNSEEN_GAP_S:
        return
    text = f"a result is {abs(gap_s):.1f} s {'shorter' if gap_s > 0 else 'longer'} than its piece"
    if sound is Sound.NEW:
        text += ", and the joined clip is as long as its results"
    else:
        text += ", whose last picture stays" if gap_s > 0 else ", and its end is left out"
    session.warn(text)


def _joined_digest(records: Sequence[Record], *, sound: Sound) -> str:
    # A bool for two of the three: so the journal knows the clips that were joined before.
    kind = sound if sound is Sound.NONE else sound is Sound.NEW
    return digest_of([[record.task_id for record in records], kind])


def _place_of(record: Record, edit: PlannedEdit) -> Path:
    return Destination(edit.output).target(record.video, record.task_id).path
