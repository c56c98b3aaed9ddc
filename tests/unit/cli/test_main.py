"""The boundary: however a command ends, there is a message, a document and an exit status."""

import contextlib
import io
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import pytest

from omniedit.cli import main
from omniedit.cli.context import Context, Outcome
from omniedit.cli.exit_codes import ExitStatus
from omniedit.errors import (
    NOTHING_SUBMITTED,
    Interrupted,
    InvalidInputError,
    MissingKeyError,
    TaskFailedError,
    WaitTimeoutError,
)
from omniedit.events import Observer, Working
from omniedit.journal import Journal
from omniedit.models import Record, Sound, Task
from omniedit.terminal.documents import task_document
from omniedit.terminal.printer import OutputMode, Printer

CLIP_URL = "https://example.com/clip.mp4"
EDIT_ARGV = ("edit", "clip.mp4", "make it night")


class Ended:
    """A command that has ended in the given way, and what it printed."""

    def __init__(
        self,
        outcome: Outcome,
        mode: OutputMode,
        name: str = "wait",
        record: Record | None = None,
        *,
        argv: Sequence[str] = (),
        params: dict[str, Any] | None = None,
    ) -> None:
        self.stdout = io.StringIO()
        self.stderr = io.StringIO()
        context = Context({"OMNIEDIT_SANDBOX": "1"})
        context.argv = [*argv]
        context.command = name
        context.params = params or {}
        context.printer = Printer(stdout=self.stdout, stderr=self.stderr, environ={}, mode=mode)
        if record is not None:
            context.board.add(record)
        self.status = main._end(context, outcome)

    @property
    def document(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.stdout.getvalue())
        return document


def nested(depth: int) -> dict[str, Any]:
    found: dict[str, Any] = {"number": float("nan")}
    for _ in range(depth):
        found = {"deeper": found}
    return found


def completed(raw: dict[str, Any]) -> Record:
    task = Task(task_id="t-1", status="completed", raw=raw)
    return Record(request_id="r-1", task=task, status=task.status, created_at=1.0)


@pytest.mark.parametrize("mode", [OutputMode.JSON, OutputMode.EVENTS])
@pytest.mark.parametrize("depth", [800, 100_000])
def test_a_reply_too_deep_for_json_loses_only_raw(mode: OutputMode, depth: int) -> None:
    outcome = Outcome(tasks=lambda: [task_document(completed(nested(depth)))])

    ended = Ended(outcome, mode)

    [task] = ended.document["tasks"]
    assert (ended.status, task["task_id"]) == (0, "t-1")
    assert task["raw"] is None or depth < 1000


@pytest.mark.parametrize(
    ("argv", "is_hinted"),
    [
        pytest.param(["--json", "edit", "a.mp4", "x"], True, id="edit"),
        pytest.param(["batch", "m.csv"], True, id="batch"),
        pytest.param(["list"], False, id="list"),
    ],
)
def test_an_interrupt_before_a_session_says_that_nothing_was_submitted(
    capsys: pytest.CaptureFixture[str], argv: list[str], *, is_hinted: bool
) -> None:
    outcome = Outcome(ended_by=Interrupted(signal.SIGINT))
    begun = Context({}, argv=argv)
    begun.has_session = True

    main._end(Context({}, argv=argv), outcome)
    early = capsys.readouterr().err
    main._end(begun, outcome)

    assert (f"hint: {NOTHING_SUBMITTED}" in early) is is_hinted
    assert capsys.readouterr().err == "error: interrupted\n"


def interrupt_in_a_lock() -> None:
    lock = threading.Condition()
    with lock:
        # As if a signal arrived after `wait` had released the lock.
        lock.release()
        raise Interrupted(signal.SIGTERM)


def test_an_interrupt_masked_by_a_lock_error_is_still_an_interrupt() -> None:
    with pytest.raises(RuntimeError) as raised:
        interrupt_in_a_lock()

    ended = Ended(Outcome(tasks=list, ended_by=raised.value), OutputMode.TEXT)

    assert ended.status == ExitStatus.TERMINATED
    assert "bug" not in ended.stderr.getvalue()


