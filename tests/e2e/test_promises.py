"""Guarantees that keep money and files safe when a command stops between two steps."""

import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import pytest

from omniedit.policy import DEFAULT
from omniedit.sandbox.clips import BUNDLED_CLIP
from tests.commandline import CommandLine, Ended
from tests.e2e.effects import recorded
from tests.e2e.equipment import CLIP_URL, PROMPT, Bench
from tests.e2e.faulty import Endpoint, Exchange, answered, held, pass_through, reset_after
from tests.e2e.test_contract_equipment import Reply, check_refusal, scripted, task

pytestmark = pytest.mark.e2e

RESULT_BYTES: Final = BUNDLED_CLIP.read_bytes()
HTML: Final = answered(200, b"<!doctype html><html></html>", headers={"Content-Type": "text/html"})
A_MOMENT_S: Final = 0.4
"""Long enough for a command that wrongly does not wait."""


def test_a_task_is_in_the_journal_before_it_is_announced(bench: Bench) -> None:
    known: list[list[str]] = []

    def on_stderr(text: str) -> None:
        if "submitted" in text:
            listed = bench.installed("list", "--json").document["tasks"]
            known.append([task["task_id"] for task in listed])

    ended = bench.run("submit", CLIP_URL, PROMPT, on_stderr=on_stderr)

    assert ended.status == 0, ended
    assert known == [bench.task_ids]


def test_an_edit_waits_for_a_pending_submission_of_the_same_edit(bench: Bench) -> None:
    bench.faulty.script(Endpoint.SUBMIT, held)
    bench.begin("submit", CLIP_URL, PROMPT)
    wait_until(lambda: bench.posts)

    # By then, a command that does not wait has sent the same edit again.
    threading.Timer(A_MOMENT_S, bench.faulty.released.set).start()
    edited = bench.run("edit", CLIP_URL, PROMPT, "-o", "out.mp4")
    submitted = bench.end()

    assert (submitted.status, edited.status) == (0, 0), (submitted, edited)
    assert submitted.stdout.split() == bench.task_ids
    assert bench.posts == 1, "the waiting command reuses the recorded reply"


def test_an_attempt_past_the_replay_window_is_replayed_only_with_yes(
    bench: Bench,
) -> None:
    request_id = make_unknown_attempt(bench)
    later = bench.with_policy(bench.policy._replace(replay_window_s=0.0))

    refused = later.run("submit", "--resume", request_id)
    posts = bench.posts
    agreed = later.run("submit", "--resume", request_id, "--yes")

    assert refused.status == 9, refused
    assert f"`omniedit submit --resume {request_id} --yes`" in refused.stderr
    assert f"the account lists {bench.task_ids[0]}" in refused.stderr
    assert posts == 2
    assert (agreed.status, agreed.stdout.split()) == (0, bench.task_ids), agreed


def test_the_replay_window_is_one_hour() -> None:
    assert DEFAULT.replay_window_s == 3600


def test_an_attempt_is_replayed_only_at_its_own_service(omniedit: CommandLine) -> None:
    with (
        scripted(lambda _: Reply(is_lost=True)) as here,
        scripted(lambda _: Reply(body=task("processing"))) as elsewhere,
    ):
        unknown = omniedit("submit", CLIP_URL, PROMPT, "--json", **here.environ())
        request_id = unknown.document["error"]["request_id"]
        ended = omniedit("submit", "--resume", request_id, **elsewhere.environ())

    check_refusal(ended, 2, f"was made at {here.url}, not at {elsewhere.url}")
    assert elsewhere.requests == []


def test_force_replaces_an_older_file_with_the_newest_result(
    make_bench: Callable[..., Bench],
) -> None:
    bench = make_bench(edit_seconds=4.0)  # 0.2 s: the sandbox is twenty times as fast
    argv = ["edit", CLIP_URL, PROMPT, "-o", "out.mp4"]
    assert bench.run(*argv).status == 0
    (older,) = bench.task_ids
    timed_out = bench.run(*argv, "--again", "--force", "--timeout", "0")
    (newer,) = {*bench.task_ids} - {older}

    forced = bench.run(*argv, "--force", "--json")

    assert timed_out.status == 6, timed_out
    assert [task["task_id"] for task in forced.document["tasks"]] == [newer], forced
    assert {task["task_id"] for task in bench.journal() if task["saved"]} == {newer}


