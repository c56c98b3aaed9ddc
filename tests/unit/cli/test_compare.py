"""`omniedit compare` finds a clip and its results, and writes one page that needs no network."""

import os
import re
from pathlib import Path
from typing import Any

import pytest

from omniedit.cli.commands import compare
from omniedit.cli.page import page_chunks
from omniedit.edits.compare import ComparedVideo, Comparison
from omniedit.models import SavedFile, Task
from omniedit.sandbox.clips import BUNDLED_CLIP
from tests.commandline import CommandLine, Ended
from tests.e2e.equipment import web_server
from tests.journals import record_of
from tests.unit.media.clips import make_clip

NOW = "[sandbox:seconds=0]"
HOSTILE = (
    "</script><script>document.title='run'</script>",
    '"><img src=x onerror=alert(1)>',
    "'; alert(1); '",
    "\u2028alert(1)\u2029",
    "\u202egnp.exe \u2066x\u2069",
    "{{script_digest}} {{videos}}",
    "javascript:alert(1) https://example.com/",
    "\x1b]8;;https://example.com\x07",
)


@pytest.fixture
def edited(served: CommandLine) -> CommandLine:
    """Return a command line after an edit of `clip.mp4` into `night.mp4`."""
    make_clip(served.folder / "clip.mp4", seconds=2)
    edit(served, f"night {NOW}", "-o", "night.mp4")
    return served


def edit(served: CommandLine, prompt: str, *options: str, clip: str = "clip.mp4") -> dict[str, Any]:
    ended = served("--json", "edit", clip, prompt, *options)
    assert ended.status == 0, ended
    task: dict[str, Any] = ended.document["tasks"][0]
    return task


def video_sources(page: Path) -> list[str]:
    return re.findall(r'<video src="([^"]*)"', page.read_text())


def video_names(ended: Ended) -> list[str]:
    return [Path(video["path"]).name for video in ended.document["videos"]]


def test_the_newest_saved_edit_is_shown_with_its_clip(edited: CommandLine) -> None:
    ended = edited("compare")

    page = (edited.folder / "night-compare.html").read_text()
    assert (ended.status, ended.stdout) == (0, "night-compare.html\n")
    assert video_sources(edited.folder / "night-compare.html") == ["clip.mp4", "night.mp4"]
    for fact in (f"night {NOW}", "gemini-omni-flash-video-edit", "64x48, 10 fps, 2.00 s"):
        assert fact in page
    assert "<polyline" in page
    assert f"night.mp4 · <bdi>night {NOW}</bdi>" in page
    assert "Change from clip.mp4 to night.mp4: at most 0.000 (1 - SSIM)" in page
    assert not re.search("https?:", page)


def test_a_saved_result_is_shown_with_its_clip(edited: CommandLine) -> None:
    assert edited("compare", "night.mp4").status == 0

    assert video_sources(edited.folder / "night-compare.html") == ["clip.mp4", "night.mp4"]


def test_an_existing_page_is_replaced_only_with_force(edited: CommandLine) -> None:
    target = edited.folder / "pages" / "p.html"

    assert edited("compare", "-o", "pages/p.html").status == 0
    again = edited("compare", "-o", "pages/p.html")
    forced = edited("compare", "-o", "pages/p.html", "--force")

    assert (again.status, forced.status) == (10, 0)
    assert video_sources(target) == ["../clip.mp4", "../night.mp4"]
    assert edited("compare", "-o", "page.mp4").status == 2


def test_embed_inlines_the_videos_and_refuses_large_ones(edited: CommandLine) -> None:
    edited("compare", "--embed", "-o", "one.html")

    page = (edited.folder / "one.html").read_text()
    assert page.count('src="data:video/mp4;base64,') == 2
    with (edited.folder / "large.mp4").open("wb") as file:
        file.truncate(256 * 1024 * 1024)
    assert edited("compare", "clip.mp4", "large.mp4", "--embed", "-o", "two.html").status == 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(lambda clip: clip.unlink(), "is gone", id="gone"),
        pytest.param(lambda clip: clip.write_bytes(b"another"), "has changed", id="changed"),
    ],
)
def test_a_result_is_shown_alone_if_its_clip_is_gone_or_changed(
    edited: CommandLine, change: Any, words: str
) -> None:
    change(edited.folder / "clip.mp4")

    ended = edited("--json", "compare")

    assert (ended.status, video_names(ended)) == (0, ["night.mp4"])
    assert words in ended.document["missing"][0]
    assert words in ended.stderr
    assert words in (edited.folder / "night-compare.html").read_text()