def test_a_bug_in_the_settings_is_reported_like_any_other(
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Broken(dict[str, str]):
        def get(self, name: str, default: object = None) -> Any:
            if name == "OMNIEDIT_STATE_DIR":
                raise ZeroDivisionError
            return super().get(name, default)

    status = main.run(["list", "--json"], Broken())

    answer = capsys.readouterr()
    assert (status, json.loads(answer.out)["error"]["code"]) == (1, "bug")
    assert "a bug in omniedit: ZeroDivisionError" in answer.err


def test_a_signal_during_parsing_still_gets_a_document(capsys: pytest.CaptureFixture[str]) -> None:
    class Word(str):
        __slots__ = ()

        def __getitem__(self, key: Any) -> str:
            raise Interrupted(signal.SIGTERM)

    status = main.run([Word("list"), "--json"], {})

    document = json.loads(capsys.readouterr().out)
    assert (status, document["error"]["exit_status"]) == (143, 143)


def test_a_bug_while_building_the_document_still_gets_one() -> None:
    def fail() -> list[dict[str, Any]]:
        msg = "no document"
        raise RuntimeError(msg)

    with pytest.raises(RuntimeError, match="no document"):
        Ended(Outcome(tasks=fail), OutputMode.JSON)
    ended = Ended(Outcome(tasks=list, ended_by=RuntimeError("no document")), OutputMode.JSON)

    assert ended.status == 1
    assert (ended.document["ok"], ended.document["tasks"]) == (False, [])
    assert ended.document["error"]["code"] == "bug"


def test_all_errors_are_shown_and_the_worst_is_in_the_document() -> None:
    errors = [TaskFailedError("no video", task_id="t-1"), InvalidInputError("wrong", code="usage")]

    ended = Ended(Outcome(errors=errors), OutputMode.JSON)

    assert (ended.status, ended.document["error"]["message"]) == (2, "wrong")
    assert "error: task t-1: no video\n" in ended.stderr.getvalue()
    assert "error: wrong\nhint: `omniedit wait --help` explains it\n" in ended.stderr.getvalue()


@pytest.mark.parametrize(
    "outcome",
    [
        pytest.param(Outcome(ended_by=Interrupted(signal.SIGINT)), id="interrupted"),
        pytest.param(Outcome(errors=[WaitTimeoutError("no end", task_id="t-1")]), id="timed-out"),
    ],
)
@pytest.mark.parametrize(
    ("params", "recovery_command"),
    [
        ({}, "`omniedit wait t-1 --download clip-make-it-night-012345.mp4`"),
        ({"sound": Sound.NONE}, "`omniedit edit clip.mp4 'make it night'`"),
        ({"sidecar": True}, "`omniedit edit clip.mp4 'make it night'`"),
    ],
)
def test_an_edits_recovery_command_saves_the_same_file(
    outcome: Outcome, params: dict[str, Any], recovery_command: str
) -> None:
    task = Task(task_id="t-1", status="pending")
    record = Record(
        request_id="r-1",
        task=task,
        status=task.status,
        created_at=1.0,
        video="https://example.com/clip.mp4",
        prompt="make it night",
        identity="0123456789abcdef",
    )

    ended = Ended(outcome, OutputMode.TEXT, "edit", record, argv=EDIT_ARGV, params=params)

    assert recovery_command in ended.stderr.getvalue()


def test_a_missing_key_is_reported_once_and_names_no_task() -> None:
    errors = [MissingKeyError("no API key", task_id=task_id) for task_id in ("t-1", "t-2")]

    ended = Ended(Outcome(errors=errors), OutputMode.TEXT)

    assert ended.status == 3
    assert ended.stderr.getvalue().count("error: no API key\n") == 1


def test_a_task_id_that_starts_with_task_gets_no_prefix() -> None:
    errors = [TaskFailedError("no video", task_id="task-unified-1")]

    ended = Ended(Outcome(errors=errors), OutputMode.TEXT)

    assert "error: task-unified-1: no video\n" in ended.stderr.getvalue()


def test_errors_already_shown_are_not_repeated() -> None:
    outcome = Outcome(errors=[InvalidInputError("wrong")], has_shown_errors=True)

    ended = Ended(outcome, OutputMode.TEXT)

    assert (ended.status, ended.stderr.getvalue()) == (2, "")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the size of a pipe is unknown")
def test_a_full_pipe_is_waited_for_even_if_it_does_not_block(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fcntl, termios = pytest.importorskip("fcntl"), pytest.importorskip("termios")
    # As a parent such as Node leaves it.
    reader, writer = os.pipe()
    size = fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(writer, False)
    received: list[bytes] = []

    def read() -> None:
        while fcntl.ioctl(reader, termios.FIONREAD, bytes(4)) != size.to_bytes(4, sys.byteorder):
            assert not has_ended.wait(0.001)
        while content := os.read(reader, size):
            received.append(content)

    has_ended = threading.Event()
    thread = threading.Thread(target=read)
    thread.start()
    with os.fdopen(writer, "w") as stdout:
        monkeypatch.setattr("sys.stdout", stdout)
        status = main.run(["help", "json", "edit"], {})
    has_ended.set()
    thread.join()

    assert status == 0
    assert json.loads(b"".join(received))
    os.close(reader)


def test_a_summary_that_a_full_disk_cuts_short_is_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    resource = pytest.importorskip("resource")
    summary = tmp_path / "summary.md"
    limit = 1024**2  # more than the journal takes
    summary.write_bytes(b"\n" * (limit - 10))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        status = main.run(["edit", "missing.mp4", "x", "--summary", str(summary)], os.environ)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

    assert status == 2
    assert f"warning: cannot write the summary to {summary}: " in capsys.readouterr().err


def test_input_is_read_to_its_end_even_if_it_does_not_block(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fcntl, termios = pytest.importorskip("fcntl"), pytest.importorskip("termios")
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.write(writer, b"make it ")

    def write() -> None:
        while fcntl.ioctl(reader, termios.FIONREAD, bytes(4)) != bytes(4):
            assert not has_ended.wait(0.001)
        os.write(writer, b"night")
        os.close(writer)

    has_ended = threading.Event()
    thread = threading.Thread(target=write)
    thread.start()
    with os.fdopen(reader) as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        status = main.run(["--sandbox", "submit", "--dry-run", CLIP_URL, "-"], os.environ)
        has_ended.set()
        thread.join()

    assert status == 0
    assert '"make it night"' in capsys.readouterr().out


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a full device")
@pytest.mark.parametrize("argv", [["--version"], ["--help"], ["edit", "--help"], ["help", "json"]])
def test_a_full_device_is_a_local_error(monkeypatch: pytest.MonkeyPatch, argv: list[str]) -> None:
    stderr = io.StringIO()
    monkeypatch.setattr("sys.stderr", stderr)

    with Path("/dev/full").open("w") as stdout:
        monkeypatch.setattr("sys.stdout", stdout)
        status = main.run(argv, {})

    assert (status, "cannot write to standard output: No space" in stderr.getvalue()) == (10, True)


@pytest.mark.parametrize(
    ("argv", "hint"),
    [
        pytest.param(
            ["a.mp4", "-oil painting"],
            "a PROMPT that begins with `-` goes last, ",
            id="output",
        ),
        pytest.param(
            ["https://example.com/a.mp4?x=1"], "the shell cuts a URL off at `&`: ", id="ampersand"
        ),
        pytest.param(["a.mp4", "-o", "b.mp4"], "say what to change", id="no-prompt"),
    ],
)
def test_a_missing_prompt_gets_a_hint_at_what_became_of_it(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, argv: list[str], hint: str
) -> None:
    status = main.run(["--sandbox", "edit", *argv], {"OMNIEDIT_STATE_DIR": str(tmp_path)})

    lines = capsys.readouterr().err.splitlines()
    assert (status, lines[0]) == (2, "error: PROMPT is missing")
    assert lines[-1].startswith(f"hint: {hint}")


def test_a_missing_prompt_gets_a_hint_at_a_value_read_from_the_same_word(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    argv = ["--sandbox", "edit", "a.mp4", "-onight {}.mp4"]
    main.run(argv, {"OMNIEDIT_STATE_DIR": str(tmp_path)})

    hint = capsys.readouterr().err.splitlines()[-1]
    assert '`omniedit --sandbox edit VIDEO -- "PROMPT"`' in hint
    assert hint.endswith("; `-o 'night {}.mp4'` was read from '-onight {}.mp4'")


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("help jsno", "omniedit help json"),
        ("help edti", "omniedit help edit"),
        ("list --state completd", "completed"),
        ("list --state queued", "pending"),
        ("list --state running", "processing"),
        ("list --state done", "completed"),
    ],
)
def test_a_misspelt_value_gets_a_hint_at_what_was_meant(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, line: str, meant: str
) -> None:
    status = main.run(line.split(), {"OMNIEDIT_STATE_DIR": str(tmp_path)})

    last_line = capsys.readouterr().err.splitlines()[-1]
    assert (status, last_line) == (2, f"hint: did you mean `{meant}`?")


@pytest.mark.parametrize("summary", ["./new.mp4", "new.mp4.json"])
def test_a_summary_in_place_of_the_result_is_refused_and_not_created(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    summary: str,
) -> None:
    monkeypatch.chdir(tmp_path)

    status = main.run(
        ["edit", "https://example.com/a.mp4", "x", "-o", "new.mp4", "--summary", summary], {}
    )

    assert (status, [*tmp_path.glob("new.*")]) == (2, [])
    assert "error: --summary names the file of the result" in capsys.readouterr().err


def test_an_invalid_new_key_is_not_blamed_on_the_one_in_force(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"two\nlines\n")))

    status = main.run(["config", "set-key"], {})

    hint = capsys.readouterr().err.splitlines()[-1]
    assert (status, hint.startswith("hint: give the key alone, on one line; ")) == (3, True)