def test_a_file_is_in_the_journal_before_it_gets_its_final_name(bench: Bench) -> None:
    task_id = bench.run("submit", CLIP_URL, PROMPT).stdout.strip()

    bench.begin("download", task_id, "-o", "out.mp4", dies_after="link")
    killed = bench.end()

    assert killed.status == -9, killed
    assert bench.files() == {"out.mp4": RESULT_BYTES}
    (listed,) = bench.journal()
    assert [file["path"] for file in listed["saved"]] == [str(bench.folder / "out.mp4")]


def test_a_file_name_is_synced_before_the_part_file_is_removed(bench: Bench) -> None:
    task_id = bench.run("submit", CLIP_URL, PROMPT).stdout.strip()

    with recorded() as effects:
        ended = bench.run("download", task_id, "-o", "out.mp4")

    assert ended.status == 0, ended
    placed = effects.index("link")
    gone = effects.index("unlink", placed)
    assert "fsync" in effects[placed:gone]
    assert "fsync" in effects[gone:]


def test_a_clip_that_changes_during_a_batch_is_not_sent(bench: Bench) -> None:
    clips = [bench.folder / f"{name}.mp4" for name in "ab"]
    for number, clip in enumerate(clips):
        clip.write_bytes(RESULT_BYTES + padding_box(number))
    manifest = bench.folder / "edits.csv"
    manifest.write_text("video,prompt\na.mp4,night\nb.mp4,night\n", encoding="utf-8")

    def change_the_other(exchange: Exchange) -> None:
        clips[1].write_bytes(RESULT_BYTES + padding_box(2))
        pass_through(exchange)

    bench.faulty.script(Endpoint.SUBMIT, change_the_other)
    argv = ["batch", "edits.csv", "--dir", "out", "--concurrency", "1"]

    ended = bench.run(*argv, "--json")
    again = bench.run(*argv)

    assert (ended.status, len(statuses(ended))) == (10, 2), ended
    changed = ended.document["tasks"][1]
    assert changed["task_id"] is None
    assert "b.mp4 changed after it was checked" in changed["error"]["message"]
    assert (again.status, len(bench.task_ids)) == (0, 2), again


def test_a_result_that_was_a_web_page_is_fetched_again(bench: Bench) -> None:
    task_id = bench.run("submit", CLIP_URL, PROMPT).stdout.strip()
    bench.faulty.always(Endpoint.RESULT, HTML)

    ended = bench.run("download", task_id, "-o", "out.mp4")
    bench.faulty.clear_faults()
    later = bench.run("download", "--all")

    assert ended.status == 7, ended
    assert later.status == 0, later
    assert [*bench.files().values()] == [RESULT_BYTES]


def test_a_lost_reply_is_in_the_journal_before_the_replay(bench: Bench) -> None:
    bench.faulty.script(Endpoint.SUBMIT, reset_after)
    patient = bench.with_policy(
        bench.policy._replace(
            first_backoff_s=60.0, longest_backoff_s=60.0, submit_budget_s=600.0, read_budget_s=600.0
        )
    )

    pid = patient.begin("submit", CLIP_URL, PROMPT)
    wait_until(lambda: bench.fork_server.has_written("the connection to"))
    (listed,) = bench.journal()
    os.kill(pid, signal.SIGKILL)
    bench.end()

    assert (listed["task_id"], listed["status"]) == (None, "unknown")
    assert "the connection to" in listed["error"]["message"]