def test_a_clip_from_a_url_is_downloaded_once_next_to_the_page(
    served: CommandLine, tmp_path: Path
) -> None:
    make_clip(tmp_path / "film.mp4", seconds=1)
    with web_server(tmp_path) as (url, requests):
        edit(served, NOW, "-o", "out/night.mp4", clip=f"{url}/film.mp4?token=secret")
        requests.clear()

        first = served("--json", "compare")
        second = served("--json", "compare", "--force")

    [clip, _] = video_names(first)
    assert video_names(second) == video_names(first)
    assert len(requests) == 1
    assert re.fullmatch(r"film-clip-[0-9a-f]{6}\.mp4", clip)
    assert (served.folder / "out" / clip).read_bytes() == (tmp_path / "film.mp4").read_bytes()
    assert "secret" not in (served.folder / "out" / "night-compare.html").read_text()


def test_a_clip_that_cannot_be_fetched_is_reported_missing(
    served: CommandLine, tmp_path: Path
) -> None:
    with web_server(tmp_path) as (url, _):
        edit(served, NOW, "-o", "night.mp4", clip=f"{url}/none.mp4?token=secret")

        ended = served("--json", "compare")

    assert (ended.status, video_names(ended)) == (0, ["night.mp4"])
    assert f"the clip {url}/none.mp4 cannot be fetched" in ended.document["missing"][0]


def test_the_page_plays_only_the_edited_part_of_a_clip(served: CommandLine) -> None:
    make_clip(served.folder / "clip.mp4", seconds=4)
    edit(served, NOW, "--start", "1", "--end", "3", "-o", "part.mp4")

    ended = served("--json", "compare")

    page = (served.folder / "part-compare.html").read_text()
    assert '<video src="clip.mp4" data-from="1" data-until="3"' in page
    # The sandbox returns the part itself.
    assert ended.document["videos"][1]["similarity"] > 0.99


def test_edits_of_one_clip_share_it_and_a_chain_names_its_parent(edited: CommandLine) -> None:
    first = edit(edited, f"one {NOW}", "-o", "one.mp4")["task_id"]
    second = edit(edited, f"two {NOW}", "-o", "two.mp4")["task_id"]
    third = edit(edited, f"three {NOW}", "-o", "three.mp4", clip=f"task:{second}")["task_id"]

    both = edited("--json", "compare", first, second, "-o", "both.html")
    chain = edited("--json", "compare", third)

    assert video_names(both) == ["clip.mp4", "one.mp4", "two.mp4"]
    legend = "Change from clip.mp4 to one.mp4 (solid), two.mp4 (dashed): at most 0.000 (1 - SSIM)"
    assert legend in (edited.folder / "both.html").read_text()
    assert video_names(chain)[1] == "three.mp4"
    assert chain.document["videos"][1]["parents"] == [second]


def test_each_file_is_compared_with_the_first(edited: CommandLine) -> None:
    other = make_clip(edited.folder / "task:other.mp4", seconds=1, fps=12, size=(48, 64))

    ended = edited("--json", "compare", "clip.mp4", "night.mp4", str(other))

    same, differs = (video["similarity"] for video in ended.document["videos"][1:])
    assert (ended.status, same) == (0, 1.0)
    assert differs < 0.99
    assert video_sources(edited.folder / "night-compare.html")[2] == "task%3Aother.mp4"


@pytest.mark.parametrize(
    ("argv", "status"),
    [
        pytest.param(["clip.mp4"], 2, id="one-file"),
        pytest.param(["clip.mp4", "none.mp4"], 2, id="no-such-file"),
        pytest.param(["clip.mp4"] * 10, 2, id="too-many-files"),
        pytest.param(["../../x"], 2, id="neither-file-nor-task"),
    ],
)
def test_invalid_sources_are_refused(edited: CommandLine, argv: list[str], status: int) -> None:
    ended = edited("compare", *argv)

    assert ended.status == status, ended
    assert not [*edited.folder.glob("*.html")]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")
def test_a_named_pipe_is_refused_and_called_a_named_pipe(edited: CommandLine) -> None:
    os.mkfifo(edited.folder / "pipe.mp4")

    ended = edited("compare", "pipe.mp4", "clip.mp4")

    assert ended.status == 2, ended
    assert "pipe.mp4 is a named pipe" in ended.stderr


