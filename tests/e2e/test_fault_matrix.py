"""Every request of the client under every network fault: nothing is lost, nothing is paid twice.

Each row is played twice: the fault meets only the first request (`once`), or every request of the
first command (`always`). A port closed `once` reopens when the command has been refused.
Then the faults are removed, and the documented commands must finish the work with a single task.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Final

import pytest

from omniedit.sandbox.clips import BUNDLED_CLIP
from tests.commandline import Ended
from tests.contract.readme import MANUAL
from tests.e2e.equipment import CLIP_URL, PROMPT, Bench
from tests.e2e.faulty import (
    Endpoint,
    Exchange,
    Fault,
    answered,
    cut_body,
    in_seconds,
    key_ignored,
    refusal,
    reset_after,
    reset_before,
    silence_after,
    silence_before,
    slow_body,
    slow_but_whole,
)
from tests.policies import impatient, short_budget

pytestmark = pytest.mark.e2e

HTML: Final = b"<!doctype html><html><body><h1>502 Bad Gateway</h1></body></html>"
ONCE: Final = "once"
ALWAYS: Final = "always"
REFUSED: Final = "refused"

FAULTS: Final[Mapping[str, Fault]] = {
    "reset before": reset_before,
    "reset after": reset_after,
    "silence before": silence_before,
    "silence after": silence_after,
    "429": answered(429),
    "429, seconds": answered(429, headers={"Retry-After": "1"}),
    "429, date": answered(429, headers={"Retry-After": in_seconds(1)}),
    "429, an hour": answered(429, headers={"Retry-After": "3600"}),
    "500": answered(500),
    "500 after": answered(500, after=True),
    "502 HTML": answered(502, HTML, headers={"Content-Type": "text/html"}),
    "503": answered(503),
    "garbage 200": answered(200, b"\x00garbage\xff", after=True),
    "empty 200": answered(200, after=True),
    "HTML 200": answered(200, HTML, after=True, headers={"Content-Type": "text/html"}),
    "JSON 200": answered(200, b'{"data": {}}', after=True),
    "cut body": cut_body,
    "slow body": slow_body,
    "slow but whole": slow_but_whole,
    "401": answered(401),
    "403": answered(403),
    "403, 1010": answered(403, b"error code: 1010"),
    "404": answered(404),
    "405": answered(405),
    "410": answered(410),
}

EQUIVALENT_FAULTS: Final = {"429, date", "500 after", "empty 200", "HTML 200", "JSON 200", "405"}
"""Faults that are handled like another one; they are only tested in `.ci/run full`."""
TIMEOUT_FAULTS: Final = {"silence before", "silence after", "slow body"}
"""Faults that only a timeout reveals."""
DELAYING_FAULTS: Final = {"429, seconds", "429, date"}
"""Faults that ask for a delay of a second; the budget must last longer than that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """The expected outcome of one command."""

    status: int
    posts: str  # submissions received; `+` for more than one
    tasks: int  # tasks accepted by the service
    files: int  # files under their final names
    journal: str  # the state of each row; `-` if there is none


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One fault that meets one command."""

    name: str
    fault: str
    duration: str
    expected: Expected


def rows(table: str) -> list[Row]:
    """Return the rows of a table: a fault and the expected outcomes `once` and `always`."""
    found: list[Row] = []
    for line in table.strip().splitlines()[1:]:
        fault, *ends = (cell.strip() for cell in line.split("|"))
        for duration, end in zip((ONCE, ALWAYS), ends, strict=True):
            status, posts, tasks, files, journal = end.split()
            expected = Expected(
                status=int(status), posts=posts, tasks=int(tasks), files=int(files), journal=journal
            )
            name = f"{fault}, {duration}".replace(", ", "-").replace(" ", "-")
            found.append(Row(name=name, fault=fault, duration=duration, expected=expected))
    return found


def cases(table: str) -> list[object]:
    return [
        pytest.param(
            row, id=row.name, marks=[pytest.mark.full] if row.fault in EQUIVALENT_FAULTS else []
        )
        for row in rows(table)
    ]


#                   exit POSTs tasks files journal
SUBMIT: Final = """
fault             | once             | always
refused           | 0 1 1 0 accepted | 8 0 0 0 refused
reset before      | 0 2 1 0 accepted | 9 2 0 0 unknown
reset after       | 0 2 1 0 accepted | 9 2 1 0 unknown
silence before    | 0 2 1 0 accepted | 9 2 0 0 unknown
silence after     | 0 2 1 0 accepted | 9 2 1 0 unknown
429               | 0 2 1 0 accepted | 8 + 0 0 refused
429, seconds      | 0 2 1 0 accepted | 8 + 0 0 refused
429, date         | 0 2 1 0 accepted | 8 + 0 0 refused
429, an hour      | 8 1 0 0 refused  | 8 1 0 0 refused
500               | 0 2 1 0 accepted | 9 2 0 0 unknown
500 after         | 0 2 1 0 accepted | 9 2 1 0 unknown
502 HTML          | 0 2 1 0 accepted | 9 2 0 0 unknown
503               | 0 2 1 0 accepted | 9 2 0 0 unknown
garbage 200       | 0 2 1 0 accepted | 9 2 1 0 unknown
empty 200         | 0 2 1 0 accepted | 9 2 1 0 unknown
HTML 200          | 0 2 1 0 accepted | 9 2 1 0 unknown
cut body          | 0 2 1 0 accepted | 9 2 1 0 unknown
slow body         | 0 2 1 0 accepted | 9 2 1 0 unknown
"""
# The same faults of the same request in `edit`, which then saves nothing either.
EDIT: Final = """
fault             | once             | always
refused           | 0 1 1 1 accepted | 8 0 0 0 refused
reset before      | 0 2 1 1 accepted | 9 2 0 0 unknown
reset after       | 0 2 1 1 accepted | 9 2 1 0 unknown
silence after     | 0 2 1 1 accepted | 9 2 1 0 unknown
429               | 0 2 1 1 accepted | 8 + 0 0 refused
429, an hour      | 8 1 0 0 refused  | 8 1 0 0 refused
503               | 0 2 1 1 accepted | 9 2 0 0 unknown
garbage 200       | 0 2 1 1 accepted | 9 2 1 0 unknown
cut body          | 0 2 1 1 accepted | 9 2 1 0 unknown
"""
POLL: Final = """
fault             | once             | always
refused           | 0 1 1 1 accepted | 6 1 1 0 accepted
reset before      | 0 1 1 1 accepted | 6 1 1 0 accepted
reset after       | 0 1 1 1 accepted | 6 1 1 0 accepted
silence before    | 0 1 1 1 accepted | 6 1 1 0 accepted
429               | 0 1 1 1 accepted | 6 1 1 0 accepted
429, seconds      | 0 1 1 1 accepted | 6 1 1 0 accepted
429, date         | 0 1 1 1 accepted | 6 1 1 0 accepted
429, an hour      | 0 1 1 1 accepted | 6 1 1 0 accepted
500               | 0 1 1 1 accepted | 6 1 1 0 accepted
502 HTML          | 0 1 1 1 accepted | 6 1 1 0 accepted
503               | 0 1 1 1 accepted | 6 1 1 0 accepted
garbage 200       | 0 1 1 1 accepted | 6 1 1 0 accepted
HTML 200          | 0 1 1 1 accepted | 6 1 1 0 accepted
cut body          | 0 1 1 1 accepted | 6 1 1 0 accepted
slow body         | 0 1 1 1 accepted | 6 1 1 0 accepted
401               | 3 1 1 0 accepted | 3 1 1 0 accepted
403               | 3 1 1 0 accepted | 3 1 1 0 accepted
404               | 0 1 1 1 accepted | 6 1 1 0 accepted
"""
BATCH: Final = """
fault             | once             | always
refused           | 0 2 2 2 accepted | 6 2 2 0 accepted
reset before      | 0 2 2 2 accepted | 6 2 2 0 accepted
reset after       | 0 2 2 2 accepted | 6 2 2 0 accepted
silence before    | 0 2 2 2 accepted | 6 2 2 0 accepted
429               | 0 2 2 2 accepted | 6 2 2 0 accepted
429, seconds      | 0 2 2 2 accepted | 6 2 2 0 accepted
429, date         | 0 2 2 2 accepted | 6 2 2 0 accepted
429, an hour      | 0 2 2 2 accepted | 6 2 2 0 accepted
500               | 0 2 2 2 accepted | 0 2 2 2 accepted
502 HTML          | 0 2 2 2 accepted | 0 2 2 2 accepted
503               | 0 2 2 2 accepted | 0 2 2 2 accepted
garbage 200       | 0 2 2 2 accepted | 0 2 2 2 accepted
cut body          | 0 2 2 2 accepted | 6 2 2 0 accepted
slow body         | 0 2 2 2 accepted | 6 2 2 0 accepted
401               | 0 2 2 2 accepted | 0 2 2 2 accepted
403               | 0 2 2 2 accepted | 0 2 2 2 accepted
404               | 0 2 2 2 accepted | 0 2 2 2 accepted
405               | 0 2 2 2 accepted | 0 2 2 2 accepted
"""
LIST: Final = """
fault             | once             | always
refused           | 0 1 1 0 accepted | 8 1 1 0 -
reset before      | 0 1 1 0 accepted | 8 1 1 0 -
reset after       | 0 1 1 0 accepted | 8 1 1 0 -
silence before    | 0 1 1 0 accepted | 8 1 1 0 -
429               | 0 1 1 0 accepted | 8 1 1 0 -
429, seconds      | 0 1 1 0 accepted | 8 1 1 0 -
429, date         | 0 1 1 0 accepted | 8 1 1 0 -
429, an hour      | 8 1 1 0 -        | 8 1 1 0 -
500               | 0 1 1 0 accepted | 8 1 1 0 -
502 HTML          | 0 1 1 0 accepted | 8 1 1 0 -
503               | 0 1 1 0 accepted | 8 1 1 0 -
garbage 200       | 0 1 1 0 accepted | 8 1 1 0 -
cut body          | 0 1 1 0 accepted | 8 1 1 0 -
slow body         | 0 1 1 0 accepted | 8 1 1 0 -
401               | 3 1 1 0 -        | 3 1 1 0 -
"""
UPLOAD: Final = """
fault             | once             | always
refused           | 0 1 1 0 accepted | 8 0 0 0 refused
reset before      | 0 1 1 0 accepted | 8 0 0 0 refused
reset after       | 0 1 1 0 accepted | 8 0 0 0 refused
silence before    | 0 1 1 0 accepted | 8 0 0 0 refused
429               | 0 1 1 0 accepted | 8 0 0 0 refused
429, seconds      | 0 1 1 0 accepted | 8 0 0 0 refused
429, date         | 0 1 1 0 accepted | 8 0 0 0 refused
429, an hour      | 8 0 0 0 refused  | 8 0 0 0 refused
500               | 0 1 1 0 accepted | 8 0 0 0 refused
502 HTML          | 0 1 1 0 accepted | 8 0 0 0 refused
503               | 0 1 1 0 accepted | 8 0 0 0 refused
garbage 200       | 0 1 1 0 accepted | 8 0 0 0 refused
cut body          | 0 1 1 0 accepted | 8 0 0 0 refused
slow body         | 0 1 1 0 accepted | 8 0 0 0 refused
401               | 3 0 0 0 refused  | 3 0 0 0 refused
404               | 2 0 0 0 refused  | 2 0 0 0 refused
"""
RESULT: Final = """
fault             | once             | always
refused           | 0 1 1 1 accepted | 8 1 1 0 accepted
reset before      | 0 1 1 1 accepted | 8 1 1 0 accepted
reset after       | 0 1 1 1 accepted | 8 1 1 0 accepted
silence before    | 0 1 1 1 accepted | 8 1 1 0 accepted
429               | 0 1 1 1 accepted | 8 1 1 0 accepted
429, seconds      | 0 1 1 1 accepted | 8 1 1 0 accepted
429, date         | 0 1 1 1 accepted | 8 1 1 0 accepted
429, an hour      | 8 1 1 0 accepted | 8 1 1 0 accepted
500               | 0 1 1 1 accepted | 8 1 1 0 accepted
502 HTML          | 0 1 1 1 accepted | 8 1 1 0 accepted
503               | 0 1 1 1 accepted | 8 1 1 0 accepted
garbage 200       | 0 1 1 1 accepted | 7 1 1 0 accepted
empty 200         | 0 1 1 1 accepted | 7 1 1 0 accepted
HTML 200          | 0 1 1 1 accepted | 7 1 1 0 accepted
JSON 200          | 0 1 1 1 accepted | 7 1 1 0 accepted
cut body          | 0 1 1 1 accepted | 8 1 1 0 accepted
slow but whole    | 0 1 1 1 accepted | 0 1 1 1 accepted
401               | 0 1 1 1 accepted | 7 1 1 0 accepted
403               | 0 1 1 1 accepted | 7 1 1 0 accepted
404               | 0 1 1 1 accepted | 7 1 1 0 accepted
410               | 0 1 1 1 accepted | 7 1 1 0 accepted
403, 1010         | 8 1 1 0 accepted | 8 1 1 0 accepted
"""
TABLES: Final = (SUBMIT, EDIT, POLL, BATCH, LIST, UPLOAD, RESULT)
FAULTS_IN_THE_MATRIX: Final = sum(len(rows(table)) for table in TABLES)


@pytest.mark.parametrize("row", cases(SUBMIT))
def test_a_submission_under_a_fault_follows_the_table(bench: Bench, row: Row) -> None:
    inject_fault(bench, Endpoint.SUBMIT, row)

    ended = with_policy_for(bench, row).run("submit", CLIP_URL, PROMPT, "--json")

    check(bench, ended, row.expected)
    if ended.status == 8:
        assert "nothing was accepted" in ended.document["error"]["hint"]
    check_recovery(bench, ended, CLIP_URL)


@pytest.mark.parametrize("row", cases(EDIT))
def test_an_edit_whose_submission_fails_follows_the_table(bench: Bench, row: Row) -> None:
    inject_fault(bench, Endpoint.SUBMIT, row)

    ended = with_policy_for(bench, row).run("edit", CLIP_URL, PROMPT, "-o", "out.mp4", "--json")

    check(bench, ended, row.expected)
    check_recovery(bench, ended, CLIP_URL)


@pytest.mark.parametrize("row", cases(POLL))
def test_a_wait_under_a_fault_follows_the_table(bench: Bench, row: Row) -> None:
    task_id = bench.run("submit", CLIP_URL, PROMPT).stdout.strip()
    inject_fault(bench, Endpoint.POLL, row)

    ended = with_policy_for(bench, row).run(
        "wait", task_id, "-d", "out.mp4", "--timeout", timeout_of(row), "--json"
    )

    check(bench, ended, row.expected)
    bench.faulty.clear_faults()
    waited = bench.run("wait", task_id, "-d", "out.mp4")
    assert (waited.status, waited.stdout) == (0, "out.mp4\n"), waited
    check_recovery(bench, ended, CLIP_URL)


@pytest.mark.parametrize("row", cases(BATCH))
def test_a_wait_for_two_tasks_under_a_fault_follows_the_table(bench: Bench, row: Row) -> None:
    task_ids = [bench.run("submit", CLIP_URL, f"{PROMPT} {n}").stdout.strip() for n in range(2)]
    inject_fault(bench, Endpoint.BATCH, row)

    ended = with_policy_for(bench, row).run(
        "wait", *task_ids, "-d", "./", "--timeout", timeout_of(row), "--json"
    )

    check(bench, ended, row.expected)
    bench.faulty.clear_faults()
    waited = bench.run("wait", *task_ids, "-d", "./")
    assert waited.status == 0, waited
    assert list(bench.files().values()) == [RESULT_BYTES] * 2
    assert len(bench.task_ids) == 2


@pytest.mark.parametrize("row", cases(LIST))
def test_adopting_tasks_of_a_lost_machine_follows_the_table(
    bench: Bench, row: Row, tmp_path: Path
) -> None:
    bench.run("submit", CLIP_URL, PROMPT, OMNIEDIT_STATE_DIR=str(tmp_path / "lost"))
    inject_fault(bench, Endpoint.LIST, row)

    ended = with_policy_for(bench, row).run("list", "--remote", "--adopt", "--json")

    check(bench, ended, row.expected)
    bench.faulty.clear_faults()
    assert bench.run("list", "--remote", "--adopt").status == 0
    assert bench.run("download", "--all").status == 0
    assert list(bench.files().values()) == [RESULT_BYTES]
    assert len(bench.task_ids) == 1


@pytest.mark.parametrize("row", cases(UPLOAD))
def test_an_upload_under_a_fault_follows_the_table(bench: Bench, row: Row, tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(RESULT_BYTES)
    inject_fault(bench, Endpoint.UPLOAD, row)

    ended = with_policy_for(bench, row).run("submit", str(clip), PROMPT, "--json")

    check(bench, ended, row.expected)
    check_recovery(bench, ended, str(clip))


@pytest.mark.parametrize("row", cases(RESULT))
def test_a_download_under_a_fault_follows_the_table(bench: Bench, row: Row) -> None:
    task_id = bench.run("submit", CLIP_URL, PROMPT).stdout.strip()
    inject_fault(bench, Endpoint.RESULT, row)

    ended = with_policy_for(bench, row).run("download", task_id, "-o", "out.mp4", "--json")

    check(bench, ended, row.expected)
    bench.faulty.clear_faults()
    downloaded = bench.run("download", task_id, "-o", "out.mp4")
    assert (downloaded.status, downloaded.stdout) == (0, "out.mp4\n"), downloaded
    check_recovery(bench, ended, CLIP_URL)


REFUSALS: Final = {
    # the service's reply:           (fault, exit status)
    "400": (refusal(400, "invalid_request"), 2),
    "401": (refusal(401, "unauthorized"), 3),
    "402": (refusal(402, "insufficient_quota"), 4),
    "402, an older reply": (answered(402, b'{"error": {"code": 402, "message": "no money"}}'), 4),
    "403, model": (refusal(403, "model_access_denied"), 3),
    "403, key expired": (refusal(403, "key_expired"), 3),
    "403, account empty": (refusal(403, "account_balance_insufficient"), 4),
    "404, no API": (answered(404, HTML), 2),
    "405, no API": (answered(405), 2),
    "413": (answered(413), 2),
    "422": (refusal(422, "invalid_parameters"), 2),
    "429, key's own limit": (refusal(429, "token_daily_quota_exceeded"), 4),
    "500, quota": (refusal(500, "quota_not_enough"), 4),
    "503, key disabled": (refusal(503, "key_disabled"), 3),
    "200, quota": (refusal(200, "key_quota_exhausted"), 4),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal_is_final_and_costs_nothing(bench: Bench, name: str) -> None:
    fault, status = REFUSALS[name]
    bench.faulty.always(Endpoint.SUBMIT, fault)

    ended = bench.run("submit", CLIP_URL, PROMPT, "--json")

    check(bench, ended, Expected(status=status, posts="1", tasks=0, files=0, journal="refused"))
    check_recovery(bench, ended, CLIP_URL)


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal_after_a_lost_reply_leaves_the_outcome_unknown(bench: Bench, name: str) -> None:
    fault, _ = REFUSALS[name]
    bench.faulty.script(Endpoint.SUBMIT, reset_after)
    bench.faulty.always(Endpoint.SUBMIT, fault)

    ended = bench.run("submit", CLIP_URL, PROMPT, "--json")

    check(bench, ended, Expected(status=9, posts="2", tasks=1, files=0, journal="unknown"))
    check_recovery(bench, ended, CLIP_URL)


SEQUENCES: Final = {
    # faults of the submission:                              exit POSTs tasks journal
    ("reset after", "429"): (0, "3", 1, "accepted"),
    ("reset after", "429, seconds", "429"): (0, "4", 1, "accepted"),
    ("reset after", "429, an hour"): (9, "2", 1, "unknown"),
    ("reset after", "reset before"): (9, "2", 1, "unknown"),
    ("reset before", "503"): (9, "2", 0, "unknown"),
    ("429", "reset after"): (0, "3", 1, "accepted"),
    ("429", "500", "429"): (0, "4", 1, "accepted"),
    ("429", "500", "502 HTML"): (9, "3", 0, "unknown"),
    ("429", "429, an hour"): (8, "2", 0, "refused"),
}


@pytest.mark.parametrize("faults", SEQUENCES, ids=", then ".join)
def test_successive_faults_follow_the_table(bench: Bench, faults: tuple[str, ...]) -> None:
    status, posts, tasks, journal = SEQUENCES[faults]
    bench.faulty.script(Endpoint.SUBMIT, *(FAULTS[fault] for fault in faults))

    ended = bench.run("submit", CLIP_URL, PROMPT, "--json")

    expected = Expected(status=status, posts=posts, tasks=tasks, files=0, journal=journal)
    check(bench, ended, expected)
    check_recovery(bench, ended, CLIP_URL)


def test_a_closed_port_after_a_lost_reply_leaves_the_outcome_unknown(bench: Bench) -> None:
    def handle_and_close(exchange: Exchange) -> None:
        bench.faulty.refuse(Endpoint.SUBMIT)
        reset_after(exchange)

    bench.faulty.script(Endpoint.SUBMIT, handle_and_close)

    ended = bench.run("submit", CLIP_URL, PROMPT, "--json")

    check(bench, ended, Expected(status=9, posts="1", tasks=1, files=0, journal="unknown"))
    check_recovery(bench, ended, CLIP_URL)


def test_a_conflicting_submission_is_never_resent_with_another_key(
    bench: Bench,
) -> None:
    conflict = refusal(409, "idempotency_conflict", "held by request abc")
    bench.faulty.always(Endpoint.SUBMIT, conflict)

    ended = bench.run("submit", CLIP_URL, PROMPT, "--json")

    check(bench, ended, Expected(status=9, posts="1", tasks=0, files=0, journal="unknown"))
    assert "held by request abc" in ended.document["error"]["message"]


def test_a_duplicate_payment_is_reported_if_the_key_is_ignored(
    bench: Bench,
) -> None:
    bench.faulty.script(Endpoint.SUBMIT, reset_after, key_ignored)

    ended = bench.run("submit", CLIP_URL, PROMPT, "--json")

    check(bench, ended, Expected(status=0, posts="2", tasks=2, files=0, journal="accepted"))
    (lost,) = set(bench.task_ids) - {ended.document["task"]["task_id"]}
    assert f"may be paid duplicates: {lost}" in ended.stderr
    edited = bench.run("edit", CLIP_URL, PROMPT, "-o", "out.mp4")
    assert (edited.status, len(bench.task_ids)) == (0, 2), edited


def test_the_matrix_is_as_large_as_the_manual_says() -> None:
    assert f"against {FAULTS_IN_THE_MATRIX} faults" in MANUAL["reliability"].text


RESULT_BYTES: Final = BUNDLED_CLIP.read_bytes()


def inject_fault(bench: Bench, endpoint: Endpoint, row: Row) -> None:
    if row.fault == REFUSED:
        bench.faulty.refuse(
            endpoint,
            reopen_when=lambda: row.duration == ONCE and bench.has_written("cannot connect"),
        )
    elif row.duration == ONCE:
        bench.faulty.script(endpoint, FAULTS[row.fault])
    else:
        bench.faulty.always(endpoint, FAULTS[row.fault])


def with_policy_for(bench: Bench, row: Row) -> Bench:
    """Return a bench whose policy is as patient as the row needs."""
    policy = bench.policy
    if row.fault in TIMEOUT_FAULTS:
        policy = impatient(short_budget(policy, budget_s=1.0))
    elif row.duration == ALWAYS and row.fault not in DELAYING_FAULTS:
        policy = short_budget(policy)
    return bench.with_policy(policy)


def timeout_of(row: Row) -> str:
    """Return the command's `--timeout`; an event ends it earlier."""
    if row.fault == "429, an hour":
        return "2s"  # the last poll is at the deadline
    return "20s" if row.expected.status == 0 else "0.4s"


