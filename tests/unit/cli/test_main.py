"""The boundary: however a command ends, there is a message, a document and an exit status."""

import io
import json
import signal
import threading
from collections.abc import Sequence
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
from omniedit.journal import Journal
from omniedit.models import Record, Sound, Task
from omniedit.terminal.documents import task_document
from omniedit.terminal.printer import OutputMode, Printer

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
        self.stdout, self.stderr = io.StringIO(), io.StringIO()
        context = Context({"OMNIEDIT_SANDBOX": "1"})
        context.argv, context.command, context.params = [*argv], name, params or {}
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
            ["submit", "-o", "x"],
            "`omniedit submit` sends an edit and does not wait;"
            " `omniedit edit VIDEO PROMPT --output PATH` also saves the result",
            id="submit-does-not-save",
        ),
        pytest.param(
            ["edit", "-i", "a.mp4", "x"],
            'VIDEO needs no option: `omniedit edit VIDEO "PROMPT"`',
            id="video-as-an-option",
        ),
        pytest.param(
            ["probe", "-i", "a.mp4"],
            "VIDEO needs no option: `omniedit probe VIDEO`",
            id="video-as-an-option-of-probe",
        ),
        pytest.param(
            ["list", "-i", "a.mp4"],
            "`omniedit list --help` lists all",
            id="command-without-a-video",
        ),
        pytest.param(
            ["edit", "a.mp4", "-p", "x"],
            'PROMPT needs no option: `omniedit edit VIDEO "PROMPT"`',
            id="prompt-as-an-option",
        ),
        pytest.param(
            ["edit", "a.mp4", "x", "--out", "y"],
            "did you mean `--output`? `omniedit edit --help` lists all",
            id="typo",
        ),
        pytest.param(
            ["edit", "a.mp4", "x", "-y"],
            "did you mean `--yes`? `omniedit edit --help` lists all",
            id="short-option-of-other-tools",
        ),
        pytest.param(
            ["edit", "a.mp4", "x", "--duration", "5"],
            "a result is as long as its clip; `--end T` cuts the clip",
            id="no-length",
        ),
        pytest.param(
            ["--force", "edit", "a.mp4", "x"],
            "options go after the command: `omniedit COMMAND … --force`",
            id="option-before-the-command",
        ),
        pytest.param(
            ["download", "--overwrite"],
            "did you mean `--force`? `omniedit download --help` lists all",
            id="long-option-of-other-tools",
        ),
        pytest.param(
            ["list", "-n", "5"],
            "did you mean `--limit`? `omniedit list --help` lists all",
            id="limit-of-other-tools",
        ),
        pytest.param(
            ["edit", "a.mp4", "x", "--dry-run"],
            '`omniedit submit VIDEO "PROMPT" --dry-run` shows what an edit would send',
            id="dry-run-of-another-command",
        ),
        pytest.param(
            ["credits", "--api-key", "sk-evo-1"],
            "a key is never an option: `omniedit config set-key` asks for it",
            id="key-as-an-option",
        ),
        pytest.param(
            ["--sandbox", "balance"],
            "did you mean `omniedit --sandbox credits`? `omniedit --sandbox --help` lists all",
            id="command-of-other-tools",
        ),
        pytest.param(
            ["config", "set", "key"],
            "did you mean `omniedit config set-key`? `omniedit config --help` lists all",
            id="command-of-a-group",
        ),
        pytest.param(
            ["sandbox", "edit", "a.mp4", "warmer"],
            "did you mean `omniedit --sandbox edit`? `omniedit sandbox --help` lists all",
            id="command-after-sandbox",
        ),
        pytest.param(
            ["downlod"],
            "did you mean `omniedit download`? `omniedit --help` lists all",
            id="typo-in-a-command",
        ),
        pytest.param(
            ["cancel", "t-1"],
            "the service cannot cancel a task; one that fails is not charged",
            id="cancel",
        ),
        pytest.param(
            ["edit", "a.mp4", "make", "it", "night"],
            'put the whole PROMPT in quotes: `omniedit edit VIDEO "PROMPT"`',
            id="prompt-without-quotes",
        ),
        pytest.param(
            ["edit", "a.mp4", "make", "it", "night", "-o", "night.mp4"],
            'put the whole PROMPT in quotes: `omniedit edit VIDEO "PROMPT"`',
            id="prompt-without-quotes-before-an-output",
        ),
        pytest.param(
            ["edit", "a.mp4", "--rain and wind"],
            "a PROMPT that begins with `-` goes last, after `--`:"
            ' `omniedit edit VIDEO -- "PROMPT"`, or into a file: `--prompt-file FILE`',
            id="prompt-like-an-option",
        ),
        *[
            pytest.param(
                [command, "a.mp4", prompt],
                "a PROMPT that begins with `-` goes last, after `--`:"
                f' `omniedit {command} VIDEO -- "PROMPT"`, or into a file: `--prompt-file FILE`',
                id=f"{command}-{prompt}",
            )
            for command, prompt in (
                ("edit", "-hot summer"),
                ("edit", "-make it night"),
                ("submit", "-night please"),
                ("submit", "-oil painting"),
                ("edit", "--rain"),
            )
        ],
        pytest.param(
            ["edit", "a.mp4", "x", "--time-scale", "3"],
            "`omniedit edit --help` lists all",
            id="no-such-option",
        ),
        pytest.param(["list", "--bogus"], "`omniedit list --help` lists all", id="nothing-similar"),
        pytest.param(
            ["edit", "--resume", "X"],
            "`omniedit submit --resume REQUEST_ID` settles a submission whose outcome is unknown",
            id="resume-of-another-command",
        ),
        pytest.param(
            ["edit", "--", "a.mp4", "-x", "--max-credits", "1"],
            "options go before `--`: what follows it is VIDEO and PROMPT",
            id="option-after-the-dashes",
        ),
        pytest.param(
            ["edit", "a.mp4", "x", "-o", ""], "a shell variable may be unset", id="empty-value"
        ),
        pytest.param(
            ["edit", "no", "clip.mp4", "make it night"],
            "put the file name in quotes: `omniedit edit 'no clip.mp4' 'make it night'`",
            id="missing-file-with-spaces",
        ),
        pytest.param(
            ["wait", "--output", "x.mp4"],
            "did you mean `--download`? `omniedit wait --help` lists all",
            id="twin-option-of-download",
        ),
        pytest.param(
            ["download", "-d", "x.mp4"],
            "did you mean `--output`? `omniedit download --help` lists all",
            id="twin-option-of-wait",
        ),
        pytest.param(
            ["download", "--download", "x.mp4"],
            "did you mean `--output`? `omniedit download --help` lists all",
            id="long-twin-option-of-wait",
        ),
        pytest.param(
            ["batch", "m.csv", "--output", "x"],
            "did you mean `--dir`? `omniedit batch --help` lists all",
            id="twin-option-of-edit",
        ),
    ],
)
def test_a_usage_mistake_gets_a_hint_at_what_was_meant(
    capsys: pytest.CaptureFixture[str], argv: list[str], hint: str
) -> None:
    status = main.run(argv, {})

    assert (status, capsys.readouterr().err.splitlines()[-1]) == (2, f"hint: {hint}")


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("estimate a.mp4", "omniedit probe"),
        ("setup", "omniedit config set-key"),
        ("set-key", "omniedit config set-key"),
        ("logout", "omniedit config unset-key"),
        ("quota", "omniedit credits"),
        ("skills", "omniedit help agents"),
        ("tasks", "omniedit list"),
        ("tasks get t-1", "omniedit status"),
        ("tasks wait t-1", "omniedit wait"),
        ("edit a.mp4 x --idempotency-key k", "--request-id"),
        ("edit a.mp4 x --max-cost-usd 1", "--max-credits"),
        ("batch m.csv --budget 9", "--max-credits"),
        ("batch m.csv --format json", "--json"),
        ("batch m.csv --output-dir x", "--dir"),
        ("batch m.csv --promt x", "--prompt"),
    ],
)
def test_a_word_of_another_tool_gets_a_hint_at_ours(
    capsys: pytest.CaptureFixture[str], line: str, meant: str
) -> None:
    status = main.run(line.split(), {})

    last_line = capsys.readouterr().err.splitlines()[-1]
    assert (status, last_line.startswith(f"hint: did you mean `{meant}`?")) == (2, True), last_line


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("models", "`--model ID` chooses a model; `omniedit config show` shows which is set"),
        ("upload a.mp4", '`omniedit edit VIDEO "PROMPT"` uploads a local clip itself'),
        ("resume", "run the same `omniedit edit` again: it continues where it stopped"),
        ("retry t-1", "run the same `omniedit edit` again: it continues where it stopped"),
        ("edit a.mp4 x --no-wait", "`omniedit submit` sends an edit and does not wait"),
        ("edit a.mp4 x --negative-prompt y", "write negative wishes into the prompt"),
        ("batch m.csv --seed 1", "the service has no such setting"),
        ("edit a.mp4 --prompts x", 'PROMPT needs no option: `omniedit edit VIDEO "PROMPT"`'),
        ("edit --input-file a.mp4", 'VIDEO needs no option: `omniedit edit VIDEO "PROMPT"`'),
        ("edit a.mp4 x --output-dir y", "a folder ends in `/`: `-o FOLDER/`"),
    ],
)
def test_what_only_other_tools_have_gets_a_hint_at_what_replaces_it(
    capsys: pytest.CaptureFixture[str], line: str, hint: str
) -> None:
    status = main.run(line.split(), {})

    assert (status, capsys.readouterr().err.splitlines()[-1]) == (2, f"hint: {hint}")


