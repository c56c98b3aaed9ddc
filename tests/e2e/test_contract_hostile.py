"""Text from outside is data: it never controls the terminal and never breaks a command."""

import json
import os
import sys
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from omniedit.sandbox.server import RunningSandbox
from tests.commandline import CommandLine, Ended
from tests.e2e.test_contract_equipment import (
    CLIP,
    NOW,
    TASK,
    Reply,
    Request,
    check_document,
    check_failure,
    refusal,
    requests,
    scripted,
    submissions,
    task,
)
from tests.policies import short_budget

pytestmark = pytest.mark.e2e

MARKUP = "[bold]x[/bold] [link=https://evil.example]y[/link] [/nonsense] :boom:"
HOSTILE = (
    "first\nerror: second\r\x1b[2J\x1b]0;title\x07\x9b31m\x08\x00\x7f\u2028\u2029"
    f"\u202egnp.exe\u2066\u200f\u061c {MARKUP} end"
)
ENCODINGS = [
    pytest.param({"PYTHONIOENCODING": "ascii"}, id="ascii"),
    pytest.param({"PYTHONIOENCODING": "cp1252"}, id="cp1252"),
    pytest.param({"LC_ALL": "C"}, id="c-locale"),
    pytest.param(
        {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}, id="utf-8-disabled"
    ),
    pytest.param({"LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}, id="posix"),
]


@pytest.fixture
def record(tmp_path: Path) -> Path:
    return tmp_path / "record.jsonl"


@pytest.fixture
def service(start_sandbox: Callable[..., RunningSandbox], record: Path) -> RunningSandbox:
    return start_sandbox(record=record)


def check_sanitized(ended: Ended, *, allows_traceback: bool = False) -> None:
    """Check that no output can control a terminal, and that only `-v` shows a traceback."""
    written = ended.stdout + ended.stderr
    unsafe = {
        character
        for character in written
        if character != "\n" and unicodedata.category(character) in {"Cc", "Cf", "Zl", "Zp", "Cs"}
    }
    assert not unsafe, (unsafe, ended)
    assert allows_traceback or "Traceback" not in written, ended


@pytest.mark.parametrize("environ", [{}, {"NO_COLOR": "1"}, {"TERM": "dumb"}], ids=str)
@pytest.mark.parametrize(
    "argv", [["submit", CLIP, "x"], ["status", TASK], ["edit", CLIP, "x", "-v"]]
)
def test_a_hostile_refusal_is_sanitized(
    omniedit: CommandLine, argv: list[str], environ: dict[str, Any]
) -> None:
    with scripted(lambda _: refusal(402, "c\x1b[31m\n", HOSTILE)) as service:
        ended = omniedit(*argv, **service.environ(), **environ)

    check_sanitized(ended, allows_traceback="-v" in argv)
    assert ended.status == 4, ended
    assert "first" in ended.stderr
    assert MARKUP in ended.stderr
    assert "end" in ended.stderr
    if "-v" not in argv:
        check_failure(ended, 4)


def test_forced_color_lets_no_foreign_sequences_through(omniedit: CommandLine) -> None:
    with scripted(lambda _: refusal(402, "c", HOSTILE)) as service:
        ended = omniedit("submit", CLIP, "x", FORCE_COLOR="1", **service.environ())

    assert "\x1b[2J" not in ended.stderr
    assert "\x1b]0;" not in ended.stderr
    assert "\u202e" not in ended.stderr
    assert len(ended.stderr.splitlines()) == 2, ended


def test_a_hostile_refusal_leaves_json_and_events_valid(omniedit: CommandLine) -> None:
    with scripted(lambda _: refusal(402, "c", HOSTILE)) as service:
        shown = omniedit("submit", CLIP, "x", "--json", **service.environ())
        events = omniedit("edit", CLIP, "x", "--events", **service.environ())

    document = check_document(shown)
    assert MARKUP in document["error"]["message"]
    assert events.stdout.isascii()
    assert events.events[-1]["event"] == "done"
    check_sanitized(shown)
    check_sanitized(events)


@pytest.mark.parametrize(
    "argv", [["wait"], ["status"], ["list"], ["download"], ["wait", "--progress", "plain"]]
)
def test_a_hostile_task_is_sanitized(omniedit: CommandLine, argv: list[str]) -> None:
    failed = task("failed", error={"code": "x\x1b[31m", "message": HOSTILE, "suggestion": HOSTILE})

    with scripted(
        lambda request: Reply(body=task() if request.method == "POST" else failed)
    ) as service:
        omniedit("submit", CLIP, f"p {HOSTILE}".replace("\x00", ""), **service.environ())
        ended = omniedit(*argv, **service.environ())

    check_sanitized(ended)
    assert ended.status in {0, 5}, ended


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(task("comp\x1b[31mleted\n"), id="status"),
        pytest.param(task(results=["https://x.example/a\x1b[31m\nb.mp4"]), id="link"),
        pytest.param(task(model="m\x1b[2J", results=["https://x.example/\u202ea.mp4"]), id="model"),
        pytest.param(task(progress="\x1b[2J"), id="progress"),
        pytest.param(task(created="\x1b[2J", task_info=7, usage=[]), id="types"),
        pytest.param(task(error="a \x1b[2J string"), id="error-is-a-string"),
        pytest.param(
            task(progress=10**400, created=10**300, results=["https://x.example"]), id="huge"
        ),
        pytest.param({"id": "../../x", "status": "processing"}, id="id"),
        pytest.param({"id": 7, "status": None}, id="types-of-id-and-status"),
        pytest.param([[[]]], id="list"),
    ],
)
@pytest.mark.parametrize(
    "argv", [["status", TASK], ["status", TASK, "--json"], ["submit", CLIP, "x"]]
)
def test_a_nonsense_reply_is_not_an_internal_error(
    omniedit: CommandLine, argv: list[str], body: object
) -> None:
    with scripted(lambda _: Reply(body=body)) as service:
        ended = replace(omniedit, policy=short_budget())(*argv, **service.environ())

    check_sanitized(ended)
    assert ended.status in {0, 2, 5, 8, 9}, ended


