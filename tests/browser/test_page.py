"""The page of `omniedit compare` in a browser: synchronised videos, keys, mouse, hostile text."""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import pytest

from omniedit.cli.page import page_chunks
from omniedit.edits.compare import ComparedVideo, Comparison
from omniedit.media.comparison import Change
from omniedit.models import SavedFile, Task, VideoFacts
from tests.browser.__main__ import PICTURE, take_picture
from tests.browser.chromium import PROGRAM, Tab, browser
from tests.contract.readme import README, ROOT
from tests.journals import record_of
from tests.unit.cli.test_compare import HOSTILE
from tests.unit.media.clips import Sound, make_clip

pytestmark = [
    pytest.mark.browser,
    pytest.mark.full,
    pytest.mark.skipif(PROGRAM is None, reason="Chromium is not installed"),
]
FRAME_S = 1 / 24
FILE = SavedFile(path="/clips/clip.mp4", size_bytes=1, sha256="a" * 64)
# The drift between videos within their spans; outside, a video holds its first or last frame.
DRIFT = """(() => {
  const at = usable().filter(v => isLive(v, now)).map(v => v.currentTime - v.from);
  return at.length > 1 ? Math.max(...at) - Math.min(...at) : 0;
})()"""
DRIFT_WHILE_PLAYING = f"""new Promise(done => {{
  const drifts = [], since = performance.now();
  const look = () => {{
    drifts.push({DRIFT});
    if (performance.now() - since < 10000) requestAnimationFrame(look);
    else done(drifts.sort((a, b) => a - b)[Math.floor(drifts.length * .95)]);
  }};
  look();
}})"""
UNTIL_SEEKED = "new Promise(done => { const look = () => usable().some(v => v.seeking) ? setTimeout(look, 10) : done(); look(); })"


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    with browser(tmp_path_factory.mktemp("profile")) as tab:
        yield tab


@pytest.fixture
def page(tab: Tab, folder: Path) -> Path:
    """Open a page of three videos of different size, frame rate and length."""
    make_clip(folder / "clip.mp4", seconds=12, fps=30, size=(320, 180), sound=Sound())
    make_clip(folder / "warm.mp4", seconds=11, fps=24, size=(180, 320), sound=Sound())
    make_clip(folder / "cold.mp4", seconds=11.5, fps=25, size=(256, 144))
    videos = [
        ComparedVideo(
            file=FILE._replace(path=f"/clips/{name}.mp4", facts=facts(rate)),
            clip_address=clip,
            changes=changes,
        )
        for name, rate, clip, changes in (
            ("clip", 30, "clip.mp4", ()),
            ("warm", 24, None, changes_of((0.0, 0.1), (6.0, 0.6), (11.0, 0.2))),
            ("cold", 25, None, changes_of((0.0, 0.2), (11.5, 0.1))),
        )
    ]
    names = [Path(video.file.path).name for video in videos]
    return open_page(tab, folder / "page.html", videos, names, moments=[(6.0, 0.6)])


def facts(frame_rate: float) -> VideoFacts:
    return VideoFacts(320, 180, frame_rate, 11.0, "h264")


def changes_of(*changes: tuple[float, float]) -> tuple[Change, ...]:
    return tuple(Change(*each) for each in changes)


def open_page(
    tab: Tab,
    path: Path,
    videos: list[ComparedVideo],
    addresses: list[str],
    *,
    missing: tuple[str, ...] = (),
    moments: Sequence[tuple[float, float]] = (),
) -> Path:
    comparison = Comparison(videos=tuple(videos), missing=missing)
    path.write_bytes(b"".join(page_chunks(comparison, addresses, moments=moments)))
    tab.show_as(width=1280, height=900)
    tab.open(path)
    return path


def test_videos_of_different_formats_play_in_sync(tab: Tab, page: Path) -> None:
    tab.press(" ")
    assert tab.evaluate(DRIFT_WHILE_PLAYING) < FRAME_S

    tab.press(" ")
    tab.evaluate(UNTIL_SEEKED)
    assert tab.evaluate(DRIFT) == 0
    assert tab.evaluate("playing") is False


def test_videos_are_in_sync_after_seeks(tab: Tab, page: Path) -> None:
    tab.evaluate(
        "new Promise(done => { let count = 0; const next = () => { seek(Math.random() * 11);"
        " if (++count < 50) setTimeout(next, 10); else done(); }; next(); })"
    )
    tab.evaluate(UNTIL_SEEKED)

    assert tab.evaluate(DRIFT) == 0
    assert tab.evaluate("usable().map(v => v.currentTime - now)") == pytest.approx(
        [0, 0, 0], abs=1e-6
    )


def test_every_keyboard_shortcut_works(tab: Tab, page: Path) -> None:
    frame = float(Fraction(1, 30))
    tab.press("ArrowRight")
    tab.press("ArrowRight")
    assert tab.evaluate("now") == pytest.approx(2 * frame, abs=0.002)
    tab.press("ArrowLeft")
    tab.press("ArrowRight", shift=True)
    assert tab.evaluate("now") == pytest.approx(1 + frame, abs=0.002)
    tab.press("i")
    tab.press("ArrowRight", shift=True)
    tab.press("o")
    assert tab.evaluate("[begin, end, looping]") == pytest.approx(
        [1 + frame, 2 + frame, True], abs=0.002
    )
    for key, unmuted in (("2", [1]), ("3", [2]), ("0", [])):
        tab.press(key)
        assert tab.evaluate("videos.flatMap((v, i) => v.muted ? [] : [i])") == unmuted
    tab.press("-")
    assert tab.evaluate("speed") == 0.5
    tab.press("End")
    assert tab.evaluate("now === total") is True