@pytest.mark.parametrize("line", ["probe --vdeo a.mp4", "batch --source x", "submit a x --compt"])
def test_the_name_of_an_argument_is_never_suggested_as_an_option(
    capsys: pytest.CaptureFixture[str], line: str
) -> None:
    main.run(line.split(), {})

    assert "did you mean" not in capsys.readouterr().err


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
    "argv",
    [
        pytest.param(["--model", "-x y"], id="value-of-an-option"),
        pytest.param(["--", "-x y"], id="after-the-dashes"),
    ],
)
def test_only_words_in_option_position_are_taken_for_a_prompt(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, argv: list[str]
) -> None:
    main.run(["--sandbox", "edit", "no.mp4", *argv], {"OMNIEDIT_STATE_DIR": str(tmp_path)})

    assert "no such option" not in capsys.readouterr().err


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


@pytest.mark.parametrize(
    ("argv", "pasteable"),
    [
        pytest.param(
            ["edit", "my", "clip.mp4", "make it night"],
            "edit 'my clip.mp4' 'make it night'",
            id="with-a-prompt",
        ),
        pytest.param(["probe", "my", "clip.mp4"], "probe 'my clip.mp4'", id="without-a-prompt"),
        pytest.param(
            ["submit", "my", "clip.mp4", "x" * 5000],
            f"submit 'my clip.mp4' {'x' * 5000}",
            id="with-a-prompt-too-long-for-a-file-name",
        ),
        pytest.param(
            ["edit", "my", "clip.mp4", "warm", "--max-credits", "5"], None, id="with-an-option"
        ),
    ],
)
def test_a_file_name_with_spaces_gets_a_hint_to_quote_it(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    argv: list[str],
    pasteable: str | None,
) -> None:
    (tmp_path / "my clip.mp4").touch()
    monkeypatch.chdir(tmp_path)

    status = main.run(argv, {})

    last_line = capsys.readouterr().err.splitlines()[-1]
    assert status == 2
    # A hint must not spell out a command that drops the limit.
    shown = "'my clip.mp4'" if pasteable is None else f"`omniedit {pasteable}`"
    assert last_line == f"hint: put the file name in quotes: {shown}"


