"""Batches as users run them, against a served sandbox."""

import json
import os
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from tests.commandline import CommandLine
from tests.e2e.equipment import Bench
from tests.e2e.faulty import Endpoint, refusal
from tests.ledger import load
from tests.unit.media.clips import make_clip

pytestmark = pytest.mark.e2e

URL = "https://example.com/clip.mp4"
MakeBench = Callable[..., Bench]


def write_manifest(folder: Path, *rows: Mapping[str, object] | str, name: str = "m.jsonl") -> str:
    lines = (row if isinstance(row, str) else json.dumps(row) for row in rows)
    (folder / name).write_text("\n".join(lines) + "\n")
    return name


def row(prompt: str, **fields: object) -> dict[str, object]:
    return {"video": URL, "prompt": f"{prompt} [sandbox:seconds=0]"} | fields


def rows(count: int) -> list[dict[str, object]]:
    return [row(str(number), output=f"{number}.mp4") for number in range(1, count + 1)]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_text_output_is_the_saved_paths_and_a_summary(bench: Bench, folder: Path) -> None:
    manifest = write_manifest(folder, *rows(3))

    first = bench.run("batch", manifest, "--dir", "out")
    again = bench.run("batch", manifest, "--dir", "out")

    assert first.status == again.status == 0, (first, again)
    assert sorted(first.stdout.split()) == ["out/1.mp4", "out/2.mp4", "out/3.mp4"]
    assert sorted(again.stdout.split()) == sorted(first.stdout.split())
    summary, is_sandbox = first.stderr.splitlines()[-2:]
    assert summary.startswith("note: 3 done; 93.")
    assert is_sandbox.startswith("note: sandbox: no edit was made")
    assert again.stderr.splitlines()[-1] == "note: 3 already here"
    assert names(folder / "out") == ["1.mp4", "2.mp4", "3.mp4"]
    assert len(bench.task_ids) == 3


@pytest.mark.parametrize("output", ["./x.mp4", ".//./x.mp4", "x.mp4"])
@pytest.mark.parametrize(
    ("folder_options", "saved"), [(["--dir", "out/"], "out/x.mp4"), ([], "x.mp4")]
)
def test_an_output_is_shown_without_dot_and_double_slash(
    bench: Bench, folder: Path, output: str, folder_options: list[str], saved: str
) -> None:
    manifest = write_manifest(folder, row("1", output=output))

    ended = bench.run("batch", manifest, *folder_options, "--events")

    assert ended.status == 0, ended
    assert ended.events[-1]["tasks"][0]["output"] == saved
    assert ended.stderr.count("./") == 0


@pytest.mark.parametrize("name", ["clip.mp4", "missing clip.mp4", "clip.webm"])
def test_a_clip_without_a_prompt_is_called_a_clip(bench: Bench, folder: Path, name: str) -> None:
    if not name.startswith("missing"):
        (folder / name).write_bytes(b"\0\0\0\x18ftypisom\xff")

    ended = bench.run("batch", name)

    assert ended.status == 2, ended
    assert ended.stderr == (
        f"error: {name} is a clip, and without --prompt SOURCE is one manifest\n"
        f'hint: `omniedit batch {shlex.quote(name)} --prompt "PROMPT"` edits clips and folders\n'
    )


def test_an_invalid_mark_in_a_manifest_is_not_called_an_option(bench: Bench, folder: Path) -> None:
    manifest = write_manifest(folder, "video,prompt,start", f"{URL},p,soon", name="m.csv")

    ended = bench.run("batch", manifest)

    assert ended.status == 2, ended
    assert ended.stderr.startswith("error: m.csv:2: invalid start 'soon'\n")