def make_unknown_attempt(bench: Bench) -> str:
    """Make an attempt whose outcome is unknown, and return its request ID."""
    bench.faulty.script(Endpoint.SUBMIT, reset_after, reset_after)
    ended = bench.run("submit", CLIP_URL, PROMPT, "--json")
    assert ended.status == 9, ended
    return str(ended.document["error"]["request_id"])


def padding_box(number: int) -> bytes:
    """Return a box that changes a clip's bytes, but not what it shows."""
    return b"\0\0\0\x09free" + bytes([number])


def statuses(ended: Ended) -> Sequence[Any]:
    return [task["status"] for task in ended.document["tasks"]]


def wait_until(is_so: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_inverted_marks_are_refused_without_reading_the_clip(bench: Bench) -> None:
    ended = bench.run("submit", CLIP_URL, PROMPT, "--start", "5", "--end", "3")

    assert (ended.status, bench.posts) == (2, 0), ended
    assert "end 3 is not after start 5" in ended.stderr


@pytest.mark.parametrize("limit", ["9223372036854775807", "9223372036854775808", "1" + "0" * 30])
def test_a_list_limit_can_be_any_size(bench: Bench, limit: str) -> None:
    bench.run("submit", CLIP_URL, PROMPT)

    assert len(bench.run("list", "--json", "--limit", limit).document["tasks"]) == 1


def test_an_absurd_number_of_takes_is_refused(bench: Bench) -> None:
    (bench.folder / "clip.mp4").write_bytes(RESULT_BYTES)

    ended = bench.run("batch", "clip.mp4", "--prompt", PROMPT, "--takes", "1" + "0" * 20)

    assert (ended.status, bench.posts) == (2, 0), ended


def test_forgetting_an_edit_warns_that_the_next_one_may_pay_again(bench: Bench) -> None:
    submitted = bench.run("submit", CLIP_URL, PROMPT, "--json").document["task"]

    forgotten = bench.run("list", "--forget", submitted["request_id"])

    assert forgotten.status == 0, forgotten
    assert "the next `edit` of it may pay again" in forgotten.stderr


def test_chaining_an_unfinished_task_names_the_wait_command(
    make_bench: Callable[..., Bench],
) -> None:
    bench = make_bench(edit_seconds=600.0)
    task_id = bench.run("submit", CLIP_URL, PROMPT).stdout.strip()

    ended = bench.run("edit", f"task:{task_id}", "colder", "-o", "colder.mp4")

    assert (ended.status, bench.posts) == (6, 1), ended
    assert f"`omniedit wait {task_id}`" in ended.stderr


def test_a_download_reports_its_task_and_charge(bench: Bench) -> None:
    task_id = bench.run("submit", CLIP_URL, PROMPT).stdout.strip()

    ended = bench.run("download", task_id, "-o", "out.mp4")

    (saved,) = [line for line in ended.stderr.splitlines() if "saved out.mp4" in line]
    assert saved.startswith(f"{task_id}: ")
    assert " credits ($" in saved


def test_an_unknown_status_is_reported_as_received(bench: Bench) -> None:
    with scripted(lambda _: Reply(body=task("archived"))) as service:
        wait = ("wait", "task-unified-1757169743-7cvnl5zw", "--timeout", "2s", "--json")
        ended = bench.installed(*wait, **service.environ())

    (shown,) = ended.document["tasks"]
    assert (ended.status, shown["status"]) == (6, "archived"), ended


def test_an_interrupted_edits_document_has_the_recovery_command(
    make_bench: Callable[..., Bench],
) -> None:
    bench = make_bench(edit_seconds=600.0)
    pid = bench.begin("edit", CLIP_URL, PROMPT, "-o", "out.mp4", "--json")
    wait_until(lambda: bench.task_ids)
    wait_until(lambda: bench.fork_server.has_written("submitted"))
    os.kill(pid, signal.SIGTERM)
    ended = bench.end()

    error = ended.document["error"]
    assert (ended.status, error["task_id"]) == (143, bench.task_ids[0]), ended
    assert f"omniedit wait {bench.task_ids[0]} --download out.mp4" in error["hint"]
