"""What edits cost, on one machine and on several, compared with the service's own ledger."""

import json
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.commandline import Ended
from tests.e2e.equipment import CLIP_URL, Bench
from tests.e2e.faulty import Endpoint, reset_after, reset_before
from tests.ledger import ledger

pytestmark = pytest.mark.e2e

SHARDS = 8


def write(folder: Path, prompts: Sequence[str]) -> str:
    lines = [{"video": CLIP_URL, "prompt": prompt} for prompt in prompts]
    (folder / "m.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    return "m.jsonl"


def ledger_total(bench: Bench) -> float:
    entries = ledger(bench.service.store, time.time())
    return round(math.fsum(entry.charged for entry in entries), 6)


def read_usage(bench: Bench, *argv: str) -> Mapping[str, Any]:
    return bench.run("usage", "--json", *argv).document


def test_the_total_matches_the_ledger_after_kills_and_refunds(bench: Bench, folder: Path) -> None:
    prompts = [f"{n} [sandbox:seconds=0]" for n in range(8)]
    prompts += [f"{n} [sandbox:fail=content_policy_violation]" for n in range(3)]
    prompts += [f"{n} [sandbox:cancel]" for n in range(2)]
    manifest = write(folder, prompts)
    for effect in (60, 90, 120):
        bench.begin("batch", manifest, "--dir", "out", dies_before=effect)
        bench.end()
    bench.run("batch", manifest, "--dir", "out")

    document = read_usage(bench)

    assert document["total"]["credits_charged"] == ledger_total(bench)
    assert document["total"] == document["rows"][0] | {"key": None}
    assert document["total"]["tasks"] == len(bench.task_ids)
    assert (document["total"]["credits_reserved"], document["total"]["tasks_unknown"]) == (0, 0)


def test_unfinished_edits_are_updated_before_summing(bench: Bench) -> None:
    done = bench.run("submit", CLIP_URL, "a [sandbox:seconds=0]")
    bench.run("submit", CLIP_URL, "b [sandbox:stall]")

    document = read_usage(bench, "--by", "clip")

    assert done.status == 0
    [row] = document["rows"]
    assert (row["key"], row["tasks"], row["tasks_unknown"]) == (CLIP_URL, 2, 0)
    assert row["credits_charged"] == ledger_total(bench) > 0
    assert row["credits_reserved"] > 0


def test_without_the_service_unfinished_edits_count_as_last_recorded(bench: Bench) -> None:
    bench.run("submit", CLIP_URL, "a [sandbox:stall]")
    bench.service.close()

    ended = bench.run("usage")

    assert ended.status == 0, ended
    assert "open edits are as last recorded" in ended.stderr
    assert "0 credits ($0.00)" in ended.stdout


@pytest.mark.parametrize("by", ["month", "day", "clip", "model"])
def test_the_rows_add_up_to_the_total(bench: Bench, folder: Path, by: str) -> None:
    bench.run("batch", write(folder, [f"{n} [sandbox:seconds=0]" for n in range(3)]))

    ended = bench.run("usage", "--by", by)
    document = read_usage(bench, "--by", by)

    assert [row["tasks"] for row in document["rows"]] == [3]
    assert ended.stdout.splitlines()[0].split() == [
        by.upper(), "TASKS", "CHARGED", "RESERVED", "UNKNOWN",
    ]  # fmt: skip
    assert read_usage(bench, "--by", by, "--since", "1h")["total"] == document["total"]
    assert read_usage(bench, "--since", "2099-01-01")["rows"] == []


def test_remote_usage_includes_tasks_unknown_to_the_journal(bench: Bench) -> None:
    bench.run("submit", CLIP_URL, "a [sandbox:seconds=0]", OMNIEDIT_STATE_DIR="elsewhere")

    ended = bench.run("usage", "--remote", "--json")

    assert ended.document["total"]["credits_charged"] == ledger_total(bench)
    assert "the account's list goes back to 20" in ended.stderr


def test_a_submission_of_unknown_outcome_counts_as_unknown(bench: Bench) -> None:
    bench.faulty.script(Endpoint.SUBMIT, reset_after, reset_after)
    lost = bench.run("submit", CLIP_URL, "a [sandbox:seconds=0]")
    bench.run("submit", CLIP_URL, "b [sandbox:seconds=0]")

    ended = bench.run("usage", "--by", "clip")
    document = read_usage(bench, "--by", "clip")
    older = read_usage(bench, "--since", "2099-01-01")
    bench.run("submit", "--resume", lost.stderr.partition("submit --resume ")[2].split("`")[0])
    settled = read_usage(bench)

    assert lost.status == 9, lost
    [row] = document["rows"]
    assert (row["key"], row["tasks"], row["tasks_unknown"]) == (CLIP_URL, 2, 1)
    assert document["total"] == row | {"key": None}
    assert ended.stdout.split()[-1] == "1"
    assert "counted as unknown: 1 submission that may or may not have been accepted" in ended.stderr
    assert older["total"]["tasks_unknown"] == 0
    assert (settled["total"]["tasks"], settled["total"]["tasks_unknown"]) == (2, 0)
    assert settled["total"]["credits_charged"] == ledger_total(bench)


def test_remote_usage_counts_a_running_edit_as_reserved(bench: Bench) -> None:
    bench.run("submit", CLIP_URL, "a [sandbox:stall]", OMNIEDIT_STATE_DIR="elsewhere")
    there = bench.run("usage", "--json", OMNIEDIT_STATE_DIR="elsewhere").document

    total = read_usage(bench, "--remote")["total"]

    assert total == there["total"]
    assert total["credits_reserved"] > 0
    assert total["tasks_unknown"] == 0


def test_remote_usage_warns_if_it_cannot_tell_what_is_reserved(bench: Bench) -> None:
    bench.run("submit", CLIP_URL, "a [sandbox:stall]")
    bench.faulty.script(Endpoint.POLL, reset_before)

    ended = bench.run("usage", "--remote", "--json")

    assert ended.status == 0, ended
    assert "what open edits reserve cannot be read" in ended.stderr
    assert ended.document["total"]["tasks_unknown"] == 1


def merge_shards(bench: Bench) -> Ended:
    folders = [f"state-{shard}" for shard in range(1, SHARDS + 1)]
    return bench.run("journal", "merge", *folders, "--json")


def test_merged_shards_match_the_ledger_even_after_kills(bench: Bench, folder: Path) -> None:
    prompts = [f"{n} [sandbox:seconds=0]" for n in range(40)]
    prompts += [f"{n} [sandbox:fail=content_policy_violation]" for n in range(6)]
    manifest = write(folder, prompts)
    for shard in range(1, SHARDS + 1):
        argv = ["batch", manifest, "--dir", "out", "--shard", f"{shard}/{SHARDS}"]
        state = f"state-{shard}"
        if shard in {3, 6}:
            bench.begin(*argv, dies_before=50 + 10 * shard, OMNIEDIT_STATE_DIR=state)
            bench.end()
        else:
            bench.run(*argv, OMNIEDIT_STATE_DIR=state)

    first, second = merge_shards(bench), merge_shards(bench)
    listed = bench.run("list", "--json", "--limit", "0").document["tasks"]
    saved = bench.run("download", "--all", "-o", "rest/")

    assert (first.status, second.status) == (0, 0), (first, second)
    assert {folder["tasks"] for folder in second.document["folders"]} == {0}
    known = [task["task_id"] for task in listed if task["task_id"]]
    unknown_outcomes = [task["request_id"] for task in listed if task["status"] == "unknown"]
    assert len(known) == len(set(known))
    entries = ledger(bench.service.store, time.time())
    assert {entry.task_id for entry in entries} - set(known) == {
        entry.task_id for entry in entries if entry.request_key in unknown_outcomes
    }
    for request_id in unknown_outcomes:
        bench.run("submit", "--resume", request_id)
    assert read_usage(bench)["total"]["credits_charged"] == ledger_total(bench)
    assert saved.status == 0, saved
