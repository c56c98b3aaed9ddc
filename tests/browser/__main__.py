"""`python -m tests.browser [PICTURE]`: take README's picture of a comparison page.

It compares the sandbox's clip with a darkened copy.
"""

import argparse
import base64
import sys
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, cast

import av
from av.filter import Graph

from omniedit.sandbox.clips import BUNDLED_CLIP
from tests.browser.chromium import Tab, browser
from tests.commandline import CommandLine
from tests.contract.readme import ROOT

PICTURE: Final = ROOT / ".github" / "compare.png"
WIDTH: Final = 900
HEIGHT: Final = 700


def take_picture(tab: Tab, folder: Path) -> bytes:
    """Write a comparison page in a folder, and return a picture of it."""
    (folder / "clip.mp4").write_bytes(BUNDLED_CLIP.read_bytes())
    _darken(folder / "clip.mp4", folder / "night.mp4")
    ended = CommandLine(folder, {})("compare", "clip.mp4", "night.mp4", "-o", "page.html")
    assert ended.status == 0, ended
    tab.show_as(width=WIDTH, height=HEIGHT, prefers_color_scheme="light")
    tab.open(folder / "page.html")
    tab.press("w")
    tab.evaluate("seek(total / 2)")
    tab.evaluate(
        "new Promise(done => { const look = () => usable().some(v => v.seeking) ?"
        " setTimeout(look, 10) : requestAnimationFrame(() => requestAnimationFrame(done)); look(); })"
    )
    return base64.b64decode(tab.call("Page.captureScreenshot")["data"])


def _darken(source: Path, target: Path) -> None:
    """Write a copy of the clip that fades to dark, like the result of an edit."""
    with av.open(str(source)) as clip, av.open(str(target), "w") as container:
        stream = clip.streams.video[0]
        rate = Fraction(stream.average_rate or 25)
        video = cast("Any", container).add_stream("libx264", rate=rate)
        video.width, video.height, video.pix_fmt = stream.width, stream.height, "yuv420p"
        graph = Graph()
        graph.link_nodes(
            graph.add_buffer(template=stream),
            graph.add("fade", f"t=out:st=0:d={2 * float(clip.duration or 0) / av.time_base}"),
            graph.add("format", "yuv420p"),
            graph.add("buffersink"),
        ).configure()
        for frame in clip.decode(stream):
            graph.push(frame)
            container.mux(video.encode(graph.pull()))
        container.mux(video.encode(None))


def main(argv: list[str]) -> int:
    """Write the picture to a file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", nargs="?", type=Path, default=PICTURE)
    path: Path = parser.parse_args(argv).path
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "work").mkdir()
        with browser(folder / "profile") as tab:
            picture = take_picture(tab, folder / "work")
    path.write_bytes(picture)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
