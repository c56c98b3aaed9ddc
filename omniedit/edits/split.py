"""Splitting a long clip into pieces, editing each, and joining the results into one clip."""

import itertools
import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from omniedit.downloads.placement import check_writable, remove_leftover_part, saved_file
from omniedit.edits.batch import BatchRun, EditOutcome
from omniedit.edits.clips import (
    RAISE_OR_CUT,
    check_price,
    file_facts,
    is_whole,
    local_clip,
    parse_cut,
    probe_result,
)
from omniedit.edits.edit import EditOptions, known_edit
from omniedit.edits.planner import PlannedEdit
from omniedit.edits.requests import (
    PreparedEdit,
    digest_of,
    prepare,
    unseen_edit,
    with_parent_result,
)
from omniedit.edits.save import copy_recorded
from omniedit.edits.session import Session
from omniedit.edits.targets import Target, check_sidecar, default_name, find_file_at, refuse_clip
from omniedit.edits.upload import check_is_same, preparation_shown, warn_of_lost_marks
from omniedit.errors import (
    InvalidInputError,
    NotAVideoError,
    OmniEditError,
    TargetExistsError,
)
from omniedit.http.urls import check_no_video_page
from omniedit.media import require_extra
from omniedit.models import (
    DEFAULT_MODEL,
    MODELS,
    TASK_PREFIX,
    EditRequest,
    Record,
    SavedFile,
    Sound,
    clip_name,
    find_model,
    is_local,
    known_sum,
    numbered,
    render_count,
    task_name,
)
from omniedit.system.files import absolute_path, stable_path
from omniedit.system.locks import private_folder

if TYPE_CHECKING:
    from omniedit.media.writing import Piece