def test_yes_is_never_suggested_for_a_typo(capsys: pytest.CaptureFixture[str]) -> None:
    main.run(["edit", "a.mp4", "x", "--takes", "3"], {})

    assert "--yes" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "pasteable"),
    [
        pytest.param("a.mp4 b.mp4 warm", "batch a.mp4 b.mp4 --prompt warm", id="one-word-prompt"),
        pytest.param(
            "a.mp4 b.mp4 c.mp4", 'batch a.mp4 b.mp4 c.mp4 --prompt "PROMPT"', id="no-prompt"
        ),
        pytest.param("a.mp4 b.mp4 warm light", 'batch CLIP… --prompt "PROMPT"', id="several-words"),
        pytest.param(
            "--again a.mp4 b.mp4 warm --max-credits 5",
            'batch CLIP… --prompt "PROMPT"',
            id="with-options",
        ),
    ],
)
def test_several_clips_get_a_hint_to_use_batch(
    capsys: pytest.CaptureFixture[str], line: str, pasteable: str
) -> None:
    status = main.run(["edit", *line.split()], {})

    last_line = capsys.readouterr().err.splitlines()[-1]
    assert (status, last_line) == (
        2,
        f"hint: to edit several clips with the same prompt: `omniedit {pasteable}`",
    )


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