@pytest.mark.parametrize("prompt", ["--no text on screen", "-dark", "-- darker", "--darker=now"])
@pytest.mark.parametrize("command", ["submit", "edit"])
def test_a_prompt_that_reads_as_an_option_is_explained(
    served: CommandLine, record: Path, command: str, prompt: str
) -> None:
    ended = served(command, CLIP, prompt)

    check_failure(ended, 2, "-- ", "--prompt-file")
    assert not requests(record)


@pytest.mark.parametrize("way", ["--", "--prompt-file", "-", "--prompt-file -"])
def test_a_prompt_is_sent_literally_however_it_is_given(
    served: CommandLine, record: Path, way: str
) -> None:
    prompt = f"--no text, 把灯光调暖 @x {NOW}"
    (served.folder / "p.txt").write_text(prompt, "utf-8")
    argv = {
        "--": [CLIP, "--", prompt],
        "--prompt-file": [CLIP, "--prompt-file", "p.txt"],
        "-": [CLIP, "-"],
        "--prompt-file -": [CLIP, "--prompt-file", "-"],
    }[way]

    ended = served("submit", *argv, stdin=prompt)

    assert ended.status == 0, ended
    assert submissions(record)[0]["body"]["prompt"] == prompt


@pytest.mark.parametrize("prompt", ["p.txt", "@p.txt", "file://p.txt", "https://example.com/p"])
def test_a_prompt_argument_is_never_read_as_a_file(
    served: CommandLine, record: Path, prompt: str
) -> None:
    (served.folder / "p.txt").write_text("from the file")

    assert served("submit", CLIP, prompt).status == 0
    assert submissions(record)[0]["body"]["prompt"] == prompt


