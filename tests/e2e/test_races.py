"""Concurrent processes that share a journal, an edit or a file."""

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from subprocess import TimeoutExpired
from typing import TYPE_CHECKING, Final

import pytest

from omniedit.sandbox.clips import BUNDLED_CLIP
from tests.commandline import Ended
from tests.e2e.equipment import CLIP_URL, PROMPT, Bench
from tests.e2e.faulty import Endpoint, held, reset_after

if TYPE_CHECKING:
    from subprocess import Popen

pytestmark = pytest.mark.e2e

RESULT_BYTES: Final = BUNDLED_CLIP.read_bytes()


def test_sixteen_concurrent_submissions_make_sixteen_tasks_and_rows(bench: Bench) -> None:
    ended = bench.run_at_once(*(["submit", CLIP_URL, f"{PROMPT} {n}"] for n in range(16)))

    assert [each.status for each in ended] == [0] * 16, ended
    task_ids = [each.stdout.strip() for each in ended]
    assert sorted(bench.task_ids) == sorted(task_ids)
    listed = bench.journal()
    assert sorted(task["task_id"] for task in listed) == sorted(task_ids)
    assert {task["prompt"] for task in listed} == {f"{PROMPT} {n}" for n in range(16)}
    assert bench.posts == 16


@pytest.mark.parametrize("video", ["url", "file"])
def test_eight_concurrent_runs_of_one_edit_pay_once(bench: Bench, video: str) -> None:
    clip = bench.folder.parent / "clip.mp4"
    clip.write_bytes(RESULT_BYTES)
    argv = ["edit", CLIP_URL if video == "url" else str(clip), PROMPT, "-o", "out.mp4"]

    ended = bench.run_at_once(*[argv] * 8)

    assert [(each.status, each.stdout) for each in ended] == [(0, "out.mp4\n")] * 8, ended
    assert (len(bench.task_ids), bench.posts) == (1, 1)
    assert bench.faulty.count(Endpoint.UPLOAD) == (video == "file")
    _check_one_file(bench)


def test_eight_concurrent_runs_share_a_submission_with_a_lost_reply(bench: Bench) -> None:
    bench.faulty.script(Endpoint.SUBMIT, reset_after, reset_after)
    argv = ["edit", CLIP_URL, PROMPT, "-o", "out.mp4"]

    ended = bench.run_at_once(*[argv] * 8)

    # The process that lost both replies reports it; the next one settles the attempt for the rest.
    assert sorted(each.status for each in ended) == [0] * 7 + [9], ended
    assert len(bench.task_ids) == 1
    assert len({request.key for request in bench.faulty.requests_to(Endpoint.SUBMIT)}) == 1
    _check_one_file(bench)


def test_eight_concurrent_edits_with_different_outputs_pay_once(bench: Bench) -> None:
    names = [f"out-{n}.mp4" for n in range(8)]

    ended = bench.run_at_once(*(["edit", CLIP_URL, PROMPT, "-o", name] for name in names))

    assert [(each.status, each.stdout) for each in ended] == [(0, f"{n}\n") for n in names], ended
    assert len(bench.task_ids) == 1
    assert bench.files() == dict.fromkeys(names, RESULT_BYTES)
    (listed,) = bench.journal()
    assert {Path(file["path"]).name for file in listed["saved"]} == set(names)
    assert _leftovers(bench) == []


@pytest.mark.parametrize("flags", [[], ["--force"]], ids=["plain", "force"])
@pytest.mark.parametrize("command", ["download", "wait"])
def test_eight_concurrent_saves_to_one_target_make_one_file(
    bench: Bench, command: str, flags: Sequence[str]
) -> None:
    task_id = bench.run("submit", CLIP_URL, PROMPT).stdout.strip()
    option = "-o" if command == "download" else "-d"

    ended = bench.run_at_once(*[[command, task_id, option, "out.mp4", *flags]] * 8)

    assert [(each.status, each.stdout) for each in ended] == [(0, "out.mp4\n")] * 8, ended
    _check_one_file(bench)


def test_concurrent_saves_of_different_tasks_keep_exactly_one(
    make_bench: Callable[..., Bench],
) -> None:
    bench = make_bench()
    clips = []
    for n in range(4):
        clips.append(bench.folder.parent / f"clip-{n}.mp4")
        clips[-1].write_bytes(RESULT_BYTES + b"\0\0\0\x09free" + bytes([n]))
    task_ids = [bench.run("submit", str(clip), PROMPT).stdout.strip() for clip in clips]

    ended = bench.run_at_once(*(["download", t, "-o", "out.mp4"] for t in task_ids))

    statuses = Counter(each.status for each in ended)
    assert statuses == {0: 1, 10: 3}, ended
    winner = [each.status for each in ended].index(0)
    assert bench.files() == {"out.mp4": clips[winner].read_bytes()}
    assert _leftovers(bench) == []