def test_json_output_is_one_document_in_manifest_order(bench: Bench, folder: Path) -> None:
    manifest = write_manifest(folder, *rows(4), "", row("last"))

    document = bench.run("batch", manifest, "--json", "--concurrency", "3").document

    assert document["ok"] is True
    assert [task["line"] for task in document["tasks"]] == [1, 2, 3, 4, 6]
    assert [task["output"] for task in document["tasks"]][:2] == ["1.mp4", "2.mp4"]
    for task in document["tasks"]:
        [saved] = task["saved"]
        assert Path(saved["path"]) == folder / task["output"]
        assert task["status"] == "completed"


def test_a_refused_line_reports_its_request_id_and_time(bench: Bench, folder: Path) -> None:
    bench.faulty.always(Endpoint.SUBMIT, refusal(402, "insufficient_quota"))

    (reported,) = bench.run("batch", write_manifest(folder, row("warmer")), "--json").document[
        "tasks"
    ]

    (known,) = bench.run("list", "--json").document["tasks"]
    assert (reported["request_id"], reported["created_at"]) == (
        known["request_id"],
        known["created_at"],
    )
    assert reported["error"]["hint"]


def test_events_cover_every_edit_and_end_with_done(bench: Bench, folder: Path) -> None:
    manifest = write_manifest(
        folder, *rows(2), row("no", output="no.mp4", take=1) | {"prompt": "x [sandbox:http=400]"}
    )

    ended = bench.run("batch", manifest, "--events")

    events = ended.events
    kinds = [event["event"] for event in events]
    assert (kinds.count("submitted"), kinds.count("saved"), kinds.count("done")) == (2, 2, 1)
    done = events[-1]
    assert (done["event"], done["ok"], done["exit_status"], ended.status) == ("done", False, 2, 2)
    assert [task["status"] for task in done["tasks"]] == ["completed", "completed", "refused"]
    assert done["tasks"][2]["error"]["message"] == "Invalid request parameters"


def test_quiet_output_is_paths_and_errors(bench: Bench, folder: Path) -> None:
    manifest = write_manifest(
        folder, row("a", output="a.mp4"), row("b") | {"prompt": "b [sandbox:http=400]"}
    )

    ended = bench.run("batch", manifest, "-q")

    assert ended.stdout == "a.mp4\n"
    assert ended.stderr == "error: m.jsonl:2: Invalid request parameters\n"


def test_a_manifest_can_be_read_from_stdin(bench: Bench) -> None:
    ended = bench.installed(
        "batch", "-", stdin=f"\ufeffvideo,prompt,output\r\n{URL},p [sandbox:seconds=0],o.mp4\r\n"
    )

    assert (ended.status, ended.stdout) == (0, "o.mp4\n"), ended


def test_lines_can_be_added_moved_and_renamed(bench: Bench, folder: Path) -> None:
    bench.run("batch", write_manifest(folder, *rows(3)))
    first, second, third = rows(3)

    grown = write_manifest(
        folder, row("new", output="new.mp4"), third, second | {"output": "moved.mp4"}, first
    )
    ended = bench.run("batch", grown)

    assert ended.status == 0, ended
    assert len(bench.task_ids) == 4
    assert (folder / "moved.mp4").read_bytes() == (folder / "2.mp4").read_bytes()


def test_without_credits_paid_results_are_saved_and_the_rest_counted(
    bench: Bench, folder: Path
) -> None:
    bench.run("batch", write_manifest(folder, *rows(2)))
    (folder / "2.mp4").unlink()
    empty = [{"video": URL, "prompt": f"{number} [sandbox:http=402]"} for number in range(5)]

    ended = bench.run("batch", write_manifest(folder, *empty, *rows(9)), "--concurrency", "1")

    assert ended.status == 4, ended
    assert sorted(ended.stdout.split()) == ["1.mp4", "2.mp4"]
    assert "error: m.jsonl:1: Insufficient quota" in ended.stderr
    assert "1 done, 1 already here, 5 failed, 7 not started" in ended.stderr
    assert len(bench.task_ids) == 2


