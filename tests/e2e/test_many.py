"""Waiting for many tasks in one command."""

from pathlib import Path

import pytest

from tests.commandline import Ended
from tests.e2e.equipment import CLIP_URL, Bench
from tests.e2e.faulty import Endpoint

pytestmark = pytest.mark.e2e


def submit(bench: Bench, count: int, marker: str = "[sandbox:seconds=0]") -> list[str]:
    submitted = [bench.run("submit", CLIP_URL, f"{n} {marker}", "-q") for n in range(count)]
    return [ended.stdout.strip() for ended in submitted]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_many_tasks_are_saved_into_a_folder(bench: Bench, folder: Path) -> None:
    tasks = submit(bench, 4)

    ended = bench.run("wait", *tasks, "-d", "out/")

    assert ended.status == 0, ended
    assert sorted(ended.stdout.split()) == sorted(f"out/{name}" for name in names(folder / "out"))
    assert len(names(folder / "out")) == 4
    assert (bench.faulty.count(Endpoint.BATCH), bench.faulty.count(Endpoint.POLL)) == (1, 0)


def test_the_document_lists_tasks_in_the_order_given(bench: Bench) -> None:
    tasks = submit(bench, 3)

    ended = bench.run("wait", *reversed(tasks), "--json")

    assert [task["task_id"] for task in ended.document["tasks"]] == tasks[::-1]


def test_each_saved_event_is_about_one_task(bench: Bench) -> None:
    tasks = submit(bench, 3)

    ended = bench.run("wait", *tasks, "-d", "out/", "--events")

    saved = [event["task_id"] for event in ended.events if event["event"] == "saved"]
    assert sorted(saved) == sorted(tasks)
    assert [event["event"] for event in ended.events].index("done") == len(ended.events) - 1


def fail_one_of_two(bench: Bench, *options: str) -> Ended:
    [failing] = submit(bench, 1, "[sandbox:fail=content_policy_violation] [sandbox:seconds=0]")
    [slow] = submit(bench, 1, "[sandbox:seconds=20]")
    return bench.run("wait", failing, slow, "--json", *options)


def test_a_failure_is_reported_once_the_others_have_ended(bench: Bench) -> None:
    ended = fail_one_of_two(bench)

    assert ended.status == 5
    assert [task["status"] for task in ended.document["tasks"]] == ["failed", "completed"]


def test_fail_fast_reports_a_failure_at_once(bench: Bench) -> None:
    ended = fail_one_of_two(bench, "--fail-fast")

    assert ended.status == 5
    assert ended.document["tasks"][0]["status"] == "failed"
    assert ended.document["tasks"][1]["status"] in {"pending", "processing"}


def test_an_unknown_task_id_does_not_stop_the_others(bench: Bench, folder: Path) -> None:
    tasks = submit(bench, 2)

    ended = bench.run("wait", *tasks, "task-unified-1-nobody", "-d", "out/", "--json")

    assert ended.status == 11, ended
    assert len(names(folder / "out")) == 2
    assert len(ended.document["tasks"]) == 3


def test_several_tasks_cannot_be_saved_to_one_file(bench: Bench) -> None:
    tasks = submit(bench, 2)

    ended = bench.run("wait", *tasks, "-d", "out.mp4")

    assert ended.status == 2
    assert "`out/`" in ended.stderr