@pytest.mark.parametrize(
    ("key", "is_noted"),
    [
        pytest.param(b"my-password", True, id="password"),
        pytest.param(b"sk-evo-0123456789", False, id="key"),
    ],
)
def test_a_key_that_does_not_look_like_one_is_noted(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    key: bytes,
    *,
    is_noted: bool,
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(key)))

    status = main.run(["config", "set-key"], {"OMNIEDIT_CONFIG_DIR": str(tmp_path)})

    note = "note: keys usually begin with `sk-`; `omniedit doctor` checks this one\n"
    assert (status, capsys.readouterr().err) == (0, note if is_noted else "")


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("list --since tomorrow", "invalid value for '--since': invalid date 'tomorrow'"),
        ("list --since 2026-02-30", "invalid value for '--since': no such date: 2026-02-30"),
        ("list --state faild", "invalid value for '--state': 'faild' is not one of pending, "),
        ("list --limit -1", "invalid value for '--limit': -1 is less than 0"),
        ("batch c --prompt x --takes 0", "invalid value for '--takes': 0 is not from 1 to 10000"),
        ("edit", "VIDEO is missing"),
        ("journal merge", "FOLDER is missing"),
        ("probe a.mp4 b.mp4 c.mp4", "too many arguments: b.mp4 c.mp4"),
        ("edit a.mp4 x --summary", "option '--summary' requires an argument"),
        ("usage --by year", "invalid value for '--by': 'year' is not one of month, day"),
        ("batch c.mp4 --prompt x --shard 3/2", "invalid value for '--shard': invalid shard"),
        ("edit c.mp4 x --request-id short", "invalid request ID 'short'; write 16 to 96"),
    ],
)
def test_an_invalid_value_is_reported_by_name(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, command: str, message: str
) -> None:
    status = main.run(["--sandbox", *command.split()], {"OMNIEDIT_STATE_DIR": str(tmp_path)})

    answer = capsys.readouterr().err
    assert (status, answer.startswith(f"error: {message}")) == (2, True)
    assert "warning" not in answer


