"""`edit` is like make: what it sends, saves and returns for every known state of an edit.

The three tables below spell out two rules: what was paid for is not paid again, and how existing
targets are treated. Each cell holds the exit status, the number of new tasks on the service, and
the fate of the output: `saved`, `kept` (as it was before) or `nothing` (it does not exist).
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import pytest

from omniedit.sandbox.clips import BUNDLED_CLIP
from tests.commandline import Ended
from tests.contract.readme import MANUAL
from tests.e2e.equipment import CLIP_URL, PROMPT, Bench
from tests.e2e.faulty import Endpoint, marked, refusal, reset_after
from tests.policies import short_budget

pytestmark = pytest.mark.e2e

FLAGS: Final = ("plain", "--again", "--force")
TABLES: Final = {
    # The same output path as in the first call.
    "same output": """
never tried                | 0 1 saved   | 0 1 saved   | 0 1 saved
refused                    | 0 1 saved   | 0 1 saved   | 0 1 saved
unknown                    | 0 0 saved   | 0 1 saved   | 0 0 saved
running                    | 0 0 saved   | 0 1 saved   | 0 0 saved
failed retryable           | 0 1 saved   | 0 1 saved   | 0 1 saved
failed permanently         | 5 0 nothing | 0 1 saved   | 5 0 nothing
cancelled                  | 5 0 nothing | 0 1 saved   | 5 0 nothing
finished and saved here    | 0 0 kept    | 10 0 kept   | 0 0 kept
finished, saved elsewhere  | 0 0 saved   | 0 1 saved   | 0 0 saved
file changed by hand       | 10 0 kept   | 10 0 kept   | 0 0 saved
finished, link expired     | 7 0 nothing | 0 1 saved   | 7 0 nothing
""",
    "other output": """
never tried                | 0 1 saved   | 0 1 saved   | 0 1 saved
refused                    | 0 1 saved   | 0 1 saved   | 0 1 saved
unknown                    | 0 0 saved   | 0 1 saved   | 0 0 saved
running                    | 0 0 saved   | 0 1 saved   | 0 0 saved
failed retryable           | 0 1 saved   | 0 1 saved   | 0 1 saved
failed permanently         | 5 0 nothing | 0 1 saved   | 5 0 nothing
cancelled                  | 5 0 nothing | 0 1 saved   | 5 0 nothing
finished and saved here    | 0 0 saved   | 0 1 saved   | 0 0 saved
finished, saved elsewhere  | 0 0 saved   | 0 1 saved   | 0 0 saved
file changed by hand       | 0 0 saved   | 0 1 saved   | 0 0 saved
finished, link expired     | 7 0 nothing | 0 1 saved   | 7 0 nothing
""",
    # A failed or expired edit is only reported, whatever the output, which stays unchanged.
    "output taken by something else": """