_CONCURRENCY: Final = 4
_NO_COPY: Final = "a local copy of it is another clip: each piece would be charged again"
_MARK_DIGITS: Final = 6
"""Decimals of a piece's marks in seconds; the marks are part of the identity of its edit."""
_NEGLIGIBLE_GAP_S: Final = 0.125
"""The largest gap not reported: at another frame rate a result may be off by two frames."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitPlan:
    """The pieces of a clip, with the edits to make of them and those known already."""

    source: Path
    pieces: "tuple[Piece, ...]"
    edits: tuple[PlannedEdit, ...]
    known: tuple[Record | None, ...]
    """The attempt that each edit continues; None if the edit is to be submitted."""
    target: Target | None
    """The target of the joined clip; None for standard output."""
    max_credits: float | None
    """The most that the pieces may newly cost."""
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
        return known_sum(edit.estimated_credits for edit in self.edits if edit.is_due)


@contextmanager
def planned_split(
    session: Session, request: EditRequest, options: EditOptions
) -> Generator[SplitPlan]:
    """Plan the pieces of a clip; the files that the plan needs exist until the block ends.

    Nothing is submitted. Each piece is an ordinary edit, the same as one of the clip with the
    corresponding `--start` and `--end`. The time limit is that of each piece, and of fetching the
    clip.

    Raises:
        MissingExtraError: If the extra `media` is not installed.
        InvalidInputError: If the request is invalid, or the clip cannot be split.
        TooExpensiveError: If the estimate for all pieces exceeds the limit.
        LocalError: If the target is taken, or cannot be written.
    """
    deadline = session.monotonic() + options.timeout_s
    if request.video.startswith(TASK_PREFIX):
        request = with_parent_result(session, request, deadline=deadline)
    require_extra("splitting a clip")
    # Check as much as possible before the clip of a URL is fetched.
    parse_cut(request)
    if request.check is not False and not is_local(request.video):
        check_no_video_page(request.video)
    prepare(session, request._replace(start=None, end=None, check=False, max_credits=None))
    joined_before = _joined_before(session, request, options)
    if joined_before is not None:
        yield joined_before
        return
    with (
        session.fetched_files.pop_all(),
        local_clip(session, request, deadline=deadline, hint=_NO_COPY) as source,
        private_folder(session.private_folder) as temporary,
    ):
        fetched = request._replace(clip_path=str(source))
        # Do not check whether the whole clip fits the model: only its pieces have to.
        whole = prepare(session, fetched._replace(check=False, max_credits=None))
        whole = whole._replace(request=fetched)
        pieces = _pieces_of(source, whole)
        prepared = [_prepared(session, each) for each in _piece_requests(fetched, pieces)]
        plan = _plan(session, whole, pieces, prepared, options, temporary_folder=str(temporary))
        check_price(
            render_count(plan.due_count, "piece"),
            plan.due_credits,
            max_credits=plan.max_credits,
            hint=RAISE_OR_CUT,
        )
        _check_target(session, whole, plan)
        yield plan


def edit_pieces(session: Session, plan: SplitPlan, options: EditOptions) -> Iterator[EditOutcome]:
    """Make the edits of all pieces, a few at a time; yield the outcome of each."""
    run = BatchRun(
        session,
        options._replace(sound=Sound.NEW),
        concurrency=_CONCURRENCY,
        max_credits=plan.max_credits,
    )
    for outcome in run.run(plan.edits):
        yield _checked(session, outcome)


def join_pieces(
    session: Session, plan: SplitPlan, records: Sequence[Record], options: EditOptions
) -> SavedFile | None:
    """Join the results of all pieces and save the clip; return None if it goes to standard output.

    Args:
        records: The records of all pieces, in order, with their results saved.

    Raises:
        InvalidInputError: If a result is not a clip.
        LocalError: If a file cannot be read or written, or the target is taken.
    """
    from omniedit.media.writing import join  # noqa: PLC0415 - brings PyAV

    results = [absolute_path(_result_path(edit)) for edit in plan.edits]
    check_is_same(session, plan.source)
    with private_folder(session.private_folder) as private:
        path = private / "joined.mp4"
        name = plan.target.path.name if plan.target else clip_name(plan.edits[0].request.video)
        with preparation_shown(session, name, "joining") as on_progress:
            joined = join(
                plan.pieces,
                results,
                path,
                original=plan.source,
                sound=options.sound,
                original_start_s=plan.pieces[0].cut_start_s,
                on_progress=on_progress,
            )
        warn_of_lost_marks(session, joined.lost_marks, whose="the results", where="the joined clip")
        _warn_of_gap(session, joined.largest_gap_s, sound=options.sound)
        if plan.target is None:
            session.stream_out(path)
            return None
        facts = probe_result(session, str(path), name=name, clip=None)
        file = saved_file(path)._replace(facts=facts, sound=options.sound)
        try:
            digest = _joined_digest(records, options.sound)
            deadline = session.monotonic() + options.timeout_s
            return copy_recorded(session, file, plan.target, digest, deadline)
        except TargetExistsError:
            # Another process may have joined the same pieces in the meantime.
            existing = _find_joined(session, plan.target, records, options.sound)
            if existing is None:
                raise
            return existing


def _joined_before(
    session: Session, request: EditRequest, options: EditOptions
) -> SplitPlan | None:
    """Return the plan for a URL if the results of its pieces are joined already; else None.

    The pieces are those of the attempts in the journal, so that the clip, which may be gone, is not
    fetched.
    """
    from omniedit.media.writing import Piece  # noqa: PLC0415 - brings PyAV

    if options.destination.is_stdout or is_local(request.video):
        return None
    start_s, end_s = parse_cut(request)
    whole = unseen_edit(request, start_s, end_s)
    identities = (unseen_edit(request, *marks).identity for marks in session.journal.cut_marks())
    found = (session.journal.find_edit(each, origin=session.origin) for each in identities)
    by_age = sorted(filter(None, found), key=lambda record: record.created_at)
    newest = {record.start_s or 0.0: record for record in by_age}
    attempts = [newest[start_s] for start_s in sorted(newest)]
    # Each piece must begin where the one before it ends, and together they must cover the cut.
    begins = [record.start_s for record in attempts]
    ends = [record.end_s for record in attempts]
    if [*begins, end_s] != [whole.plan.start_s, *ends]:
        return None
    pieces = tuple(
        Piece(
            start_s=(record.start_s or 0.0) - (start_s or 0.0),
            duration_s=(record.clip_facts.duration_s if record.clip_facts else None) or 0.0,
            cut_start_s=record.start_s,
            cut_end_s=record.end_s,
        )
        for record in attempts
    )
    prepared = [
        unseen_edit(each, piece.cut_start_s, piece.cut_end_s)
        for each, piece in zip(_piece_requests(request, pieces), pieces, strict=True)
    ]
    plan = _plan(session, whole, pieces, prepared, options)
    if plan.joined is None:
        return None
    _check_target(session, whole, plan)
    return plan


def _plan(
    session: Session,
    whole: PreparedEdit,
    pieces: "tuple[Piece, ...]",
    prepared: Sequence[PreparedEdit],
    options: EditOptions,
    *,
    temporary_folder: str = "",
) -> SplitPlan:
    """Return the plan; `temporary_folder` is for the results if the joined clip goes to stdout."""
    target = None if options.destination.is_stdout else _target(whole, options)
    folder = temporary_folder if target is None else _pieces_folder(whole, target)
    in_folder = options._replace(
        destination=options.destination._replace(text=f"{folder}/"), sound=Sound.NEW
    )
    digits = max(2, len(str(len(pieces))))
    model = find_model(whole.request.model)
    known = tuple(known_edit(session, edit, in_folder) for edit in prepared)
    edits = tuple(
        PlannedEdit(
            number=number,
            label=edit.request.piece,
            request=edit.request,
            identity=edit.identity,
            output=_free_path(session, record, Path(folder) / f"{number:0{digits}}.mp4"),
            is_due=record is None,
            estimated_credits=model.estimated_credits(piece.duration_s),
        )
        for number, piece, edit, record in zip(
            itertools.count(1), pieces, prepared, known, strict=False
        )
    )
    joined = None if target is None else _find_joined(session, target, known, options.sound)
    if joined is not None:
        # A run that was killed right after it placed the clip leaves its part file.
        remove_leftover_part(Path(joined.path), joined.sha256)
    return SplitPlan(
        source=Path(whole.request.clip_path or whole.request.video),
        pieces=pieces,
        edits=edits,
        known=known,
        target=target,
        max_credits=whole.request.max_credits,
        joined=joined,
    )


def _pieces_of(source: Path, whole: PreparedEdit) -> "tuple[Piece, ...]":
    from omniedit.media.writing import plan_split  # noqa: PLC0415 - brings PyAV

    model = find_model(whole.request.model)
    limits = model if model.is_known else MODELS[DEFAULT_MODEL]
    return plan_split(
        source, longest_s=limits.longest_clip_s, start_s=whole.plan.start_s, end_s=whole.plan.end_s
    )


def _target(whole: PreparedEdit, options: EditOptions) -> Target:
    # For the same prompt, an edit in one go, in pieces, or with another sound gets another name.
    identity = digest_of([whole.identity, "split", options.sound is Sound.NEW])
    # With `--split`, the original sound is the default and gets no suffix.
    sound = Sound.NONE if options.sound is Sound.NONE else Sound.NEW
    return options.destination.named(_default_name(whole, identity, sound=sound))


def _pieces_folder(whole: PreparedEdit, target: Target) -> str:
    """Return the folder for the results of pieces: beside the joined clip, whatever its name."""
    name = _default_name(whole, digest_of([whole.identity, "split"]))
    return str(Path(target.shown).with_name(f"{Path(name).stem}.pieces"))


def _default_name(whole: PreparedEdit, identity: str, *, sound: Sound = Sound.NEW) -> str:
    return default_name(whole.request.shown_video, whole.request.prompt, identity, sound=sound)


def _piece_requests(request: EditRequest, pieces: "Sequence[Piece]") -> Iterator[EditRequest]:
    for number, piece in enumerate(pieces, start=1):
        yield request._replace(
            start=_mark(piece.cut_start_s),
            end=_mark(piece.cut_end_s),
            max_credits=None,
            piece=f"piece {number} of {len(pieces)}",
        )


def _mark(mark_s: float | None) -> str | None:
    """Return a cut mark as `--start` and `--end` take it."""
    return None if mark_s is None else f"{mark_s:.{_MARK_DIGITS}f}".rstrip("0").rstrip(".")


def _prepared(session: Session, request: EditRequest) -> PreparedEdit:
    try:
        return prepare(session, request)
    except InvalidInputError as error:
        error.message = f"{request.piece}: {error.message}"
        raise


def _free_path(session: Session, known: Record | None, path: Path) -> str:
    """Return the path for the result of a piece: `07.mp4`, or `07-2.mp4` if that is taken."""

    def is_own(path: Path) -> bool:
        if known is None:
            return False
        return find_file_at(session, known, Target(path, str(path))) is not None

    paths = (path.with_name(numbered(path.name, index)) for index in itertools.count())
    return str(next(path for path in paths if not os.path.lexists(path) or is_own(path)))


def _check_target(session: Session, whole: PreparedEdit, plan: SplitPlan) -> None:
    if plan.target is None:
        return
    refuse_clip(session, whole.clip_sha256, plan.target.path, video=whole.request.video)
    check_writable(Path(plan.edits[0].output), overwrite=True)
    is_free = plan.target.overwrite or plan.joined is not None
    check_writable(plan.target.path, overwrite=is_free)
    joined = plan.joined.sha256 if plan.joined else None
    check_sidecar(session, plan.target, None, sha256=joined)


def _checked(session: Session, outcome: EditOutcome) -> EditOutcome:
    """Turn the outcome of a piece into an error if its saved result cannot be joined."""
    record = outcome.record
    if record is None or outcome.error is not None:
        return outcome
    try:
        file_facts(session, _result_path(outcome.edit))
    except InvalidInputError as error:
        msg = f"the result of {task_name(record.task_id)} cannot be joined: {error.message}"
        return replace(outcome, error=NotAVideoError(msg, task_id=record.task_id))
    except OmniEditError as error:
        return replace(outcome, error=error)
    return outcome


def _find_joined(
    session: Session, target: Target, known: Sequence[Record | None], sound: Sound
) -> SavedFile | None:
    """Return the joined clip at the target, if there is one for these results and it is whole."""
    path = str(absolute_path(target.path))
    files = session.journal.find_joined(_joined_digest(known, sound))
    return next((file for file in files if file.path == path and is_whole(session, file)), None)


def _joined_digest(known: Sequence[Record | None], sound: Sound) -> str:
    """Return the digest by which the journal knows a joined clip: of its tasks and its sound."""
    return digest_of([[record.task_id if record else None for record in known], sound])


def _warn_of_gap(session: Session, gap_s: float, *, sound: Sound) -> None:
    if abs(gap_s) <= _NEGLIGIBLE_GAP_S:
        return
    text = f"a result is {abs(gap_s):.1f} s {'shorter' if gap_s > 0 else 'longer'} than its piece"
    if sound is Sound.NEW:
        text += "; the joined clip is as long as its results"
    else:
        text += ": its last frame is held" if gap_s > 0 else ": its end is cut off"
    session.warn(text)


def _result_path(edit: PlannedEdit) -> Path:
    return stable_path(Path(edit.output))