def check(bench: Bench, ended: Ended, expected: Expected) -> None:
    """Check a command's outcome, and that it always sent the same key and body."""
    journal = {_state(task["status"]) for task in bench.journal()} or {"-"}
    found = Expected(
        status=ended.status,
        posts="+" if expected.posts == "+" and bench.posts > 1 else str(bench.posts),
        tasks=len(bench.task_ids),
        files=len(bench.files()),
        journal="/".join(sorted(journal)),
    )
    assert found == expected, ended
    assert set(bench.files().values()) <= {RESULT_BYTES}
    assert "Traceback" not in ended.stderr
    error = ended.document["error"]
    assert (error is None) == (ended.status == 0)
    if error is not None:
        assert error["exit_status"] == ended.status
    sent = bench.faulty.requests_to(Endpoint.SUBMIT)
    assert len({request.key for request in sent}) <= max(1, len(bench.task_ids)), "same key"
    read = {(request.key, request.body) for request in sent if request.body}
    assert len(read) == len({key for key, _ in read}), "same body"


def check_recovery(bench: Bench, ended: Ended, video: str) -> None:
    """Finish the work with the documented commands, and check that there is only one task."""
    bench.faulty.clear_faults()
    expected = set(bench.task_ids)
    if ended.status == 9:
        resumed = bench.run("submit", "--resume", str(ended.document["error"]["request_id"]))
        assert resumed.status == 0, resumed
        assert resumed.stdout.split() == bench.task_ids
        assert [task["task_id"] for task in bench.journal()] == bench.task_ids
    edited = bench.run("edit", video, PROMPT, "-o", "out.mp4")
    assert (edited.status, edited.stdout) == (0, "out.mp4\n"), edited
    assert len(bench.task_ids) == 1
    assert expected <= set(bench.task_ids)
    assert bench.files() == {"out.mp4": RESULT_BYTES}
    assert [path.name for path in bench.folder.iterdir()] == ["out.mp4"], "nothing is left over"
    saved = chain.from_iterable(task["saved"] for task in bench.journal())
    assert [file["path"] for file in saved] == [str(bench.folder / "out.mp4")]


def _state(status: str) -> str:
    return status if status in {"unknown", "refused", "sending"} else "accepted"
