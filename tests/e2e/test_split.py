"""`edit --split`: a long clip is cut into pieces, paid for once, and joined again."""

import json
import re
import shlex
import shutil
import signal
import sqlite3
import time
import uuid
from collections.abc import Callable
from contextlib import closing
from fractions import Fraction
from pathlib import Path

import av
import pytest

from omniedit.downloads.placement import Placement
from tests.e2e.equipment import Bench, digest, web_server
from tests.e2e.faulty import Endpoint, Exchange, Reply, answered, held, marked, pass_through
from tests.unit.media.clips import Seen, Sound, audio_frames, make_clip, see

pytestmark = pytest.mark.e2e

WAIT_S = 30.0
FRAME_NUMBERS = [number % 256 for number in range(250)]
BEEPS = [float(second) for second in range(25)]


@pytest.fixture(scope="session")
def long_clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return a clip of 25 s, which makes three pieces."""
    path = tmp_path_factory.mktemp("clips") / "long.mp4"
    # Encoding audio takes longest: use a low sample rate.
    return make_clip(path, seconds=25, sound=Sound(rate=8000)).read_bytes()


@pytest.fixture(autouse=True)
def clip(folder: Path, long_clip: bytes) -> None:
    """Write the long clip to the folder."""
    (folder / "long.mp4").write_bytes(long_clip)


def split_argv(*argv: str) -> tuple[str, ...]:
    return ("edit", "long.mp4", "make it night", "--split", *argv)


def pieces_in(folder: Path) -> list[Path]:
    (pieces_folder,) = folder.glob("*.pieces")
    return sorted(pieces_folder.iterdir())


def leftover_files(home: Path) -> list[Path]:
    return [path for folder in home.rglob("tmp") for path in folder.iterdir()]


def check_joined(path: Path) -> Seen:
    """Compare a joined clip with its original, frame by frame and beep by beep."""
    seen = see(path)
    assert seen.numbers == FRAME_NUMBERS
    assert seen.times == pytest.approx([index / 10 for index in range(250)], abs=0.002)
    assert seen.duration_s == pytest.approx(25, abs=0.1)
    return seen


def test_a_long_clip_is_joined_with_its_original_sound(
    bench: Bench, folder: Path, home: Path
) -> None:
    ended = bench.run(*split_argv("--yes", "-o", "out.mp4"))

    assert (ended.status, ended.stdout) == (0, "out.mp4\n"), ended
    assert check_joined(folder / "out.mp4").beeps == pytest.approx(BEEPS, abs=0.001)
    assert len(bench.task_ids) == len(pieces_in(folder)) == 3
    assert "3 pieces of 8.4 s: about 159.0 credits ($2.34), plus thinking tokens" in ended.stderr
    assert "looks may drift from one to the next" in ended.stderr
    assert "the clip's own sound is laid over the result" in ended.stderr
    assert re.search(r"note: 3 done; [0-9.]+ credits \(\$[0-9.]+\) charged\n", ended.stderr)
    assert ended.stderr.index("3 pieces") < ended.stderr.index("submitted")
    assert leftover_files(home) == []


def test_wait_without_a_task_is_refused_after_a_split(bench: Bench, folder: Path) -> None:
    bench.run("submit", "https://example.com/clip.mp4", "an older edit")
    bench.run(*split_argv("--yes"))

    ended = bench.run("wait")

    assert ended.status == 2
    assert "the newest command made several tasks" in ended.stderr


def test_a_repeated_split_sends_nothing_and_keeps_the_file(bench: Bench, folder: Path) -> None:
    first = bench.run(*split_argv("--yes"))
    (out,) = folder.glob("long-make-it-night-*.mp4")
    before = out.stat()

    again = bench.run(*split_argv())

    assert (first.status, again.status) == (0, 0), again
    assert again.stdout == first.stdout == f"{out.name}\n"
    assert (out.stat().st_ino, out.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert bench.posts == 3


def test_joining_with_the_new_sound_costs_nothing(bench: Bench, folder: Path) -> None:
    bench.run(*split_argv("--yes", "-o", "out.mp4"))

    ended = bench.run(*split_argv("--sound", "new", "-o", "new.mp4", "--json"))

    assert ended.status == 0, ended
    assert check_joined(folder / "new.mp4").beeps == pytest.approx(BEEPS, abs=0.025)
    assert ended.document["joined"]["path"] == str(folder / "new.mp4")
    assert [task["piece"] for task in ended.document["tasks"]] == [1, 2, 3]
    assert [task["end_seconds"] for task in ended.document["tasks"]] == [8.3, 16.7, 25.0]
    assert len(pieces_in(folder)) == bench.posts == 3


@pytest.mark.parametrize(
    "marks",
    [
        pytest.param(("--end", "8.3"), id="first"),
        pytest.param(("--start", "0", "--end", "8.3"), id="first-from-0"),
        pytest.param(("--start", "8.3", "--end", "0:16.7"), id="middle"),
        pytest.param(("--start", "16.7"), id="last"),
    ],
)
def test_a_piece_is_the_same_edit_as_one_with_its_marks(
    bench: Bench, folder: Path, marks: tuple[str, ...]
) -> None:
    bench.run("edit", "long.mp4", "make it night", *marks)

    ended = bench.run(*split_argv("--yes", "-o", "out.mp4"))

    assert ended.status == 0, ended
    assert "3 pieces of 8.4 s: 1 known here, 2 to be paid" in ended.stderr
    assert bench.posts == 3
    check_joined(folder / "out.mp4")


def test_the_newest_result_of_a_piece_is_joined(bench: Bench, folder: Path) -> None:
    bench.run(*split_argv("--yes", "-o", "out.mp4"))
    redo = ("--start", "8.3", "--end", "16.7", "--again", "--json")
    (newest,) = bench.run("edit", "long.mp4", "make it night", *redo).document["tasks"]

    ended = bench.run(*split_argv("-o", "out.mp4", "--force", "--json"))

    assert ended.status == 0, ended
    assert ended.document["tasks"][1]["task_id"] == newest["task_id"]
    assert len(bench.task_ids) == 4
    assert [path.name for path in pieces_in(folder)] == ["01.mp4", "02-2.mp4", "02.mp4", "03.mp4"]
    check_joined(folder / "out.mp4")


def test_pieces_are_saved_in_order_beside_the_joined_clip(bench: Bench, folder: Path) -> None:
    bench.run(*split_argv("--yes", "-o", "out.mp4"))

    (pieces_folder,) = folder.glob("long-make-it-night-??????.pieces")
    assert [path.name for path in pieces_in(folder)] == ["01.mp4", "02.mp4", "03.mp4"]
    assert pieces_folder.is_dir()


@pytest.mark.parametrize("output", ["long.mp4", "copy.mp4"])
def test_the_joined_clip_never_replaces_its_source(bench: Bench, folder: Path, output: str) -> None:
    before = (folder / "long.mp4").read_bytes()
    shutil.copy(folder / "long.mp4", folder / "copy.mp4")

    ended = bench.run(*split_argv("--yes", "-o", output, "--force"))

    assert (ended.status, bench.posts) == (10, 0), ended
    assert (folder / output).read_bytes() == before


def test_a_pieces_reported_marks_are_exact(bench: Bench, folder: Path) -> None:
    make_clip(folder / "long.mp4", times=range(750), tick=Fraction(1001, 30000))
    pieces = bench.run(*split_argv("--yes", "-o", "out.mp4", "--json")).document["tasks"]

    marks = [
        ("--start", str(piece["start_seconds"]), "--end", str(piece["end_seconds"]))
        for piece in pieces[:-1]
    ]
    known = [bench.run("edit", "long.mp4", "make it night", *mark, "--json") for mark in marks]

    assert [each.document["tasks"][0]["task_id"] for each in known] == [
        piece["task_id"] for piece in pieces[:-1]
    ]
    assert bench.posts == 3


def test_a_part_of_a_clip_can_be_split(bench: Bench, folder: Path) -> None:
    ended = bench.run(*split_argv("--yes", "--start", "2.5", "--end", "0:15", "-o", "out.mp4"))

    seen = see(folder / "out.mp4")
    assert ended.status == 0, ended
    assert seen.numbers == list(range(25, 150))
    assert seen.beeps == pytest.approx([second + 0.5 for second in range(12)], abs=0.001)
    assert bench.posts == 2


def test_a_short_clip_is_one_piece(bench: Bench, folder: Path) -> None:
    make_clip(folder / "long.mp4", seconds=2, sound=Sound())

    ended = bench.run(*split_argv("--yes", "-o", "out.mp4"))

    assert ended.status == 0, ended
    assert see(folder / "out.mp4").numbers == list(range(20))
    assert bench.posts == 1


def test_the_joined_clip_can_be_written_to_stdout(bench: Bench, folder: Path) -> None:
    process = bench.start(*split_argv("--yes", "-o", "-"))
    stdout, stderr = process.communicate(timeout=WAIT_S)

    (folder / "piped.mp4").write_bytes(stdout)
    assert process.returncode == 0, stderr
    check_joined(folder / "piped.mp4")
    assert [task["saved"] for task in bench.journal()] == [[], [], []]


def test_events_name_every_piece_and_the_joined_clip(bench: Bench, folder: Path) -> None:
    ended = bench.run(*split_argv("--yes", "-o", "out.mp4", "--events"))

    saved = [event for event in ended.events if event["event"] == "saved"]
    assert [event["task_id"] is None for event in saved] == [False, False, False, True]
    assert saved[-1]["path"] == str(folder / "out.mp4")
    assert ended.events[-1]["event"] == "done"
    assert len(ended.events[-1]["tasks"]) == 3


@pytest.mark.parametrize(
    ("argv", "status", "expected_text"),
    [
        pytest.param((), 2, "there is no terminal to ask", id="no-consent"),
        pytest.param(
            ("--yes", "--max-credits", "100"),
            12,
            "the estimate for 3 pieces is 159.0 credits",
            id="over-max-credits",
        ),
        pytest.param(("--yes", "-o", "taken.mp4"), 10, "taken.mp4 exists", id="target-exists"),
        pytest.param(
            ("--yes", "--request-id", "0123456789abcdef"), 2, "several", id="one-request-id"
        ),
        pytest.param(("--yes", "--start", "30"), 2, "beyond the end", id="mark-beyond-the-end"),
    ],
)
def test_a_refused_split_sends_nothing(
    bench: Bench, folder: Path, argv: tuple[str, ...], *, status: int, expected_text: str
) -> None:
    (folder / "taken.mp4").write_text("mine")

    ended = bench.run(*split_argv(*argv, "--json"))

    assert ended.status == status, ended
    assert expected_text in ended.document["error"]["message"]
    assert (ended.document["joined"], bench.posts) == (None, 0)
    assert (folder / "taken.mp4").read_text() == "mine"


def test_a_file_as_pieces_folder_is_refused_before_submitting(
    bench: Bench, tmp_path: Path, folder: Path
) -> None:
    bench.run(*split_argv("--yes", "-o", "out.mp4"), XDG_STATE_HOME=str(tmp_path / "elsewhere"))
    (pieces_folder,) = folder.glob("*.pieces")
    (folder / "out.mp4").unlink()
    shutil.rmtree(pieces_folder)
    pieces_folder.touch()

    ended = bench.run(*split_argv("--yes", "-o", "out.mp4"))

    assert (ended.status, bench.posts) == (10, 3), ended
    assert f"{pieces_folder} is not a folder" in ended.stderr


def test_yes_requires_split(bench: Bench) -> None:
    ended = bench.run("edit", "long.mp4", "make it night", "--yes")

    assert (ended.status, bench.posts) == (2, 0)
    assert "`--yes` requires --split" in ended.stderr


@pytest.mark.parametrize(
    ("change_s", "argv", "duration_s", "expected_text"),
    [
        pytest.param(
            -0.5, (), 25.0, "0.5 s shorter than its piece: its last frame is held", id="short"
        ),
        pytest.param(0.5, (), 25.0, "0.5 s longer than its piece: its end is cut off", id="long"),
        pytest.param(-0.1, (), 25.0, None, id="one-frame-short"),
        pytest.param(
            -0.5, ("--sound", "new"), 23.5, "0.5 s shorter than its piece", id="new-sound"
        ),
    ],
)
def test_a_result_of_the_wrong_length_is_a_warning(
    bench: Bench,
    tmp_path: Path,
    folder: Path,
    argv: tuple[str, ...],
    *,
    change_s: float,
    duration_s: float,
    expected_text: str | None,
) -> None:
    def resized(exchange: Exchange) -> None:
        path = tmp_path / f"{uuid.uuid4()}.mp4"
        path.write_bytes(exchange.forward().body)
        seconds = see(path).duration_s + change_s
        answered(200, make_clip(path, seconds=seconds, sound=Sound()).read_bytes())(exchange)

    bench.faulty.always(Endpoint.RESULT, resized)

    ended = bench.run(*split_argv("--yes", "-q", "-o", "out.mp4", *argv))

    assert ended.status == 0, ended
    with av.open(str(folder / "out.mp4")) as container:
        assert (container.duration or 0) / av.time_base == pytest.approx(duration_s, abs=0.1)
    if expected_text is None:
        assert ended.stderr == ""
    else:
        assert expected_text in ended.stderr


def test_a_failed_piece_leaves_nothing_joined(bench: Bench, folder: Path) -> None:
    prompt = "make it night [sandbox:fail=content_policy_violation]"

    ended = bench.run("edit", "long.mp4", prompt, "--split", "--yes", "-o", "out.mp4")

    assert ended.status == 5, ended
    assert "error: piece 1 of 3: " in ended.stderr
    assert not (folder / "out.mp4").exists()


@pytest.mark.parametrize(
    ("marker", "status"),
    [
        pytest.param("[sandbox:expired]", 7, id="result-gone"),
        pytest.param("[sandbox:cancel]", 5, id="cancelled"),
    ],
)
def test_the_hint_for_a_failed_piece_pays_only_for_that_piece(
    bench: Bench, folder: Path, marker: str, *, status: int
) -> None:
    bench.run("edit", "long.mp4", "make it night", "--end", "8.3")
    bench.run("edit", "long.mp4", "make it night", "--start", "16.7")
    bench.faulty.script(Endpoint.SUBMIT, marked(marker))

    ended = bench.run(*split_argv("--yes", "-o", "out.mp4", "--json"))
    hint = ended.document["error"]["hint"]
    line = hint.replace("VIDEO", "long.mp4").replace("PROMPT", "'make it night'").split("`")[1]
    resubmitted = bench.run(*shlex.split(line)[1:])
    joined = bench.run(*split_argv("-o", "out.mp4"))

    assert ended.status == status, ended
    assert "--start 8.3 --end 16.7 --again" in hint
    assert (resubmitted.status, joined.status) == (0, 0), (resubmitted, joined)
    assert len(bench.task_ids) == 4
    check_joined(folder / "out.mp4")


def test_a_result_without_video_is_reported_before_joining(
    bench: Bench, tmp_path: Path, folder: Path
) -> None:
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=48000, layout="mono")
        for frame in (*audio_frames(Sound(), 8.0, "fltp"), None):
            container.mux(stream.encode(frame))
    content = (tmp_path / "sound.mp4").read_bytes()
    bench.faulty.script(Endpoint.RESULT, pass_through, answered(200, content))

    ended = bench.run(*split_argv("--yes", "-o", "out.mp4"))

    assert ended.status == 7, ended
    assert "cannot be joined" in ended.stderr
    assert "has no video stream" in ended.stderr
    assert "--again` makes this piece again, and only this piece is charged" in ended.stderr
    assert "PROMPT" not in ended.stderr
    assert not (folder / "out.mp4").exists()
    assert len(pieces_in(folder)) == 3


@pytest.mark.parametrize(
    ("signal_number", "status"),
    [
        pytest.param(getattr(signal, "SIGKILL", 9), -9, id="killed"),
        pytest.param(signal.SIGINT, 130, id="ctrl-c"),
        pytest.param(signal.SIGTERM, 143, id="terminated"),
    ],
)
@pytest.mark.parametrize("tasks", [1, 3])
def test_the_same_command_finishes_an_interrupted_split(
    make_bench: Callable[..., Bench],
    folder: Path,
    home: Path,
    *,
    signal_number: signal.Signals,
    status: int,
    tasks: int,
) -> None:
    bench = make_bench(edit_seconds=1.0, time_scale=1.0)

    process = bench.start(*split_argv("--yes", "-o", "out.mp4"))
    deadline = time.monotonic() + WAIT_S
    while len(bench.task_ids) < tasks:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal_number)
    _, stderr = process.communicate(timeout=WAIT_S)
    is_clean = leftover_files(home) == []
    again = bench.run(*split_argv("--yes", "-o", "out.mp4"))

    assert process.returncode == status, stderr
    if signal_number is not signal.SIGKILL:
        assert is_clean
        assert (
            b"`omniedit edit long.mp4 'make it night' --split --yes -o out.mp4` picks up" in stderr
        )
    assert (again.status, again.stdout) == (0, "out.mp4\n"), again
    assert len(bench.task_ids) == 3
    check_joined(folder / "out.mp4")


def test_an_unfinished_resubmission_is_what_the_next_split_joins(
    make_bench: Callable[..., Bench], folder: Path
) -> None:
    bench = make_bench(edit_seconds=1.0, time_scale=1.0)
    bench.run(*split_argv("--yes", "-o", "out.mp4"))
    before = set(bench.task_ids)

    bench.begin(*split_argv("--yes", "-o", "out.mp4", "--force", "--again", "--timeout", "0"))
    timed_out = bench.end()
    ended = bench.run(*split_argv("-o", "out.mp4", "--force", "--json"))

    assert timed_out.status == 6, timed_out
    assert "--split --yes -o out.mp4 --force --timeout 0` picks up 3" in timed_out.stderr
    assert ended.status == 0, ended
    assert {task["task_id"] for task in ended.document["tasks"]} == set(bench.task_ids) - before
    assert len(bench.task_ids) == 6
    check_joined(folder / "out.mp4")


@pytest.mark.parametrize("again", [(), ("--again",)])
def test_saved_pieces_are_joined_for_free_after_a_target_conflict(
    bench: Bench, folder: Path, again: tuple[str, ...]
) -> None:
    bench.faulty.script(Endpoint.RESULT, held)

    bench.begin(*split_argv("--yes", "-o", "out.mp4", *again))
    while not bench.faulty.count(Endpoint.RESULT):
        time.sleep(0.01)
    (folder / "out.mp4").write_text("mine")
    bench.faulty.released.set()
    ended = bench.end()
    (folder / "out.mp4").unlink()
    joined = bench.run(*split_argv("-o", "out.mp4"))

    assert ended.status == 10, ended
    assert "--split --yes -o out.mp4` joins them at no cost" in ended.stderr
    assert joined.status == 0, joined
    assert len(bench.task_ids) == 3
    check_joined(folder / "out.mp4")


def test_no_piece_is_cut_from_a_clip_that_has_changed(bench: Bench, folder: Path) -> None:
    clip = folder / "long.mp4"
    before = make_clip(clip, seconds=45).read_bytes()
    bench.faulty.script(Endpoint.UPLOAD, held, held, held, held)

    bench.begin(*split_argv("--yes", "-o", "out.mp4"))
    while bench.faulty.count(Endpoint.UPLOAD) < 4:
        time.sleep(0.01)
    make_clip(clip, seconds=45, first_number=100)
    bench.faulty.released.set()
    ended = bench.end()
    clip.write_bytes(before)
    again = bench.run(*split_argv("--yes", "-o", "out.mp4"))

    assert ended.status == 10, ended
    assert "piece 5 of 5: long.mp4 changed after it was checked" in ended.stderr
    assert again.status == 0, again
    assert see(folder / "out.mp4").numbers == [number % 256 for number in range(450)]
    assert len(bench.task_ids) == 5


def test_a_leftover_part_file_of_the_joined_clip_is_removed(bench: Bench, folder: Path) -> None:
    bench.run(*split_argv("--yes", "-o", "out.mp4"))
    path = folder / "out.mp4"
    # The state right after the file got its final name.
    (folder / f".out.mp4.{digest(path.read_bytes())[-8:]}.part").hardlink_to(path)

    ended = bench.run(*split_argv("-o", "out.mp4"))

    assert ended.status == 0, ended
    assert [path.name for path in folder.glob(".*")] == []


def test_the_join_waits_no_longer_than_the_time_limit(bench: Bench, folder: Path) -> None:
    bench.run(*split_argv("--yes", "-o", "out.mp4"))
    out = folder / "out.mp4"
    part = Placement(sleep=time.sleep).open_part(out, digest(out.read_bytes()), overwrite=True)
    assert part is not None
    out.unlink()

    with part:
        ended = bench.run(*split_argv("-o", "out.mp4", "--timeout", "1s"))

    assert ended.status == 10, ended
    assert "another omniedit is downloading" in ended.stderr


def test_two_concurrent_splits_pay_for_each_piece_once(bench: Bench, folder: Path) -> None:
    argv = split_argv("--yes", "-o", "out.mp4")

    both = bench.run_at_once(argv, argv)

    assert [ended.status for ended in both] == [0, 0], both
    assert len(bench.task_ids) == 3
    check_joined(folder / "out.mp4")


def test_a_remote_clip_is_fetched_once_for_all_pieces(
    bench: Bench, tmp_path: Path, folder: Path, home: Path
) -> None:
    (tmp_path / "web").mkdir()
    (folder / "long.mp4").rename(tmp_path / "web" / "long.mp4")

    with web_server(tmp_path / "web") as (url, requested):
        argv = ("edit", f"{url}/long.mp4", "make it night", "--split", "-o", "out.mp4")
        ended = bench.run(*argv, "--yes")

    assert ended.status == 0, ended
    assert (len(requested), bench.posts) == (1, 3)
    check_joined(folder / "out.mp4")
    assert leftover_files(home) == []
    assert json.loads(bench.run("list", "--json").stdout)["tasks"][0]["video"] == f"{url}/long.mp4"


@pytest.mark.parametrize("marks", [(), ("--start", "2", "--end", "0:20")], ids=["whole", "part"])
def test_a_joined_remote_clip_is_known_when_its_host_is_gone(
    bench: Bench, tmp_path: Path, folder: Path, marks: tuple[str, ...]
) -> None:
    (tmp_path / "web").mkdir()
    (folder / "long.mp4").rename(tmp_path / "web" / "long.mp4")
    with web_server(tmp_path / "web") as (url, _):
        video = f"{url}/long.mp4?key=secret"
        argv = ("edit", video, "make it night", "--split", *marks, "--json", "--sidecar")
        first = bench.run(*argv, "--yes")
    (sidecar,) = folder.glob("*.mp4.json")
    sidecar.unlink()

    again = bench.run(*argv)

    assert (first.status, again.status) == (0, 0), again
    assert "the results are already joined" in again.stderr
    assert again.document["joined"] == first.document["joined"]
    keys = ("task_id", "piece", "start_seconds", "end_seconds", "saved")
    first_pieces, pieces = (
        [[task[key] for key in keys] for task in ended.document["tasks"]]
        for ended in (first, again)
    )
    assert pieces == first_pieces
    assert sidecar.exists()


def test_a_split_of_a_remote_clip_reads_no_other_edits(
    bench: Bench, tmp_path: Path, folder: Path, home: Path
) -> None:
    (tmp_path / "web").mkdir()
    (folder / "long.mp4").rename(tmp_path / "web" / "long.mp4")
    bench.run("submit", "https://example.com/clip.mp4", "another edit")
    (journal,) = home.rglob("journal.db")
    with closing(sqlite3.connect(journal)) as connection, connection:
        connection.execute("update attempts set clip = '{'")

    with web_server(tmp_path / "web") as (url, _):
        ended = bench.run("edit", f"{url}/long.mp4", "make it night", "--split", "--yes")

    assert ended.status == 0, ended


def test_a_later_sidecar_describes_pieces_that_a_faulty_service_gave_one_task(
    bench: Bench, folder: Path
) -> None:
    replies: list[Reply] = []

    def first_again(exchange: Exchange) -> None:
        replies.append(exchange.forward())
        exchange.send(replies[0].head + replies[0].body)

    bench.faulty.always(Endpoint.SUBMIT, first_again)
    argv = split_argv("--yes", "--sidecar", "-o", "joined.mp4")
    sidecar = folder / "joined.mp4.json"

    assert bench.run(*argv).status == 0
    written = sidecar.read_text()
    sidecar.unlink()

    assert bench.run(*argv).status == 0
    assert sidecar.read_text() == written


def test_a_remote_clip_is_fetched_to_join_a_newer_result(
    bench: Bench, tmp_path: Path, folder: Path
) -> None:
    (tmp_path / "web").mkdir()
    (folder / "long.mp4").rename(tmp_path / "web" / "long.mp4")
    with web_server(tmp_path / "web") as (url, requested):
        argv = ("edit", f"{url}/long.mp4", "make it night")
        bench.run(*argv, "--split", "--yes", "-o", "out.mp4")
        redone = bench.run(*argv, "--start", "8.3", "--end", "16.7", "--again", "-o", "redone.mp4")
        requested.clear()

        again = bench.run(*argv, "--split", "--force", "-o", "out.mp4")

    assert (redone.status, again.status) == (0, 0), again
    assert "joining the results" in again.stderr
    assert len(requested) == 1


@pytest.mark.parametrize(
    ("path", "status", "expected_text"),
    [
        pytest.param(
            "/none.mp4", 2, "the clip link answered 404: it expired, or the clip is gone", id="404"
        ),
        pytest.param("/page.mp4", 2, "the clip link delivers an XML or HTML page", id="web-page"),
        pytest.param(
            "", 8, "the clip cannot be fetched: cannot connect to", id="connection-refused"
        ),
    ],
)
def test_a_failed_fetch_names_the_clip_not_a_result(
    bench: Bench, tmp_path: Path, *, path: str, status: int, expected_text: str
) -> None:
    (tmp_path / "page.mp4").write_text("<html></html>")

    with web_server(tmp_path) as (url, _):
        video = f"{url}{path}" if path else "http://127.0.0.1:9/long.mp4"
        ended = bench.run("edit", video, "make it night", "--split", "--yes", "--json")

    assert (ended.status, bench.posts) == (status, 0), ended
    assert expected_text in ended.document["error"]["message"]
    assert ended.document["error"]["task_id"] is None
    assert "result" not in ended.stderr


@pytest.mark.parametrize(
    ("argv", "status", "expected_text"),
    [
        pytest.param(("",), 2, "the prompt is empty", id="empty-prompt"),
        pytest.param(("x", "--start", "soon"), 2, "soon", id="invalid-mark"),
        pytest.param(("x", "--callback-url", "nowhere"), 2, "callback URL", id="invalid-callback"),
    ],
)
def test_a_remote_clip_is_not_fetched_for_invalid_arguments(
    bench: Bench, tmp_path: Path, argv: tuple[str, ...], *, status: int, expected_text: str
) -> None:
    with web_server(tmp_path) as (url, requested):
        ended = bench.run("edit", f"{url}/long.mp4", *argv, "--split", "--yes")

    assert (ended.status, requested, bench.posts) == (status, [], 0), ended
    assert expected_text in ended.stderr


@pytest.mark.parametrize("is_local", [True, False], ids=["local", "remote"])
def test_without_the_media_extra_nothing_is_fetched_or_sent(
    bench: Bench, tmp_path: Path, *, is_local: bool
) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['av'] = None\n")

    with web_server(tmp_path) as (url, requested):
        clip = "long.mp4" if is_local else f"{url}/long.mp4"
        argv = ("edit", clip, "make it night", "--split", "--yes")
        ended = bench.installed(*argv, PYTHONPATH=str(tmp_path))

    assert (ended.status, requested, bench.posts) == (2, [], 0), ended
    assert "splitting a clip needs the extra `media`" in ended.stderr
    assert 'pip install "omniedit[media]"' in ended.stderr


def test_a_missing_key_is_reported_before_asking_for_consent(bench: Bench) -> None:
    ended = bench.run(*split_argv("-o", "out.mp4"), OMNIEDIT_API_KEY="")

    assert (ended.status, bench.posts) == (3, 0), ended
    assert ended.stderr.count("error:") == 1


def test_saved_pieces_are_joined_without_the_service(bench: Bench, folder: Path) -> None:
    bench.run(*split_argv("--yes", "-o", "out.mp4"))
    bench.service.close()

    ended = bench.run(*split_argv("-o", "other.mp4"))

    assert ended.status == 0, ended
    check_joined(folder / "other.mp4")