def test_a_rerun_with_credits_makes_the_rest(bench: Bench, folder: Path) -> None:
    lines = rows(8)
    empty = row("", output="5.mp4") | {"prompt": "5 [sandbox:http=402]"}

    first = bench.run(
        "batch", write_manifest(folder, *lines[:4], empty, *lines[5:]), "--concurrency", "2"
    )
    second = bench.run("batch", write_manifest(folder, *lines), "--concurrency", "2")

    assert (first.status, second.status) == (4, 0), (first, second)
    assert len(bench.task_ids) == 8
    assert len(names(folder)) == 9


def test_one_rate_limit_pauses_all_workers(
    make_bench: MakeBench, folder: Path, tmp_path: Path
) -> None:
    record = tmp_path / "record"
    bench = make_bench(record=record)
    lines = rows(12)
    lines[0] |= {"prompt": "1 [sandbox:seconds=0] [sandbox:http=429*1]"}

    ended = bench.run("batch", write_manifest(folder, *lines), "--concurrency", "8")

    assert ended.status == 0, ended
    assert len(names(folder)) == 13
    submissions = [
        request["status"] for request in requests_in(record) if request["method"] == "POST"
    ]
    assert submissions.count(429) == 1


def requests_in(record: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in record.read_text().splitlines()] if record.exists() else []


FAULTS = [
    pytest.param(b"", (), "m:1: the manifest is empty", id="empty"),
    pytest.param(b"hello\n", (), "m:1: the header has no column", id="no-header"),
    pytest.param(b'{"video": 1, "prompt": "p"}', (), "m:1: `video` is not text", id="wrong-type"),
    pytest.param(b'{"prompt": "p"}', (), "m:1: `video` is missing", id="no-video"),
    pytest.param(
        b'{"video": "no.mp4", "prompt": "p"}', (), "m:1: no such file: no.mp4", id="no-clip"
    ),
    pytest.param(
        b'{"video": "URL", "prompt": "p"}\n' * 2,
        (),
        "m:2: is the same edit as line 1",
        id="duplicate",
    ),
    pytest.param(
        b'{"video": "URL", "prompt": "p", "output": "../o"}',
        (),
        "leaves the folder",
        id="output-outside-folder",
    ),
    pytest.param(
        b'{"video": "URL", "prompt": "p"}\n{"video": "URL", "prompt": "q", "strat": 3}',
        (),
        "m:2: `strat` is not a manifest field; did you mean `start`?",
        id="misspelt-key",
    ),
    pytest.param(
        b'{"video": "URL", "Prompt": "p"}',
        (),
        "m:1: `Prompt` is not a manifest field; did you mean `prompt`?",
        id="key-in-another-case",
    ),
    pytest.param(
        b"video,prompt,strat\nURL,p,\n",
        (),
        "m:1: `strat` is not a manifest field; did you mean `start`?",
        id="misspelt-column",
    ),
    pytest.param(
        b'{"video": "URL", "prompt": "p", "take": %s}' % (b"9" * 5000),
        (),
        "m:1:",
        id="take-with-5000-digits",
    ),
    pytest.param(
        b'{"video": "URL", "prompt": "p", "output": "a\\ud800"}', (), "Unicode", id="lone-surrogate"
    ),
    pytest.param(
        b'{"video": "URL", "prompt": "p", "output": "a\\u0000"}', (), "control", id="null-byte"
    ),
    pytest.param(b'\xff{"video": "URL"}', (), "m:1: is not valid UTF-8", id="not-utf-8"),
    pytest.param(b"x", ("--shard", "0/2"), "invalid shard '0/2'", id="shard-0"),
    pytest.param(b"x", ("--shard", "3/2"), "invalid shard '3/2'", id="shard-3-of-2"),
    pytest.param(b"x", ("--concurrency", "0"), "0 is less than 1", id="concurrency-0"),
    pytest.param(b"x", ("--timeout", "soon"), "invalid duration", id="invalid-timeout"),
    pytest.param(None, (), "cannot read the manifest from m: No such file", id="missing-manifest"),
]


