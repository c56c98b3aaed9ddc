"""`omniedit probe`: what a clip is, whether the service takes it, and what it would cost."""

from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from omniedit.cli.context import Context, Outcome
from omniedit.cli.options import ModelID, Video
from omniedit.cli.parser import OUTPUT, option
from omniedit.errors import Interrupted, OmniEditError, TargetExistsError, refuse
from omniedit.journal import JournalUse
from omniedit.media.facts import C2PA, AudioTrack, ClipFacts, codec_name, container_name
from omniedit.models import CREDITS_PER_DOLLAR, TASK_PREFIX, Model, find_model, is_local
from omniedit.schemas import unknown_values
from omniedit.terminal.human import render_estimate, render_size
from omniedit.terminal.streams import Colour, Line, Span

if TYPE_CHECKING:
    from omniedit.edits.clips import Findings
    from omniedit.edits.session import Session
    from omniedit.terminal.documents import Document
    from omniedit.terminal.printer import Printer

EXAMPLES: Final = """
omniedit probe clip.mp4
omniedit probe https://example.com/clip.mp4 --json
"""
_OTHER_NAMES: Final[Mapping[str, str]] = {
    "fragmented": "is_fragmented",
    "duration_seconds": "duration_s",
    "container_seconds": "container_s",
    "measured": "is_measured",
    "variable_frame_rate": "is_variable_rate",
    "interlaced": "is_interlaced",
    "audio_seconds": "audio_end_s",
    "bytes": "size_bytes",
    "automatic": "is_automatic",
    "used": "is_used",
}
"""The facts whose key in the document is not their name."""
_OF_PROBLEMS: Final = ("code", "message", "fix", "automatic")
_OF_TRACKS: Final = ("codec", "rate", "channels", "language", "used")
_LABEL_WIDTH: Final = 11


def probe(
    ctx: typer.Context,
    video: Video,
    *,
    save_prepared: Annotated[
        str | None,
        option("--save-prepared FILE", "Write the clip that would be sent to FILE.", OUTPUT),
    ] = None,
    model: ModelID = None,
) -> Outcome:
    """Show what a clip is, whether it fits, and roughly what an edit costs.

    If VIDEO is a URL, little more than the header is read: at most 2 MiB, in 3 seconds.
    """
    from omniedit.edits import clips

    context: Context = ctx.obj
    fields: Document = {"video": video}
    try:
        if save_prepared is not None:
            _check_target(video, save_prepared)
        is_result = video.startswith(TASK_PREFIX)
        use = JournalUse.OPTIONAL if is_result else JournalUse.NONE
        shows_progress = is_result or save_prepared is not None
        with context.session(use, shows_progress=shows_progress) as session:
            clip = video
            if is_result:
                from omniedit.edits.requests import find_result

                task = video.removeprefix(TASK_PREFIX)
                clip = str(find_result(session, task, command="probe task:TASK")[0])
            found = clips.probe(session, clip, find_model(context.model(model).value))
            show_findings(context.printer, found)
            fields |= findings_document(video, found)
            if save_prepared is not None and found.error is None:
                fields["prepared"] = _save_prepared(
                    session, clip, save_prepared, model_id=found.model.model_id
                )
    except (Interrupted, OmniEditError) as error:
        return Outcome(fields=fields, ended_by=error)
    return Outcome(fields=fields, errors=[found.error] if found.error else [])


def findings_document(video: str, found: "Findings") -> "Document":
    """Return the document about a clip; `video` is VIDEO as typed."""
    facts = found.facts
    audio = facts.audio
    cost = found.estimated_credits
    fields: Document = {
        "video": video,
        "model": found.model.model_id,
        "fits": found.fits,
        "problems": [_values_of(problem, _OF_PROBLEMS) for problem in found.problems],
        "audio_codec": audio.codec if audio else None,
        "audio_rate": audio.rate if audio else None,
        "audio_channels": audio.channels if audio else None,
        "audio_tracks": [_values_of(track, _OF_TRACKS) for track in facts.audio_tracks],
        "marks": list(facts.marks),
        "estimated_credits": None if cost is None else round(cost, 1),
        "estimated_usd": None if cost is None else round(cost / CREDITS_PER_DOLLAR, 2),
    }
    # The schema says which facts the document holds; `prepared` is added by the command.
    others = unknown_values("probe").keys() - {*fields, "prepared"}
    return fields | _values_of(facts, others)


def show_findings(printer: "Printer", found: "Findings") -> None:
    """Print a line for each fact about a clip, and the verdict last."""
    facts = found.facts
    cost = found.estimated_credits
    rows = (
        *_facts(facts),
        ("model", _model(found.model)),
        ("estimate", "unknown" if cost is None else render_estimate(cost)),
        *_verdict(found),
    )
    for label, text in rows:
        printer.line(text, label=f"{label:<{_LABEL_WIDTH}}")


