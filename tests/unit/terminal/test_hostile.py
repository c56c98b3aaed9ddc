"""Hostile text in any field of an event or record is harmless in every view."""

import json
import re
import types
import typing
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import is_dataclass
from typing import Any, Final, Protocol, get_args, get_origin, get_type_hints

import pytest

from omniedit.errors import OmniEditError
from omniedit.events import Event, LineFailed, Saved, Working
from omniedit.models import Record, Task
from omniedit.terminal.documents import error_document, event_document, json_text, task_document
from omniedit.terminal.human import render_status_line
from omniedit.terminal.printer import OutputMode, Printer, ProgressMode
from omniedit.terminal.tables import render_table
from tests.unit.terminal.observing import watched

MakePrinter = Callable[..., Printer]
NOW: Final = 1_757_169_743.0
HOSTILE: Final = (
    "\x1b]52;c;ZXZpbA==\x07"  # writes the clipboard
    "\x1b]8;;https://evil.example\x1b\\link\x1b]8;;\x1b\\"
    "\x1b[2J\x9b31m\x85\n::error::evil\r\n##[group]\u202eevil\u2066\u200b[bold]\udc9b\ud800\x7f"
    + "9"
    * 4301  # more digits than Python takes for a number
)
_OWN_SEQUENCES: Final = re.compile(
    r"\x1b\[[0-9;]*[mAK]|\x1b\[\?25[hl]"  # colours, and the cursor of bars
    r"|\x1b\]8;;(file:///[!-~]*)?\x1b\\"  # our own links
    r"|\x1b\]9;4;[01];\d+\x07"  # the taskbar
)
_TERMINALS: Final[Mapping[str, Mapping[str, str]]] = {
    "plain": {"TERM": "xterm"},
    "coloured": {"TERM": "xterm-256color", "COLORTERM": "truecolor"},
    "with-links": {"TERM": "xterm-256color", "TERM_PROGRAM": "ghostty"},
    "narrow": {"TERM": "xterm", "COLUMNS": "40"},
    "dumb": {"TERM": "dumb"},
}


class Written(Protocol):
    text: str


def hostile(kind: Any) -> Any:
    """Return a value of a type in which each text is hostile."""
    if kind is str:
        return HOSTILE
    if kind in {int, float, bool}:
        return kind(1)
    if kind is bytes:
        return b""
    if hasattr(kind, "_fields") or is_dataclass(kind):
        hints = get_type_hints(kind)
        return kind(**{name: hostile(hint) for name, hint in hints.items()})
    if get_origin(kind) in {types.UnionType, typing.Union}:
        return hostile(next(each for each in get_args(kind) if each is not type(None)))
    if get_origin(kind) is tuple:
        return (hostile(get_args(kind)[0]),)
    return {HOSTILE: HOSTILE}  # the service's own object


def _with_statuses(event: Event) -> list[Event]:
    """Return an event; if it has a record, one for each status that views distinguish."""
    record = getattr(event, "record", None)
    if not isinstance(record, Record) or record.task is None:
        return [event]
    records = [
        record._replace(status=status, task=record.task._replace(status=status))
        for status in (HOSTILE, "completed", "failed")
    ]
    as_any: Any = event
    return [as_any._replace(record=each) for each in records]


EVENTS: Final = [each for kind in get_args(Event) for each in _with_statuses(hostile(kind))] + [
    hostile(Working)._replace(done=0.0, total=9.0),
    hostile(Working)._replace(done=0.0, total=9.0, is_transfer=False, task_id=None),
    hostile(Saved)._replace(task_id=None),
    hostile(Saved)._replace(is_new=False),
    hostile(LineFailed)._replace(task_id=None),
]
RECORDS: Final = [
    record
    for event in EVENTS
    for record in [getattr(event, "record", None)]
    if isinstance(record, Record)
] + [hostile(Record)._replace(task=None)]


def assert_harmless(text: str) -> None:
    """Assert that a text contains no control characters except our own sequences."""
    left = _OWN_SEQUENCES.sub("", text).replace("\r", "").replace("\n", "")
    assert not {unicodedata.category(c) for c in left} & {"Cc", "Cf", "Cs", "Zl", "Zp"}, text
    assert "evil.example" not in "".join(re.findall(r"\x1b\]8;;([^\x1b]*)", text))


def test_the_samples_are_hostile_in_every_field() -> None:
    record = hostile(Record)

    assert (record.task.error.message, record.saved[0].path) == (HOSTILE, HOSTILE)
    assert {type(event) for event in EVENTS} == set(get_args(Event))