@pytest.mark.parametrize(("content", "options", "message"), FAULTS)
def test_bad_input_is_one_error_line_and_sends_nothing(
    make_bench: MakeBench,
    tmp_path: Path,
    content: bytes | None,
    options: Sequence[str],
    message: str,
) -> None:
    record = tmp_path / "record"
    bench = make_bench(record=record)
    if content is not None:
        (bench.folder / "m").write_bytes(content.replace(b"URL", URL.encode()))

    ended = bench.run("batch", "m", *options)

    errors = [line for line in ended.stderr.splitlines() if line.startswith("error: ")]
    assert (ended.status, ended.stdout) == (2, ""), ended
    [error] = errors
    assert message in error
    assert requests_in(record) == []


def test_a_clip_that_is_too_long_gets_a_hint_at_each_way_out(bench: Bench, folder: Path) -> None:
    (folder / "clips").mkdir()
    for name, seconds in (("a.mp4", 1), ("b.mp4", 11)):
        make_clip(folder / "clips" / name, seconds=seconds)

    ended = bench.run("batch", "clips", "--prompt", "make it night")

    command = "omniedit edit clips/b.mp4 'make it night' --split"
    assert ended.status == 2, ended
    assert ended.stderr == (
        "error: b.mp4: clips/b.mp4 does not fit:"
        " it is 11.00 s long, and the model takes 10 s at most\n"
        "hint: leave such a clip out, cut it with `start` and `end` in a manifest, or edit it"
        f" alone: `{command}`; nothing was sent\n"
    )


def test_other_faults_keep_their_hint_beside_a_clip_that_is_too_long(
    bench: Bench, folder: Path
) -> None:
    make_clip(folder / "long.mp4", seconds=11)
    manifest = write_manifest(folder, {"video": "long.mp4", "prompt": "p"}, "{")

    ended = bench.run("batch", manifest)

    too_long, invalid = [line for line in ended.stderr.splitlines() if line.startswith("hint: ")]
    assert "--split`" in too_long
    assert invalid == "hint: correct this and run the same command again; nothing was sent"


def test_json_reports_every_faulty_line(bench: Bench, folder: Path) -> None:
    manifest = write_manifest(folder, row("a"), row("a"), "{", row("b", output="/b.mp4"))

    ended = bench.run("batch", manifest, "--json")

    reported = [(task["line"], task["error"]["message"]) for task in ended.document["tasks"]]
    assert ended.status == 2
    assert [line for line, _ in reported] == [2, 3, 4]
    assert reported[2][1] == "`output` leaves the folder: /b.mp4"


UNKNOWN = (
    "warning: m.jsonl:1: `status` is not a manifest field; known: video, prompt, output,"
    " callback_url, start, end, take, model\n"
)


def test_an_unknown_field_is_a_warning(bench: Bench, folder: Path) -> None:
    lines = [row("a", status=1, output="a.mp4"), row("b", status=2, output="b.mp4")]

    ended = bench.run("batch", write_manifest(folder, *lines), "-q")

    assert (ended.status, sorted(ended.stdout.split())) == (0, ["a.mp4", "b.mp4"])
    assert ended.stderr == UNKNOWN


def test_an_unknown_field_is_shown_even_on_a_faulty_line(bench: Bench, folder: Path) -> None:
    ended = bench.run("batch", write_manifest(folder, row("a", video=None, status=1)), "-q")

    assert ended.status == 2
    assert ended.stderr.startswith(f"{UNKNOWN}error: m.jsonl:1: `video` is missing\n")