def test_a_loop_stays_between_its_marks(tab: Tab, page: Path) -> None:
    tab.evaluate("begin = 1; end = 1.5; setLoop(true); seek(1.2); setPlaying(true)")

    reached = tab.evaluate(
        "new Promise(done => { let most = 0; const since = performance.now(); const look = () => {"
        " most = Math.max(most, now); performance.now() - since < 2000 ?"
        " requestAnimationFrame(look) : done(most); }; look(); })"
    )

    assert 1.2 < reached < 1.8
    assert tab.evaluate("playing") is True


def test_the_wipe_follows_mouse_and_keys(tab: Tab, page: Path) -> None:
    tab.press("w")
    box = tab.evaluate(
        "(({left, top, width, height}) => [left, top, width, height])(stage.getBoundingClientRect())"
    )
    left, top, width, height = box
    tab.drag((left + width / 2, top + height / 2), (left + width / 4, top + height / 2))
    assert tab.evaluate("+edge.value") == pytest.approx(25, abs=1)

    tab.press("]")
    assert tab.evaluate("+edge.value") == pytest.approx(30, abs=1)
    tab.press("3")
    assert tab.evaluate(
        "[...document.querySelectorAll('.chosen video')].map(v => v.src.slice(-8))"
    ) == ["cold.mp4"]


def test_the_curve_seeks_and_marks_the_moments(tab: Tab, page: Path) -> None:
    box = tab.evaluate(
        "(({left, top, width, height}) => [left, top, width, height])(time.getBoundingClientRect())"
    )
    left, top, width, height = box
    tab.drag((left + width / 4, top + height / 2), (left + width / 2, top + height / 2))
    assert tab.evaluate("now") == pytest.approx(6, abs=0.2)

    tab.evaluate("document.querySelector('[data-at]').click()")
    assert tab.evaluate("now") == 6
    assert tab.evaluate("document.querySelectorAll('svg line').length") == 1


def test_every_control_is_focusable_and_named(tab: Tab, page: Path) -> None:
    tree = tab.call("Accessibility.getFullAXTree")["nodes"]

    roles = {"button", "slider", "combobox", "video", "Video", "image", "DisclosureTriangle"}
    named = [
        (node["role"]["value"], node.get("name", {}).get("value"))
        for node in tree
        if node.get("role", {}).get("value") in roles
    ]
    assert len(named) > 15
    assert all(name for _, name in named), named
    assert tab.evaluate(
        "[...document.querySelectorAll('button, input, select')].every(e => e.tabIndex === 0)"
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_needs_no_horizontal_scrolling(tab: Tab, page: Path, scheme: str) -> None:
    tab.show_as(width=360, height=740, prefers_color_scheme=scheme)

    assert tab.evaluate("document.documentElement.scrollWidth") <= 360
    paper = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == {"light": "rgb(251, 251, 253)", "dark": "rgb(22, 22, 26)"}[scheme]


def test_text_from_outside_runs_no_script_and_loads_nothing(tab: Tab, folder: Path) -> None:
    name = "\"><script>document.title='run'</script>'&.mp4".replace("/", "")
    make_clip(folder / "clip.mp4", seconds=1)
    videos = [ComparedVideo(file=FILE, clip_address=text) for text in HOSTILE]
    for text in HOSTILE:
        task = Task(task_id="t", status="completed", model=text)
        record = record_of(task, prompt=text)
        file = SavedFile(path=f"/clips/{name}", size_bytes=1, sha256="b" * 64)
        videos.append(ComparedVideo(file=file, record=record, parents=(text,)))
    addresses = ["clip.mp4"] * len(videos)

    path = open_page(tab, folder / "page.html", videos, addresses, missing=HOSTILE)

    assert {*tab.requests} == {path.as_uri(), (folder / "clip.mp4").as_uri()}
    assert tab.exceptions == []
    assert tab.evaluate("document.title").startswith("clip.mp4")
    assert tab.evaluate("document.querySelectorAll('script').length") == 1
    shown = tab.evaluate("document.querySelector('main').textContent")
    assert all(text in shown for text in HOSTILE[:3])
    # Even a script that got into the page would not run.
    tab.evaluate(
        "document.body.append(Object.assign(document.createElement('script'),"
        " {textContent: 'document.title = \"run\"'}))"
    )
    assert tab.evaluate("document.title") != "run"


def test_readmes_picture_has_the_size_of_a_current_page(tab: Tab, folder: Path) -> None:
    picture = take_picture(tab, folder)

    size = slice(16, 24)  # width and height of a PNG
    assert PICTURE.read_bytes()[size] == picture[size]
    assert f"({PICTURE.relative_to(ROOT)})" in README.text
    assert tab.evaluate("document.querySelectorAll('polyline').length") == 1


def test_an_unplayable_video_is_reported(tab: Tab, folder: Path) -> None:
    make_clip(folder / "clip.mp4", seconds=1)
    videos = [ComparedVideo(file=FILE, clip_address="clip.mp4")] * 2

    open_page(tab, folder / "page.html", videos, ["clip.mp4", "none.mp4"])

    assert "cannot be played here" in tab.evaluate("document.querySelector('.broken').textContent")
    tab.press("ArrowRight")
    assert tab.evaluate("now") > 0