def _check_target(video: str, file: str) -> None:
    """Refuse a file that cannot be written, or a clip that the service fetches itself."""
    from omniedit.downloads.placement import check_writable

    if not is_local(video):
        refuse(
            "`--save-prepared` needs a local clip: one behind a URL is not prepared here",
            hint="give a local copy of it",
        )
    if file == "-":
        refuse("`--save-prepared` writes to a file: the findings go to stdout", hint="name a file")
    try:
        check_writable(Path(file))
    except TargetExistsError as error:
        error.hint = "choose another name: `probe` never replaces a file"
        raise


def _save_prepared(session: "Session", video: str, file: str, *, model_id: str) -> "Document":
    """Write the clip that would be sent, and return its fields of the document."""
    from omniedit.edits.upload import save_prepared
    from omniedit.events import Saved
    from omniedit.terminal.documents import content_document

    saved, done = save_prepared(session, video, Path(file), model_id=model_id)
    session.report(Saved(file=saved, shown_path=file))
    return {**content_document(saved), "done": done}


def _facts(facts: ClipFacts) -> Iterator[tuple[str, str]]:
    fragmented = ", fragmented" if facts.is_fragmented else ""
    size = "unknown" if facts.size_bytes is None else render_size(facts.size_bytes)
    yield "length", _length(facts)
    length = "" if facts.container_s is None else f", {facts.container_s:.3f} s"
    yield "container", container_name(facts.container) + length + fragmented
    yield "video", _video(facts)
    yield "colours", _colours(facts)
    for track in facts.audio_tracks:
        yield "audio", _audio(track, is_one_of_many=len(facts.audio_tracks) > 1)
    if not facts.audio_tracks:
        yield "audio", "none"
    yield "size", size
    if C2PA in facts.marks:
        yield "marks", "C2PA manifest (Content Credentials)"


def _verdict(found: "Findings") -> Iterator[tuple[str, Line]]:
    for problem in found.problems:
        if problem.is_automatic:
            yield "verdict", [Span(f"{problem.message}: {problem.fix}", Colour.YELLOW)]
        else:
            # What to do about it is in the error's hint.
            yield "verdict", [Span(f"does not fit: {problem.message}", Colour.RED)]
    if found.problems:
        return
    if found.fits:
        yield "verdict", [Span("fits", Colour.GREEN)]
    else:
        yield "verdict", [Span("no problems found", Colour.YELLOW)]


def _model(model: Model) -> str:
    if not model.is_known:
        return f"{model.model_id} (unknown to omniedit)"
    sizes = " or ".join(f"{width}x{height}" for width, height in model.sizes)
    return f"{model.model_id}: clips of {model.longest_clip_s:g} s at most, results of {sizes}"


def _length(facts: ClipFacts) -> str:
    if facts.duration_s is None:
        return "unknown: not in the header"
    frames = "" if facts.frames is None else f", {facts.frames} frames"
    rate = "" if facts.frame_rate is None else f", {facts.frame_rate:.4g} fps"
    variable = ", variable" if facts.is_variable_rate else ""
    return f"{facts.duration_s:.3f} s{frames}{rate}{variable}"


def _video(facts: ClipFacts) -> str:
    parts = [codec_name(facts.video_codec), f"{facts.shown_width}x{facts.shown_height}"]
    if facts.rotation:
        parts.append(f"rotated by {facts.rotation} degrees")
    parts.append(f"SAR {_ratio(facts.pixel_aspect)}, DAR {_ratio(facts.display_aspect)}")
    parts.append("interlaced" if facts.is_interlaced else "progressive")
    return ", ".join(parts)


def _colours(facts: ClipFacts) -> str:
    depth = f"{facts.bit_depth} bits" if facts.bit_depth else None
    kind = f"HDR ({facts.hdr})" if facts.hdr else "SDR"
    return ", ".join(filter(None, [depth, facts.chroma, kind]))


def _audio(track: AudioTrack, *, is_one_of_many: bool) -> str:
    channels = "1 channel" if track.channels == 1 else f"{track.channels} channels"
    parts = [codec_name(track.codec), f"{track.rate} Hz", channels]
    if track.language:
        parts.append(track.language)
    if is_one_of_many:
        parts.append("used" if track.is_used else "not used")
    return ", ".join(parts)


def _ratio(ratio: Fraction) -> str:
    return f"{ratio.numerator}:{ratio.denominator}"


def _values_of(source: object, keys: Iterable[str]) -> "Document":
    """Return facts by their key in the document."""
    values = {key: getattr(source, _OTHER_NAMES.get(key, key)) for key in keys}
    return {
        key: _ratio(value) if isinstance(value, Fraction) else value
        for key, value in values.items()
    }
