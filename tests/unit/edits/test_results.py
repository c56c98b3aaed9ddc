"""A saved result is probed once, compared with the clip, and recorded."""

import hashlib
from io import FileIO
from pathlib import Path

import httpx
import pytest

from omniedit.downloads.placement import BUSY_PAUSE_S, Placement, saved_file
from omniedit.edits.clips import fetched_file
from omniedit.edits.edit import EditOptions, edit
from omniedit.edits.save import save, with_links
from omniedit.edits.targets import Destination, Target
from omniedit.edits.wait import download
from omniedit.errors import ResultGoneError, TargetBusyError, WaitTimeoutError
from omniedit.events import Noted, Warned
from omniedit.models import EditRequest, Record, Task, VideoFacts
from omniedit.policy import DEFAULT
from tests.unit.edits.bench import CLIP_URL, BenchSession, completed, record_of, video_of
from tests.unit.media.clips import make_clip, with_manifest

CLIP = VideoFacts(width=160, height=120, frame_rate=10.0, duration_s=4.0, codec="h264")


@pytest.fixture
def session(cwd: Path) -> BenchSession:
    session = BenchSession(probes_results=True, folder=cwd / "private")
    session.script.on_read = completed
    return session


def download_result(
    session: BenchSession, content: bytes, *, clip: VideoFacts | None = CLIP
) -> Record:
    session.script.video = lambda _: content
    session.journal.record_adopted(completed("task-1"), origin=session.origin)
    record = record_of(completed("task-1"), clip_facts=clip, origin=session.origin)
    saved, error = download(session, record, Destination("out.mp4"))
    assert error is None
    return saved


def messages(session: BenchSession) -> list[str]:
    return [event.message for kind in (Noted, Warned) for event in session.reported(kind)]


def test_a_results_facts_and_c2pa_mark_are_recorded(session: BenchSession, cwd: Path) -> None:
    clip = with_manifest(make_clip(cwd / "clip.mp4", seconds=4))

    [file] = download_result(session, clip.read_bytes(), clip=None).saved

    known = session.journal.find_task("task-1")
    assert known is not None
    assert known.saved == (file,)
    assert file.facts is not None
    assert (file.facts.codec, file.facts.marks) == ("h264", ("c2pa",))
    assert messages(session) == []


def test_differences_from_the_clip_are_noted_in_one_line(session: BenchSession, cwd: Path) -> None:
    content = make_clip(cwd / "clip.mp4", seconds=4).read_bytes()

    [file] = download_result(session, content, clip=CLIP._replace(width=1920, height=1080)).saved

    facts = file.facts
    assert facts is not None
    assert messages(session) == [
        f"the result is {facts.width}x{facts.height} at 10 fps; the clip is 1920x1080 at 10 fps"
    ]


def test_a_result_shorter_than_half_the_clip_gets_a_warning(
    session: BenchSession, cwd: Path
) -> None:
    download_result(session, make_clip(cwd / "clip.mp4", seconds=1).read_bytes())

    [warning] = session.reported(Warned)
    assert warning.message == "out.mp4 is shorter than half the clip: 1.00 s of 4.00 s"


def test_an_unplayable_result_gets_a_warning_and_is_kept(session: BenchSession) -> None:
    [file] = download_result(session, video_of("task-1")).saved

    [warning] = session.reported(Warned)
    assert warning.message.startswith("out.mp4 may not be playable: ")
    assert (file.facts, Path(file.path).exists()) == (None, True)