never tried                | 10 0 kept   | 10 0 kept   | 0 1 saved
refused                    | 10 0 kept   | 10 0 kept   | 0 1 saved
unknown                    | 10 0 kept   | 10 0 kept   | 0 0 saved
running                    | 10 0 kept   | 10 0 kept   | 0 0 saved
failed retryable           | 10 0 kept   | 10 0 kept   | 0 1 saved
failed permanently         | 5 0 kept    | 10 0 kept   | 5 0 kept
cancelled                  | 5 0 kept    | 10 0 kept   | 5 0 kept
finished and saved here    | 10 0 kept   | 10 0 kept   | 0 0 saved
finished, saved elsewhere  | 10 0 kept   | 10 0 kept   | 0 0 saved
file changed by hand       | 10 0 kept   | 10 0 kept   | 0 0 saved
finished, link expired     | 7 0 kept    | 10 0 kept   | 7 0 kept
""",
}
OUTPUTS: Final = {
    "same output": "out.mp4",
    "other output": "other.mp4",
    "output taken by something else": "taken.mp4",
}
RESULT_BYTES: Final = BUNDLED_CLIP.read_bytes()
FOREIGN_BYTES: Final = b"\0\0\0\x18ftypmp42: a wedding video\n"
HAND_EDITED_BYTES: Final = RESULT_BYTES + b"free"


def rows() -> list[object]:
    """Return a test case for each cell of the tables."""
    cases: list[object] = []
    for output, table in TABLES.items():
        for line in table.strip().splitlines():
            state, *cells = (cell.strip() for cell in line.split("|"))
            for flag, cell in zip(FLAGS, cells, strict=True):
                name = f"{state}, {output}, {flag}".replace(", ", "-").replace(" ", "_")
                cases.append(pytest.param(state, output, flag, cell, id=name))
    return cases


def test_the_tables_are_complete() -> None:
    assert len(rows()) == 11 * 3 * 3
    assert f"in {len(rows())} combinations" in MANUAL["reliability"].text


@pytest.mark.parametrize(("state", "output", "flag", "expected"), rows())
def test_an_edit_follows_its_table(
    bench: Bench, state: str, output: str, flag: str, expected: str
) -> None:
    STATES[state](bench)
    (bench.folder / "taken.mp4").write_bytes(FOREIGN_BYTES)
    target = bench.folder / OUTPUTS[output]
    known = set(bench.task_ids)
    before = _file_stats(bench.folder)
    journal = {task["request_id"]: task["task_id"] for task in bench.journal()}

    ended = _edit(bench, OUTPUTS[output], *([] if flag == "plain" else [flag]))

    new = set(bench.task_ids) - known
    after = _file_stats(bench.folder)
    assert f"{ended.status} {len(new)} {_fate(target, before, after)}" == expected, ended
    assert ended.stdout == (f"{target.name}\n" if ended.status == 0 else "")
    assert bool(ended.stderr.count("error: ")) == (ended.status != 0)
    others = (before | after).keys() - {target.name}
    assert {name: after.get(name) for name in others} == {name: before.get(name) for name in others}
    # The journal has forgotten nothing, and it knows the new tasks.
    listed = {task["request_id"]: task["task_id"] for task in bench.journal()}
    assert {i: listed[i] for i, task_id in journal.items() if task_id} == {
        i: task_id for i, task_id in journal.items() if task_id
    }
    assert new <= set(listed.values())
    if ended.status == 0:
        final = _edit(bench, "third.mp4")
        assert (final.status, final.stdout) == (0, "third.mp4\n"), final
        assert set(bench.task_ids) == known | new, "a finished edit is not paid again"


@pytest.mark.parametrize("flag", FLAGS)
def test_an_edit_that_never_connected_is_submitted_once(bench: Bench, flag: str) -> None:
    bench.faulty.refuse(Endpoint.SUBMIT)
    assert _edit(bench.with_policy(short_budget()), "out.mp4").status == 8
    bench.faulty.clear_faults()

    ended = _edit(bench, "out.mp4", *([] if flag == "plain" else [flag]))

    assert (ended.status, len(bench.task_ids)) == (0, 1), ended


@pytest.mark.parametrize("first", ["refused locally", "refused by the service", "not uploaded"])
def test_an_edit_retried_with_a_request_id_is_known_by_content(
    bench: Bench, first: str, tmp_path: Path
) -> None:
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(RESULT_BYTES)
    request_id = "ci-run-4711-clip-7"
    taken = bench.folder / "out.mp4"
    match first:
        case "refused locally":
            taken.write_bytes(FOREIGN_BYTES)
        case "refused by the service":
            bench.faulty.script(Endpoint.SUBMIT, refusal(402, "insufficient_quota"))
        case _:
            bench.faulty.script(Endpoint.UPLOAD, refusal(400, "file_quota_exceeded"))
    arguments = ["edit", str(clip), PROMPT, "-o", "out.mp4"]
    assert bench.run(*arguments, "--request-id", request_id).status in {2, 4, 10}
    taken.unlink(missing_ok=True)
    assert bench.run(*arguments, "--request-id", request_id).status == 0

    ended = bench.run("edit", str(clip), PROMPT, "-o", "other.mp4")

    assert (ended.status, len(bench.task_ids)) == (0, 1), ended


def test_a_moved_clip_is_the_same_clip(bench: Bench, tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(RESULT_BYTES)
    assert bench.run("edit", str(clip), PROMPT, "-o", "out.mp4").status == 0
    clip = clip.rename(tmp_path / "moved.mp4")

    ended = bench.run("edit", str(clip), PROMPT, "-o", "other.mp4")

    assert (ended.status, len(bench.task_ids)) == (0, 1), ended


def test_an_intact_file_suffices_while_a_newer_attempt_is_unknown(
    bench: Bench,
) -> None:
    assert _edit(bench, "out.mp4").status == 0
    bench.faulty.script(Endpoint.SUBMIT, reset_after, reset_after)
    assert _edit(bench, "other.mp4", "--again").status == 9
    before = _file_stats(bench.folder)

    ended = _edit(bench, "out.mp4")

    assert (ended.status, ended.stdout) == (0, "out.mp4\n"), ended
    assert _file_stats(bench.folder) == before


def test_a_request_id_pays_once_though_another_machine_uploads_again(
    bench: Bench, tmp_path: Path
) -> None:
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(RESULT_BYTES)
    argv = ["edit", str(clip), PROMPT, "-o", "out.mp4", "--request-id", "ci-run-4711-clip-7"]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert bench.run(*argv).status == 0

    ended = bench.run(*argv, folder=elsewhere, OMNIEDIT_STATE_DIR=str(tmp_path / "another"))

    # The body names another upload, so the service refuses the ID; its task can be found remotely.
    assert (ended.status, len(bench.task_ids)) == (9, 1), ended
    assert "`omniedit list --remote`" in ended.stderr
    assert "--as TASK" in ended.stderr


def _edit(bench: Bench, output: str, *flags: str, folder: Path | None = None) -> Ended:
    return bench.run("edit", CLIP_URL, PROMPT, "-o", output, *flags, folder=folder)


def _never_tried(bench: Bench) -> None:
    assert bench.task_ids == []


def _refused(bench: Bench) -> None:
    bench.faulty.script(Endpoint.SUBMIT, refusal(402, "insufficient_quota"))
    assert _edit(bench, "out.mp4").status == 4


def _unknown(bench: Bench) -> None:
    bench.faulty.script(Endpoint.SUBMIT, reset_after, reset_after)
    assert _edit(bench, "out.mp4").status == 9
    assert len(bench.task_ids) == 1


def _running(bench: Bench) -> None:
    _mark_submission(bench, "[sandbox:seconds=16]")  # 0.8 s: the sandbox is twenty times as fast
    ended = bench.run("edit", CLIP_URL, PROMPT, "-o", "out.mp4", "--timeout", "0.1s")
    assert ended.status == 6, ended


def _failed_retryable(bench: Bench) -> None:
    _mark_submission(bench, "[sandbox:fail=service_unavailable]")
    assert _edit(bench, "out.mp4").status == 5


def _failed_permanently(bench: Bench) -> None:
    _mark_submission(bench, "[sandbox:fail=content_policy_violation]")
    assert _edit(bench, "out.mp4").status == 5


def _cancelled(bench: Bench) -> None:
    _mark_submission(bench, "[sandbox:cancel]")
    assert _edit(bench, "out.mp4").status == 5


def _saved_here(bench: Bench) -> None:
    assert _edit(bench, "out.mp4").status == 0


def _saved_elsewhere(bench: Bench) -> None:
    elsewhere = bench.folder.with_name("elsewhere")
    elsewhere.mkdir()
    assert _edit(bench, "out.mp4", folder=elsewhere).status == 0


def _changed_by_hand(bench: Bench) -> None:
    _saved_here(bench)
    (bench.folder / "out.mp4").write_bytes(HAND_EDITED_BYTES)


def _link_expired(bench: Bench) -> None:
    _mark_submission(bench, "[sandbox:expired]")
    assert _edit(bench, "out.mp4").status == 7


def _mark_submission(bench: Bench, marker: str) -> None:
    bench.faulty.script(Endpoint.SUBMIT, marked(marker))


STATES: Final[Mapping[str, Callable[[Bench], None]]] = {
    "never tried": _never_tried,
    "refused": _refused,
    "unknown": _unknown,
    "running": _running,
    "failed retryable": _failed_retryable,
    "failed permanently": _failed_permanently,
    "cancelled": _cancelled,
    "finished and saved here": _saved_here,
    "finished, saved elsewhere": _saved_elsewhere,
    "file changed by hand": _changed_by_hand,
    "finished, link expired": _link_expired,
}


def _file_stats(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Return for each file what shows whether it was touched."""
    stats = {path.name: path.stat() for path in folder.iterdir()}
    return {name: (s.st_ino, s.st_mtime_ns, s.st_size) for name, s in stats.items()}


def _fate(target: Path, before: Mapping[str, object], after: Mapping[str, object]) -> str:
    if target.name not in after:
        return "nothing"
    if before.get(target.name) == after[target.name]:
        return "kept"
    return "saved" if target.read_bytes() == RESULT_BYTES else "broken"