@pytest.mark.parametrize("name", _TERMINALS)
@pytest.mark.parametrize("total", [1, 3, 9], ids=["single", "several", "many"])
@pytest.mark.parametrize("progress", [ProgressMode.AUTO, ProgressMode.PLAIN])
def test_no_event_controls_the_terminal(
    make_printer: MakePrinter,
    terminal: Written,
    *,
    name: str,
    total: int,
    progress: ProgressMode,
) -> None:
    printer = make_printer(out=terminal, err=terminal, environ=_TERMINALS[name], progress=progress)

    for events in [[event] for event in EVENTS] if total == 1 else [EVENTS]:
        with watched(printer, total=total, saves=total != 3) as report:
            for event in events:
                report(event)
                printer.note("drawn")
            printer.path(HOSTILE)

    assert "drawn" in terminal.text
    assert_harmless(terminal.text)


@pytest.mark.parametrize("is_workflow", [True, False], ids=["github-actions", "pipe"])
@pytest.mark.parametrize("total", [1, 9])
def test_no_event_forges_a_log_line(
    make_printer: MakePrinter, stderr: Written, *, is_workflow: bool, total: int
) -> None:
    environ = {"GITHUB_ACTIONS": "true"} if is_workflow else {}
    printer = make_printer(environ=environ, verbose=True)

    with watched(printer, total=total) as report:
        for event in EVENTS:
            report(event)
    for say in (printer.warn, printer.hint, printer.note, printer.trace, printer.message):
        say(HOSTILE)
        say(f"  {HOSTILE.partition(chr(10))[2]}")
    printer.verbatim(f"Traceback:\n  {HOSTILE}\n")

    assert_harmless(stderr.text)
    if is_workflow:
        assert not re.search(r"^\s*::", stderr.text, re.MULTILINE)
        assert "##[" not in stderr.text


@pytest.mark.parametrize("width", [None, 40, 100])
def test_no_record_controls_the_terminal(
    make_printer: MakePrinter, terminal: Written, width: int | None
) -> None:
    printer = make_printer(out=terminal, environ=_TERMINALS["with-links"])

    printer.lines(render_table(RECORDS, NOW, width))
    printer.lines(render_status_line(record, NOW) for record in RECORDS)

    assert_harmless(terminal.text)


def test_every_document_is_printable_ascii(make_printer: MakePrinter, stdout: Written) -> None:
    printer = make_printer(mode=OutputMode.EVENTS)

    for event in EVENTS:
        document = event_document(event, at=NOW, sandbox=False)
        if document is not None:
            printer.event(document)
    error = OmniEditError(HOSTILE, code=HOSTILE, hint=HOSTILE, task_id=HOSTILE)
    printer.event({"error": error_document(error, exit_status=1)})
    printer.event({"tasks": [task_document(record) for record in RECORDS]})

    assert stdout.text.isascii()
    assert all(line.isprintable() for line in stdout.text.splitlines())
    last = json.loads(stdout.text.splitlines()[-1])
    assert last["tasks"][0]["prompt"] == HOSTILE


def test_a_workflow_annotation_of_an_error_stays_on_one_line(
    make_printer: MakePrinter, stderr: Written
) -> None:
    make_printer(environ={"GITHUB_ACTIONS": "true"}).error("50 %\r\n::warning::x\x1b", hint="do")

    assert stderr.text == (
        "error: 50 % ::warning::x\\x1b\n::error::50 %25%0D%0A::warning::x\\x1b\nhint: do\n"
    )


def _nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {"nan": float("nan")}
    for _ in range(depth):
        value = {"deeper": value}
    return value


@pytest.mark.parametrize("indent", [None, 2], ids=["pipe", "terminal"])
@pytest.mark.parametrize("depth", [10, 200, 330, 400, 800, 5000, 100_000])
def test_a_reply_too_deep_for_json_loses_only_raw(depth: int, indent: int | None) -> None:
    task = Task(task_id="t-1", status="failed", raw=_nested(depth))
    record = hostile(Record)._replace(task=task)
    document = {"schema": 1, "tasks": [task_document(record)]}

    [shown] = json.loads(json_text(document, indent=indent), parse_constant=pytest.fail)["tasks"]

    assert (shown["task_id"], shown["prompt"]) == ("t-1", HOSTILE)
    assert shown["raw"] is None or depth < 1000