@pytest.mark.parametrize(
    "line",
    [
        "list --forget \udcff",
        "edit https://example.com/a.mp4 x --model \udcff",
        "submit https://example.com/a.mp4 x --request-id \udcff",
        "submit https://example.com/a.mp4 x --callback-url https://example.com/\udcff",
    ],
    ids=lambda line: line.split()[-2],
)
def test_an_option_value_that_is_not_utf8_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, line: str
) -> None:
    status = main.run(["--sandbox", *line.split()], {"OMNIEDIT_STATE_DIR": str(tmp_path)})

    option = line.split()[-2]
    assert status == 2
    assert f"invalid value for '{option}': it is not valid UTF-8 text" in capsys.readouterr().err


def test_list_accepts_a_state_that_only_the_service_knows(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with Journal(tmp_path) as journal:
        journal.record_adopted(Task(task_id="task-1", status="archived"), origin="elsewhere")

    status = main.run(
        ["list", "--state", "archived", "--offline"], {"OMNIEDIT_STATE_DIR": str(tmp_path)}
    )

    assert (status, "task-1" in capsys.readouterr().out) == (0, True)


@pytest.mark.posix
@pytest.mark.parametrize(
    ("argv", "state", "status"),
    [
        pytest.param(["list"], "shared", 10, id="state-folder-writable-by-others"),
        pytest.param(["--sandbox", "list"], "shared", 10, id="sandbox-inside-it"),
        pytest.param(["list"], "shared/sandbox", 0, id="own-folder-inside-it-named-sandbox"),
    ],
)
def test_a_journal_is_refused_only_if_others_may_write_to_the_state_folder(
    tmp_path: Path, argv: list[str], state: str, status: int
) -> None:
    (tmp_path / "shared" / "sandbox").mkdir(mode=0o700, parents=True)
    (tmp_path / "shared").chmod(0o777)

    assert main.run([*argv, "--offline"], {"OMNIEDIT_STATE_DIR": str(tmp_path / state)}) == status


def test_a_display_that_a_thread_begins_at_the_end_is_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    states: list[str] = []
    is_begun = threading.Event()

    @contextlib.contextmanager
    def watch(*_: object, **__: object) -> Generator[Observer]:
        is_begun.set()
        time.sleep(0.1)
        states.append("begun")
        yield lambda _: None
        states.append("ended")

    monkeypatch.setattr("omniedit.terminal.progress.watch", watch)
    context = Context({"OMNIEDIT_SANDBOX": "1"})
    context.printer = Printer(stdout=None, stderr=None, environ={})
    with context._display(is_wanted=True) as observe:
        thread = threading.Thread(target=observe, args=[Working("clip.mp4", "cutting", 0, 1)])
        thread.start()
        is_begun.wait()

    thread.join()
    assert states == ["begun", "ended"]