def test_shards_on_separate_machines_complete_the_batch(
    bench: Bench, folder: Path, tmp_path: Path
) -> None:
    manifest = write_manifest(folder, *rows(12))

    ended = [
        bench.run(
            "batch",
            manifest,
            "--dir",
            "out",
            "--shard",
            f"{index}/3",
            OMNIEDIT_STATE_DIR=str(tmp_path / f"{index}"),
        )
        for index in (1, 2, 3)
    ]

    assert [each.status for each in ended] == [0, 0, 0], ended
    assert len(names(folder / "out")) == len(bench.task_ids) == 12


def test_an_empty_shard_says_so(bench: Bench, folder: Path) -> None:
    manifest = write_manifest(folder, row("a"))

    ended = [bench.run("batch", manifest, "--shard", f"{index}/2") for index in (1, 2)]

    assert [each.status for each in ended] == [0, 0]
    assert any("this shard has no edits" in each.stderr for each in ended)


def test_wait_without_a_task_is_refused_after_a_batch(bench: Bench, folder: Path) -> None:
    bench.run("batch", write_manifest(folder, row("a")))

    ended = bench.run("wait")

    assert ended.status == 2
    assert "the newest command made several tasks" in ended.stderr
    assert "`omniedit download --all -o saved/` saves what is finished" in ended.stderr


def test_the_same_command_picks_up_tasks_after_a_timeout(bench: Bench, folder: Path) -> None:
    slow = {"video": URL, "prompt": "a [sandbox:seconds=60]", "output": "a.mp4"}
    manifest = write_manifest(folder, slow)

    first = bench.run("batch", manifest, "--timeout", "0")
    second = bench.run("batch", manifest)

    assert (first.status, second.status) == (6, 0), (first, second)
    assert "1 still running" in first.stderr
    assert (
        f"hint: `omniedit batch {manifest} --timeout 0` picks up 1 already submitted"
        in first.stderr
    )
    assert len(bench.task_ids) == 1


def test_a_revoked_key_ends_the_batch_and_lists_running_tasks(bench: Bench, folder: Path) -> None:
    slow = [row(str(number)) | {"prompt": f"{number} [sandbox:seconds=20]"} for number in range(3)]
    for endpoint in (Endpoint.BATCH, Endpoint.POLL):
        bench.faulty.always(endpoint, refusal(401, "unauthorized"))

    ended = bench.run("batch", write_manifest(folder, *slow), "--events")

    assert (ended.status, ended.events[-1]["event"]) == (3, "done"), ended
    assert ended.events[-1]["error"]["code"] == "unauthorized"
    assert ": said the gateway" in ended.stderr
    assert "still running" in ended.stderr
    assert len(ended.events[-1]["tasks"]) == 3


def test_a_file_as_output_folder_is_refused_before_submitting(bench: Bench, folder: Path) -> None:
    ended = bench.run("batch", write_manifest(folder, *rows(3)), "--dir", "m.jsonl")

    assert ended.status == 10
    assert ended.stderr.startswith("error: m.jsonl is not a folder\n")
    assert len(bench.task_ids) == 0


@pytest.mark.parametrize("concurrency", ["1", "32"])
def test_every_edit_is_made_at_any_concurrency(
    bench: Bench, folder: Path, concurrency: str
) -> None:
    ended = bench.run(
        "batch", write_manifest(folder, *rows(40)), "--concurrency", concurrency, "--json"
    )

    assert (ended.status, len(ended.document["tasks"])) == (0, 40)
    assert len(bench.task_ids) == len(names(folder)) - 1 == 40


def test_a_batch_over_max_credits_sends_nothing(served: CommandLine) -> None:
    pytest.importorskip("av")
    clip = resources.files("omniedit.sandbox").joinpath("sandbox.mp4").read_bytes()
    (served.folder / "clip.mp4").write_bytes(clip)
    lines = [{"video": "clip.mp4", "prompt": f"{n} [sandbox:seconds=0]"} for n in range(3)]
    text = "".join(f"{json.dumps(line)}\n" for line in lines)
    (served.folder / "edits.jsonl").write_text(text)

    refused = served("batch", "edits.jsonl", "--max-credits", "70")
    accepted = served("batch", "edits.jsonl", "--max-credits", "80")

    assert (refused.status, refused.stdout) == (12, ""), refused
    assert "76.3 credits" in refused.stderr
    assert (accepted.status, len(accepted.stdout.split())) == (0, 3), accepted