def test_a_request_id_submitted_concurrently_pays_once(bench: Bench) -> None:
    argv = ["submit", CLIP_URL, PROMPT, "--request-id", "ci-run-4711-clip-7"]

    ended = bench.run_at_once(*[argv] * 8)

    assert [each.status for each in ended] == [0] * 8, ended
    assert len(bench.task_ids) == 1
    assert [task["task_id"] for task in bench.journal()] == bench.task_ids


def test_a_request_id_submitted_during_its_clips_upload_pays_once(bench: Bench) -> None:
    clip = bench.folder.parent / "clip.mp4"
    clip.write_bytes(RESULT_BYTES)
    argv = ["submit", str(clip), PROMPT, "--request-id", "ci-run-4711-clip-7"]

    ended = _second_during_the_upload_of_the_first(bench, argv, argv)

    assert [each.status for each in ended] == [0, 0], ended
    assert len(bench.task_ids) == 1
    assert [task["task_id"] for task in bench.journal()] == bench.task_ids


def test_two_edits_competing_for_a_request_id_pay_only_one(bench: Bench) -> None:
    clip = bench.folder.parent / "clip.mp4"
    clip.write_bytes(RESULT_BYTES)
    request_id = ["--request-id", "ci-run-4711-clip-7"]

    ended = _second_during_the_upload_of_the_first(
        bench,
        ["submit", str(clip), PROMPT, *request_id],
        ["submit", CLIP_URL, PROMPT, *request_id],
    )
    posts = bench.posts
    accepted = str(clip) if ended[0].status == 0 else CLIP_URL
    edited = bench.run("edit", accepted, PROMPT, "-o", "out.mp4")

    assert edited.status == 0, edited
    assert len(bench.task_ids) == 1, "the edit is known by its content, and not paid again"
    assert sorted(each.status for each in ended) == [0, 2], ended
    assert posts == 1, "the second edit is refused unsent"


def test_an_edit_waits_for_a_pending_submission_of_the_same_edit(bench: Bench) -> None:
    bench.faulty.script(Endpoint.SUBMIT, held)
    submitting = bench.start("submit", CLIP_URL, PROMPT)
    _wait_for_request(bench, Endpoint.SUBMIT)
    editing = bench.start("edit", CLIP_URL, PROMPT, "-o", "out.mp4")

    bench.faulty.released.set()
    ended = _wait_for_end(submitting), _wait_for_end(editing)

    assert [each.status for each in ended] == [0, 0], ended
    assert len(bench.task_ids) == 1
    _check_one_file(bench)


def test_a_pending_submission_is_listed_as_sending(bench: Bench) -> None:
    bench.faulty.script(Endpoint.SUBMIT, held)
    process = bench.start("submit", CLIP_URL, PROMPT)
    _wait_for_request(bench, Endpoint.SUBMIT)

    (listed,) = bench.journal()
    last = bench.run("wait", "-d", "out.mp4")
    bench.faulty.released.set()
    ended = _wait_for_end(process)

    assert (listed["status"], listed["task_id"]) == ("sending", None)
    assert last.status == 6, last
    assert ended.status == 0, ended
    assert [task["task_id"] for task in bench.journal()] == bench.task_ids


def _second_during_the_upload_of_the_first(
    bench: Bench, first: Sequence[str], second: Sequence[str]
) -> tuple[Ended, Ended]:
    """Start the second command during the first one's upload; hold that until it ends or waits."""
    bench.faulty.script(Endpoint.UPLOAD, held)
    uploading = bench.start(*first)
    _wait_for_request(bench, Endpoint.UPLOAD)
    other = bench.start(*second)
    with suppress(TimeoutExpired):
        other.wait(timeout=2)
    bench.faulty.released.set()
    return _wait_for_end(uploading), _wait_for_end(other)


def _wait_for_end(process: "Popen[bytes]") -> Ended:
    stdout, stderr = process.communicate(timeout=60)
    return Ended(process.returncode, stdout.decode(), stderr.decode())


def _check_one_file(bench: Bench) -> None:
    assert bench.files() == {"out.mp4": RESULT_BYTES}
    assert _leftovers(bench) == []
    (listed,) = bench.journal()
    assert [file["path"] for file in listed["saved"]] == [str(bench.folder / "out.mp4")]


def _leftovers(bench: Bench) -> list[str]:
    return [path.name for path in bench.folder.iterdir() if path.name.startswith(".")]


def _wait_for_request(bench: Bench, endpoint: Endpoint) -> None:
    seen = threading.Event()
    while not bench.faulty.count(endpoint):
        seen.wait(0.01)
