"""Clips are found in folders, probed once, and checked again before submission."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest

from omniedit import models
from omniedit.edits.clips import clips_of, file_facts, probe
from omniedit.edits.edit import EditOptions, edit
from omniedit.edits.requests import prepare
from omniedit.edits.targets import Destination
from omniedit.errors import (
    InvalidInputError,
    LocalError,
    OmniEditError,
    UnavailableError,
    WaitTimeoutError,
)
from omniedit.events import Noted, Saved, Warned
from omniedit.models import DEFAULT_MODEL, EditRequest, find_model
from tests.unit.edits.bench import CLIP_URL, RESULTS_URL, BenchSession, completed

pytest.importorskip("av")
from tests.unit.media.clips import Sound, make_clip


def notes_of(session: BenchSession) -> list[str]:
    return [event.message for kind in (Noted, Warned) for event in session.reported(kind)]


def test_a_clip_is_probed_again_only_after_it_changes(
    session: BenchSession, tmp_path: Path
) -> None:
    clip = make_clip(tmp_path / "a.mp4", seconds=1)

    first, second = file_facts(session, clip), file_facts(session, clip)
    make_clip(clip, seconds=2)
    third = file_facts(session, clip)

    assert first is second
    assert third != first


def test_a_clip_is_probed_once_by_all_sessions_of_a_command(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mp4", seconds=1)
    remembered = dict[Any, Any]()
    planning, running = (BenchSession(remembered=remembered) for _ in range(2))

    assert file_facts(planning, clip) is file_facts(running, clip)


def test_a_clip_deleted_during_the_folder_scan_is_still_listed(
    session: BenchSession, tmp_path: Path
) -> None:
    clip = tmp_path / "clip.mp4"
    clip.touch()

    def delete_clip() -> list[models.SavedFile]:
        clip.unlink()
        return []

    session.journal.saved_files = delete_clip  # type: ignore[method-assign]

    assert clips_of(session, [str(tmp_path)]) == [str(clip)]


@pytest.mark.posix
def test_a_file_named_like_a_task_reference_stays_a_file(
    session: BenchSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("clip.mp4", "task:abc.mp4"):
        make_clip(tmp_path / name, seconds=1)

    clips = clips_of(session, ["."])

    requests = [prepare(session, EditRequest(video=clip, prompt="warmer")) for clip in clips]
    assert clips == ["clip.mp4", "./task:abc.mp4"]
    assert {request.request.parent for request in requests} == {None}


def test_a_video_page_is_refused_unless_checks_are_off(session: BenchSession) -> None:
    request = EditRequest(video="https://youtu.be/dQw4w9WgXcQ", prompt="warmer")

    for check in (
        lambda: prepare(session, request),
        lambda: probe(session, request.video, find_model(DEFAULT_MODEL)),
    ):
        with pytest.raises(InvalidInputError, match=r"a page of youtu\.be"):
            check()

    assert prepare(session, request._replace(check=False)).clip_id == request.video


@pytest.mark.parametrize("name", ["out.mp4", "out-2.mp4"])
def test_a_deleted_result_is_restored_when_sound_is_removed(
    session: BenchSession, cwd: Path, name: str
) -> None:
    content = make_clip(cwd / "result.mp4", seconds=1, sound=Sound()).read_bytes()
    task = completed("task-1")._replace(
        result_urls=(f"{RESULTS_URL}/a.mp4", f"{RESULTS_URL}/b.mp4")
    )
    session.script.video = lambda _: content
    session.script.on_submit = session.script.on_read = lambda _: task
    options = EditOptions(
        destination=Destination("out.mp4"), timeout_s=60.0, sound=models.Sound.NONE
    )
    request = EditRequest(video=CLIP_URL, prompt="warmer")

    edit(session, request, options)
    before = [event.shown_path for event in session.reported(Saved)]
    (cwd / name).unlink()
    edit(session, request, options)
    session.events.clear()
    edit(session, request, options)

    assert before == ["out.mp4", "out-2.mp4"]
    assert [event.shown_path for event in session.reported(Saved)] == before
    assert (cwd / name).exists()
    assert len(session.script.prompts) == 1


def edit_with_original_sound(
    folder: Path, clip: Callable[[], httpx.Response]
) -> tuple[BenchSession, OmniEditError | None]:
    """Edit the clip of a URL with its original sound; the result is 2 s long."""

    def answer(request: httpx.Request) -> httpx.Response:
        return clip() if request.url.host == "example.com" else session.script(request)

    session = BenchSession(transport=answer, folder=folder / "private")
    content = make_clip(folder / "result.mp4", seconds=2, sound=Sound()).read_bytes()
    session.script.video = lambda _: content
    options = EditOptions(
        destination=Destination("out.mp4"), timeout_s=60.0, sound=models.Sound.ORIGINAL
    )
    try:
        edit(session, EditRequest(video=CLIP_URL, prompt="warmer"), options)
    except OmniEditError as error:
        return session, error
    return session, None


def test_the_original_sound_of_a_silent_clip_is_none(cwd: Path) -> None:
    clip = make_clip(cwd / "clip.mp4", seconds=1).read_bytes()

    session, error = edit_with_original_sound(
        cwd, lambda: httpx.Response(200, stream=httpx.ByteStream(clip))
    )

    assert error is None
    assert "the clip has no sound, so out.mp4 has none" in notes_of(session)
    assert not any("shorter" in message for message in notes_of(session))


def test_a_clip_that_is_gone_does_not_lead_to_paying_again(cwd: Path) -> None:
    _, error = edit_with_original_sound(cwd, lambda: httpx.Response(404))

    assert error is not None
    assert "cannot be fetched" in error.message
    assert error.hint == "`--sound new` saves the result as it is"


@pytest.mark.parametrize(
    ("sound", "start", "expected"),
    [
        pytest.param(models.Sound.ORIGINAL, None, WaitTimeoutError, id="for-its-sound"),
        pytest.param(models.Sound.NEW, "1", UnavailableError, id="to-be-cut"),
    ],
)
def test_fetching_a_clip_keeps_to_the_timeout(
    cwd: Path, sound: models.Sound, start: str | None, expected: type[OmniEditError]
) -> None:
    requests: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.host != "example.com":
            return session.script(request)
        if "range" not in request.headers:  # it is not a probe
            requests.append(request)
            session.time.advance(100)
        return httpx.Response(503)

    session = BenchSession(transport=answer, folder=cwd / "private")
    content = make_clip(cwd / "result.mp4", seconds=2, sound=Sound()).read_bytes()
    session.script.video = lambda _: content
    options = EditOptions(destination=Destination("out.mp4"), timeout_s=60.0, sound=sound)

    with pytest.raises(expected) as raised:
        edit(session, EditRequest(video=CLIP_URL, prompt="warmer", start=start), options)

    assert "fetched" in raised.value.message
    assert len(requests) == 1


def test_a_clip_changed_after_its_check_is_not_submitted(
    session: BenchSession, tmp_path: Path
) -> None:
    clip = make_clip(tmp_path / "clip.mp4", seconds=1)
    real_locked = session.journal.locked

    def change_then_lock(action: str, name: str, **options: Any) -> AbstractContextManager[None]:
        if action == "editing":
            make_clip(clip, seconds=2)
        return real_locked(action, name, **options)

    session.journal.locked = change_then_lock  # type: ignore[method-assign]
    options = EditOptions(destination=Destination("out.mp4"), timeout_s=60.0)
    request = EditRequest(video=str(clip), prompt="warmer", max_credits=1000.0)

    with pytest.raises(LocalError, match="changed after it was checked"):
        edit(session, request, options)

    assert session.script.prompts == []
