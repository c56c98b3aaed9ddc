"""A long clip as edits of its pieces, and their results as one clip again."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from omniedit.edits.batch_plan import PlannedEdit, check_price
from omniedit.edits.clips import INSTALL_MEDIA, Wishes
from omniedit.edits.editing import EditOptions, known_edit
from omniedit.edits.joined import find_joined
from omniedit.edits.manifest import Line
from omniedit.edits.ports import Session
from omniedit.edits.requests import Draft, digest_of, identity_of, parse_draft
from omniedit.edits.targets import Destination, Target
from omniedit.errors import InvalidInputError, MissingExtraError
from omniedit.http.ranges import Incomplete
from omniedit.media import estimated_credits, parse_mark
from omniedit.models import EditRequest, Record, SavedFile

if TYPE_CHECKING:
    from omniedit.media import Piece

PIECES_SUFFIX: Final = ".pieces"
_MARK_DIGITS: Final = 6
"""Of the seconds of a piece's marks, which are part of what its edit is known by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitOptions:
    """How a clip is edited in pieces."""

    destination: Destination
    again: bool
    overwrite: bool
    new_audio: bool
    """Keep the sound that was generated for each piece, instead of the original's."""
    max_credits: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitPlan:
    """The pieces of a clip, and what is known of them."""

    source: Path
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
    def estimated_credits(self) -> float:
        """Of all pieces, whether they are known or not."""
        return sum(estimated_credits(piece.duration_s) for piece in self.pieces)

    @property
    def due_count(self) -> int:
        """How many pieces are to be submitted, and paid."""
        return self.known.count(None)

    @property
    def due_credits(self) -> float:
        """What they are estimated at."""
        return sum(
            estimated_credits(piece.duration_s)
            for piece, known in zip(self.pieces, self.known, strict=True)
            if known is None
        )


def check_split(session: Session, draft: Draft) -> None:
    """Refuse what can be told to be wrong before the clip of a URL is fetched.

    Raises:
        MissingExtraError: The extra that splits is not installed.
        InvalidInputError: The prompt, a URL or a mark is wrong.
    """
    if not session.clips.can_look:
        msg = "splitting a clip needs the extra `media`"
        raise MissingExtraError(msg, hint=INSTALL_MEDIA)
    for mark in (draft.wishes.start, draft.wishes.end):
        if mark is not None:
            parse_mark(mark)
    parse_draft(session, replace(draft, wishes=Wishes(check=False)))


def plan_pieces(
    session: Session, draft: Draft, options: SplitOptions, *, spare_folder: str
) -> SplitPlan:
    """Return the edits of a clip's pieces; nothing is sent, and nothing is written.

    A piece is an edit like any other: the same as one of the clip with `--start` and `--end`.

    Args:
        session: What it calls on.
        draft: Of the whole clip, which lies on this machine.
        options: How.
        spare_folder: Where results go that have no place beside the joined clip.

    Raises:
        InvalidInputError: The draft is wrong, or the clip cannot be split.
        TooExpensiveError: All pieces together are estimated dearer than allowed.
        TargetExistsError: The target is taken.
        LocalError: The target cannot be written.
    """
    # Without a look: of what speaks against the clip, the pieces will be free.
    wishes = replace(draft.wishes, check=False, max_credits=None)
    whole = parse_draft(session, replace(draft, wishes=wishes))
    source = Path(draft.source or draft.video)
    pieces = tuple(session.clips.plan_split(source, start_s=whole.start_s, end_s=whole.end_s))
    facts = session.clips.look(str(source), name=draft.video)
    target = None if options.destination.is_stdout else _target(draft, whole, options)
    folder = spare_folder if target is None else _pieces_folder(draft, whole, target)
    edits = tuple(
        _piece_edit(session, draft, piece, number, count=len(pieces), folder=f"{folder}/")
        for number, piece in enumerate(pieces, start=1)
    )
    known = tuple(known_edit(session, edit.identity, _options_of(edit, options)) for edit in edits)
    joined = None
    if target is not None:
        joined = find_joined(session, target, known, new_audio=options.new_audio)
    plan = SplitPlan(
        source=source,
        has_sound=not isinstance(facts, Incomplete) and facts.has_audio,
        pieces=pieces,
        edits=edits,
        known=known,
        target=target,
        joined=joined,
    )
    check_price(
        f"{len(pieces)} pieces",
        plan.estimated_credits,
        max_credits=options.max_credits,
        hint="raise the limit, or cut the clip with `--start T --end T`",
    )
    _check_target(session, plan, options)
    return plan


def _target(draft: Draft, whole: EditRequest, options: SplitOptions) -> Target:
    # Of one sentence, the clip in one go, in pieces, and with either sound are different files.
    identity = digest_of([identity_of(whole), "split", options.new_audio])
    return options.destination.target_for_joined(draft.video, identity)


def _pieces_folder(draft: Draft, whole: EditRequest, target: Target) -> str:
    """Return where results of pieces go: beside the joined clip, whatever it is called."""
    name = Destination(None).target_for_joined(
        draft.video, digest_of([identity_of(whole), "split"])
    )
    return str(Path(target.shown).with_name(name.path.stem + PIECES_SUFFIX))


def _piece_edit(
    session: Session, draft: Draft, piece: "Piece", number: int, *, count: int, folder: str
) -> PlannedEdit:
    part = f"piece {number} of {count}"
    own = replace(
        draft,
        wishes=Wishes(
            start=_shown_mark(piece.start_mark_s),
            end=_shown_mark(piece.end_mark_s),
            check=draft.wishes.check,
        ),
    )
    try:
        identity = identity_of(parse_draft(session, own))
    except InvalidInputError as error:
        error.message = f"{part}: {error.message}"
        raise
    line = Line(number=number, video=draft.video, prompt=draft.prompt)
    return PlannedEdit(line=line, draft=own, identity=identity, output=folder, part=part)


def _shown_mark(mark_s: float | None) -> str | None:
    return None if mark_s is None else f"{mark_s:.{_MARK_DIGITS}f}".rstrip("0").rstrip(".")


def _options_of(edit: PlannedEdit, options: SplitOptions) -> EditOptions:
    return EditOptions(destination=Destination(edit.output), again=options.again, timeout_s=0.0)


def _check_target(session: Session, plan: SplitPlan, options: SplitOptions) -> None:
    if plan.target is None:
        return
    # What lies in the folder of the pieces, each piece finds out for itself.
    session.results.check_target(Path(plan.edits[0].output, "piece.mp4"), overwrite=True)
    is_free = options.overwrite or plan.joined is not None
    session.results.check_target(plan.target.path, overwrite=is_free)