def test_compare_without_a_saved_edit_is_refused(served: CommandLine) -> None:
    assert served("compare").status == 2


@pytest.mark.parametrize(
    ("marker", "status"), [("stall", 6), ("fail=content_policy_violation", 5), ("expired", 7)]
)
def test_a_task_without_a_result_cannot_be_compared(
    served: CommandLine, marker: str, status: int
) -> None:
    (served.folder / "clip.mp4").write_bytes(BUNDLED_CLIP.read_bytes())
    task_id = served("submit", "clip.mp4", f"[sandbox:{marker}]").stdout.strip()
    if status != 6:
        served("wait", task_id)

    assert served("compare", task_id).status == status


def test_open_shows_the_page_in_the_browser(edited: CommandLine) -> None:
    script = edited.folder / "browser"
    script.write_text(f'#!/bin/sh\nprintf %s "$1" > {edited.folder}/opened\nenv > environ\n')
    script.chmod(0o755)

    ended = edited.installed("compare", "--open", BROWSER=str(script))

    assert ended.status == 0, ended
    assert (edited.folder / "opened").read_text().endswith("/night-compare.html")
    assert "API_KEY" not in (edited.folder / "environ").read_text()


def test_a_picture_shows_frames_and_differences_of_each_video(edited: CommandLine) -> None:
    image = pytest.importorskip("PIL.Image")
    make_clip(edited.folder / "other.mp4", seconds=1, fps=12, size=(48, 64), first_number=7)

    ended = edited("compare", "clip.mp4", "night.mp4", "other.mp4", "-o", "looks.png")

    assert (ended.status, ended.stdout) == (0, "looks.png\n")
    with image.open(edited.folder / "looks.png") as sheet:
        rows = [180, 180, 240, 180, 180]  # videos of 4:3, 4:3 and 3:4, then two rows of differences
        assert sheet.size == (8 * 248 + 8, 22 + 8 + sum(22 + height + 8 for height in rows))
        tops = [30 + 22 + sum(30 + height for height in rows[:number]) for number in range(5)]
        clip, night, _, same, differs = (
            sheet.crop((8, top, 248, top + 180)).tobytes() for top in tops
        )
    assert clip == night
    assert max(same) == 0 < max(differs)
    assert edited("compare", "--embed", "-o", "other.png").status == 2


def test_a_hostile_prompt_adds_no_metadata_to_a_picture(edited: CommandLine) -> None:
    image = pytest.importorskip("PIL.Image")
    edit(edited, f"{''.join(HOSTILE)} 把天空变成傍晚 {NOW}", "-o", "odd.mp4")

    assert edited("compare", "-o", "odd.png").status == 0
    with image.open(edited.folder / "odd.png") as sheet:
        assert (sheet.format, sheet.info) == ("PNG", {})


def test_a_picture_names_a_result_without_a_known_prompt_by_its_file_alone() -> None:
    adopted = Task(task_id="task-1", status="completed")
    file = SavedFile(path="/results/night.mp4", size_bytes=1, sha256="0" * 64)
    video = ComparedVideo(file=file, record=record_of(adopted))

    assert compare._label_of(video) == "night.mp4"


def page(prompt: str, *, missing: tuple[str, ...] = ()) -> bytes:
    file = SavedFile(path="/clips/a.mp4", size_bytes=1_000_000, sha256="a" * 64)
    record = record_of(Task(task_id="t", status="completed"), prompt=prompt)
    videos = (
        ComparedVideo(file=file, clip_address="https://example.com/a.mp4"),
        ComparedVideo(file=file, record=record, parents=("t-1", "t-2")),
    )
    return b"".join(page_chunks(Comparison(videos=videos, missing=missing), ["a.mp4", "b.mp4"]))


@pytest.mark.parametrize("prompt", ["make it night " * 20, "夜" * 5000, "<&>" * 5000])
def test_a_page_for_two_videos_is_small(prompt: str) -> None:
    assert len(page(prompt)) < 15_000


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_escaped_in_the_page(text: str) -> None:
    plain = page("a prompt", missing=("a reason",)).decode()

    hostile = page(text, missing=(text,)).decode()

    assert hostile.count("<") == plain.count("<")
    assert not re.search("[\x1b\u2028\u2029\u202e\u2066]", hostile)