def test_concurrency_limits_the_edits_in_progress(make_bench: MakeBench, folder: Path) -> None:
    bench = make_bench(edit_seconds=20.0)  # 1 s
    lines = [{"video": URL, "prompt": str(number)} for number in range(10)]

    ended = bench.run("batch", write_manifest(folder, *lines), "--dir", "out", "--concurrency", "3")

    assert ended.status == 0, ended
    assert load(bench.service.store, time.time()).peak == 3
    assert len(bench.task_ids) == len(names(folder / "out")) == 10


def write_clips(folder: Path, *names: str) -> None:
    sample = resources.files("omniedit.sandbox").joinpath("sandbox.mp4").read_bytes()
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        # A box that players skip makes the content of each clip different.
        path.write_bytes(sample + b"\0\0\0\x0cfree" + number.to_bytes(4))


def test_every_clip_prompt_and_take_makes_one_edit(bench: Bench, folder: Path) -> None:
    write_clips(
        folder, "clips/clip10.mp4", "clips/Clip2.mp4", "clips/.hidden.mp4", "clips/below/x.mp4"
    )
    (folder / "clips" / "notes.txt").write_text("no clip")
    prompts = ["--prompt", "night [sandbox:seconds=0]", "--prompt", "day [sandbox:seconds=0]"]

    ended = bench.run("batch", "clips", URL, *prompts, "--takes", "2", "--dir", "out", "--json")

    tasks = ended.document["tasks"]
    assert ended.status == 0, ended
    assert [task["video"] for task in tasks[::4]] == ["clips/Clip2.mp4", "clips/clip10.mp4", URL]
    assert [task["prompt"].split()[0] for task in tasks[:4]] == ["night", "night", "day", "day"]
    assert len(names(folder / "out")) == len(bench.task_ids) == 12


def test_the_first_take_is_the_same_edit_as_without_takes(bench: Bench, folder: Path) -> None:
    prompt = "night [sandbox:seconds=0]"
    bench.run("edit", URL, prompt)

    ended = bench.run("batch", URL, "--prompt", prompt, "--takes", "2", "-q")

    assert ended.status == 0, ended
    assert len(bench.task_ids) == 2


def test_results_in_a_source_folder_are_left_out(bench: Bench, folder: Path) -> None:
    write_clips(folder, "a.mp4", "b.mp4")
    line = ["batch", ".", "--prompt", "night [sandbox:seconds=0]"]
    bench.run(*line)

    again = bench.run(*line)

    assert again.status == 0, again
    assert "skipped in .: 2 results of earlier edits" in again.stderr
    assert len(bench.task_ids) == 2


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        pytest.param(["clips"], 'omniedit batch clips --prompt "PROMPT"', id="folder-alone"),
        pytest.param(["a.mp4", "b.mp4"], "`omniedit batch SOURCE…", id="clips-alone"),
        pytest.param(["m.csv", "--prompt", "x"], "leave `--prompt` out", id="manifest-and-prompt"),
        pytest.param(["m.csv", "--takes", "2"], "a field `take`", id="manifest-and-takes"),
        pytest.param(["empty", "--prompt", "x"], "empty holds no videos", id="empty-folder"),
        pytest.param(["a.mp4", "--prompt", "x"], "error: no such file: a.mp4", id="missing-clip"),
        pytest.param(
            ["clips", "none/", "--prompt", "x"],
            "error: no such file: none/",
            id="missing-folder",
        ),
        pytest.param(
            ["clips", "clips/a.mp4", "--prompt", "x"],
            "a.mp4: is the same edit as a.mp4",
            id="clip-named-twice",
        ),
        pytest.param(
            [URL, "--prompt", "x", "--rate", "0/m"], "invalid rate '0/m'", id="invalid-rate"
        ),
    ],
)
def test_invalid_sources_and_options_are_refused(
    bench: Bench, folder: Path, argv: Sequence[str], words: str
) -> None:
    write_clips(folder, "clips/a.mp4")
    (folder / "empty").mkdir()
    write_manifest(folder, "video,prompt", f"{URL},x", name="m.csv")

    ended = bench.run("batch", *argv)

    assert ended.status == 2, ended
    assert words in ended.stderr
    assert bench.posts == 0