def test_a_result_identical_to_its_clip_may_be_replaced_but_not_the_clip(
    session: BenchSession, cwd: Path
) -> None:
    content = make_clip(cwd / "clip.mp4", seconds=4).read_bytes()
    session.script.video = lambda _: content
    first, second = (
        record_of(
            completed(f"task-{number}"),
            request_id=f"request-{number}",
            clip_sha256=hashlib.sha256(content).hexdigest(),
            origin=session.origin,
        )
        for number in (1, 2)
    )
    for record in (first, second):
        session.journal.record_attempt(record, context="user")
        session.journal.record_accepted(
            str(record.request_id), completed(str(record.task_id)), origin=session.origin
        )

    download(session, first, Destination("out.mp4"))
    again, _ = download(session, second, Destination("out.mp4", overwrite=True))
    _, refusal = download(session, second, Destination("clip.mp4", overwrite=True))

    assert "is the clip being edited" in str(refusal)
    assert [file.path for file in again.saved] == [str(cwd / "out.mp4")]
    assert (cwd / "clip.mp4").read_bytes() == content


def test_an_edit_that_is_done_reads_its_result_once(
    session: BenchSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = EditOptions(destination=Destination("out.mp4"), timeout_s=60.0)
    request = EditRequest(video=CLIP_URL, prompt="task-1")
    file_digest = hashlib.file_digest
    reads = list[str]()

    def counted(file: FileIO, name: str) -> "hashlib._Hash":
        reads.append(name)
        return file_digest(file, name)

    session.script.on_submit = completed
    edit(session, request, options)
    monkeypatch.setattr(hashlib, "file_digest", counted)
    edit(session, request, options)

    assert len(reads) == 1


def test_an_unreadable_result_link_is_not_recorded_as_gone() -> None:
    reply = {"id": "task-1", "status": "completed", "results": ["ftp://r.example/1.mp4"]}
    session = BenchSession(transport=lambda _: httpx.Response(200, json=reply))
    task = Task(task_id="task-1", status="completed")
    session.journal.record_adopted(task, origin=session.origin)

    with pytest.raises(ResultGoneError, match="a result without a link"):
        with_links(session, record_of(task), deadline=None)

    found = session.journal.find_task("task-1")
    assert found
    assert not found.is_result_gone


def test_copying_a_result_waits_for_another_process_as_long_as_the_policy_says() -> None:
    session = BenchSession(policy=DEFAULT._replace(busy_budget_s=5.0))
    Path("saved.mp4").write_bytes(video_of("task-1"))
    saved = saved_file(Path("saved.mp4"))
    target = Path("copy.mp4").absolute()
    part = Placement(sleep=session.sleep).open_part(target, saved.sha256, overwrite=False)
    assert part is not None

    with part, pytest.raises(TargetBusyError):
        session.placement().copy(saved, target, overwrite=False)

    assert sum(session.time.rests) == pytest.approx(5.0, abs=BUSY_PAUSE_S + 0.01)


def test_waiting_for_another_download_keeps_to_the_deadline(tmp_path: Path) -> None:
    session = BenchSession(folder=tmp_path / "private")
    target = Target(path=Path("out.mp4").absolute(), shown="out.mp4")
    part = Placement(sleep=session.sleep).open_part(target.path, "task-1", overwrite=False)
    assert part is not None

    with part, pytest.raises(WaitTimeoutError, match="is completed, but time ran out"):
        save(session, record_of(completed("task-1")), target, deadline=20.0)

    assert session.time.now == pytest.approx(20.0, abs=BUSY_PAUSE_S + 0.01)
    assert messages(session) == ["waiting for another process, which is saving the same file"]


def test_a_fetched_file_is_private_and_lasts_for_its_block(tmp_path: Path) -> None:
    folder = tmp_path / "private"
    session = BenchSession(folder=folder)
    url = completed("task-1").result_urls[0]

    with fetched_file(session, url, name="task-1", task_id="task-1", deadline=None) as path:
        content = path.read_bytes()
        mode = path.parent.stat().st_mode & 0o777

    assert content == video_of("task-1")
    assert mode == 0o700
    assert list(folder.iterdir()) == []


def test_a_failed_fetch_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "private"
    session = BenchSession(folder=folder, transport=lambda _: httpx.Response(404))

    with (
        pytest.raises(ResultGoneError),
        fetched_file(session, "https://results.example.com/a.mp4", name="a", deadline=None),
    ):
        pass

    assert list(folder.iterdir()) == []