@pytest.mark.parametrize("environ", ENCODINGS)
def test_a_chinese_prompt_survives_any_encoding(
    served: CommandLine, record: Path, environ: dict[str, Any]
) -> None:
    prompt = f"把灯光调暖 — „é“ 🎬 {NOW}"

    ended = served("edit", CLIP, prompt, "-o", "片.mp4", **environ)
    listed = served("list", **environ)
    document = check_document(served("list", "--json", **environ))

    for each in (ended, listed):
        assert "Traceback" not in each.stderr, each
    if ended.status == 2:
        assert not submissions(record), "refused, then unsent"
        return
    assert (ended.status, listed.status) == (0, 0), (ended, listed)
    assert submissions(record)[0]["body"]["prompt"] == prompt
    assert document["tasks"][0]["prompt"] == prompt
    assert [path.name for path in served.folder.iterdir()] == ["片.mp4"]


@pytest.mark.skipif(sys.platform == "win32", reason="file names do not depend on the locale")
def test_a_file_has_one_name_in_every_locale(served: CommandLine, tmp_path: Path) -> None:
    environ: dict[str, Any] = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    manifest = tmp_path / "manifest.jsonl"
    manifest.write_text(json.dumps({"video": CLIP, "prompt": "day", "output": "片.mp4"}))
    saved = [served("batch", str(manifest), **environ), served("edit", CLIP, "夜", "-o", "夜.mp4")]

    again = [
        served("edit", CLIP, "day", "-o", "片.mp4"),
        served("edit", CLIP, "夜", "-o", "夜.mp4", **environ),
        served("edit", CLIP, "夜", **environ),
        served("download", "--all", "-o", "夜/", **environ),
    ]

    assert {ended.status for ended in saved + again} == {0}, (saved, again)
    assert [ended.stdout for ended in saved] == ["片.mp4\n", "夜.mp4\n"]
    assert all("already here" in ended.stderr for ended in again[:2]), again
    assert "gone" not in served("list", **environ).stdout


@pytest.mark.parametrize("environ", ENCODINGS)
@pytest.mark.parametrize(
    "argv",
    [
        ["--help"],
        ["submit", "--help"],
        ["help", "exit-codes"],
        ["help", "sandbox"],
        ["status", "é—"],
    ],
    ids=" ".join,
)
def test_help_and_errors_are_printed_in_any_encoding(
    omniedit: CommandLine, environ: dict[str, Any], argv: list[str]
) -> None:
    ended = omniedit(*argv, **environ)

    assert ended.status == (2 if "é—" in argv else 0), ended
    assert "Traceback" not in ended.stderr


def test_a_hostile_message_is_sanitized_in_ascii(omniedit: CommandLine) -> None:
    with scripted(lambda _: refusal(402, "c", f"余额不足 {HOSTILE}")) as service:
        ended = omniedit("submit", CLIP, "x", PYTHONIOENCODING="ascii", **service.environ())

    check_failure(ended, 4)
    check_sanitized(ended)


@pytest.mark.parametrize("place", ["prompt", "clip", "task", "path"])
def test_undecodable_arguments_are_not_an_internal_error(
    served: CommandLine, record: Path, place: str
) -> None:
    bad = os.fsdecode(b"a\xff\xfe.mp4")
    argv = {
        "prompt": ["submit", CLIP, bad],
        "clip": ["submit", bad, "x"],
        "task": ["status", bad],
        "path": ["edit", CLIP, f"x {NOW}", "-o", bad],
    }[place]

    ended, document = served(*argv), served(*argv, "--json")

    assert "Traceback" not in ended.stderr, ended
    assert (ended.status, document.status) == ((0, 0) if place == "path" else (2, 2)), ended
    check_document(document)
    if place == "path":
        assert ended.stdout == f"{bad}\n"
    else:
        assert not requests(record)


def test_an_oversized_reply_leaves_the_outcome_unknown(omniedit: CommandLine) -> None:
    def answer(request: Request) -> Reply:
        return Reply(body=b'{"id": "' + b"x" * 20_000_000 + b'"}')

    with scripted(answer) as service:
        ended = omniedit("submit", CLIP, "x", **service.environ())

    check_failure(ended, 9)