def test_edit_with_several_clips_suggests_batch(bench: Bench) -> None:
    ended = bench.run("edit", "a.mp4", "my b.mp4", "make it night")

    assert ended.status == 2
    line = "omniedit batch a.mp4 'my b.mp4' --prompt 'make it night'"
    assert line in ended.stderr


def test_known_edits_do_not_count_against_max_credits(bench: Bench, folder: Path) -> None:
    write_clips(folder, "a.mp4", "b.mp4")
    line = ["batch", "a.mp4", "b.mp4", "--prompt", "night [sandbox:seconds=0]"]
    price = bench.run("probe", "a.mp4", "--json").document["estimated_credits"]
    bench.run("edit", "a.mp4", "night [sandbox:seconds=0]")

    refused = bench.run(*line, "--max-credits", str(0.9 * price))
    accepted = bench.run(*line, "--max-credits", str(1.1 * price))

    assert (refused.status, accepted.status) == (12, 0), (refused, accepted)
    assert len(bench.task_ids) == 2


def test_the_summary_includes_unsent_lines(bench: Bench, folder: Path) -> None:
    empty = [{"video": URL, "prompt": f"{number} [sandbox:http=402]"} for number in range(5)]
    manifest = write_manifest(folder, row("1"), *empty, row("3"))

    ended = bench.run("batch", manifest, "--concurrency", "1", "--summary", "summary.md")

    lines = (folder / "summary.md").read_text().strip().splitlines()
    assert ended.status == 4, ended
    assert [line.split(" | ")[2].partition(" ")[0] for line in lines[2:]] == [
        "completed",
        *["refused"] * 5,
        "unsent",
    ]


def test_a_faulty_line_is_reported_with_its_clip_and_prompt(bench: Bench, folder: Path) -> None:
    manifest = write_manifest(folder, row("1"), {"video": "gone.mp4", "prompt": "make it night"})

    ended = bench.run("batch", manifest, "--json")

    [task] = ended.document["tasks"]
    assert (ended.status, task["line"]) == (2, 2), ended
    assert (task["video"], task["prompt"]) == ("gone.mp4", "make it night")


def test_a_summary_is_never_appended_to_a_binary_file(bench: Bench, folder: Path) -> None:
    before = b"\0\0\0\x18ftypmp42" + bytes(100)
    (folder / "clip.mp4").write_bytes(before)

    ended = bench.run("edit", "clip.mp4", "x [sandbox:seconds=0]", "--summary", "clip.mp4")

    assert ended.status == 10, ended
    assert "hint: name a file such as summary.md" in ended.stderr
    assert (folder / "clip.mp4").read_bytes() == before
    assert bench.posts == 0


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")
def test_a_summary_to_a_pipe_without_a_reader_does_not_block(bench: Bench, folder: Path) -> None:
    os.mkfifo(folder / "pipe")

    ended = bench.run("edit", URL, "x [sandbox:seconds=0]", "--summary", "pipe")

    assert ended.status == 0, ended


def test_an_unwritable_summary_is_refused_before_submitting(bench: Bench) -> None:
    ended = bench.run("edit", URL, "x [sandbox:seconds=0]", "--summary", "missing/summary.md")

    assert ended.status == 10, ended
    assert bench.posts == 0
