"""Draw and encode the clip the sandbox gives out: `python make_clip.py sandbox.mp4`."""

from __future__ import annotations

import math
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

WIDTH, HEIGHT, FPS, SECONDS = 640, 360, 25, 4
FRAMES = FPS * SECONDS
SAMPLE_RATE = 48_000
AUDIO_BLOCK = 1024
CELL = 12  # the picture is drawn in blocks of this size
# Five columns by seven rows a letter.
LETTERS = {
    "S": (".####", "#....", "#....", ".###.", "....#", "....#", "####."),
    "A": (".###.", "#...#", "#...#", "#####", "#...#", "#...#", "#...#"),
    "N": ("#...#", "##..#", "#.#.#", "#.#.#", "#..##", "#...#", "#...#"),
    "D": ("####.", "#...#", "#...#", "#...#", "#...#", "#...#", "####."),
    "B": ("####.", "#...#", "#...#", "####.", "#...#", "#...#", "####."),
    "O": (".###.", "#...#", "#...#", "#...#", "#...#", "#...#", ".###."),
    "X": ("#...#", "#...#", ".#.#.", "..#..", ".#.#.", "#...#", "#...#"),
    "E": ("#####", "#....", "#....", "####.", "#....", "#....", "#####"),
    "I": ("#####", "..#..", "..#..", "..#..", "..#..", "..#..", "#####"),
    "M": ("#...#", "##.##", "#.#.#", "#.#.#", "#...#", "#...#", "#...#"),
    "T": ("#####", "..#..", "..#..", "..#..", "..#..", "..#..", "..#.."),
    " ": (".....",) * 7,
}
TOP = np.array([13.0, 20.0, 44.0])
BOTTOM = np.array([58.0, 32.0, 92.0])
INK = np.array([255.0, 246.0, 224.0])
AMBER = np.array([255.0, 176.0, 64.0])
TEAL = np.array([64.0, 208.0, 200.0])


def stencil(text: str, *, dot: int) -> np.ndarray:
    """Return the text as a mask of 0 and 1, each dot of a letter a square of `dot` pixels."""
    rows = [".".join(LETTERS[letter][row] for letter in text) for row in range(7)]
    dots = np.array([[one == "#" for one in row] for row in rows], dtype=float)
    return np.kron(dots, np.ones((dot, dot)))


def lay(picture: np.ndarray, mask: np.ndarray, *, left: int, top: int, colour: np.ndarray) -> None:
    """Lay a colour over the picture where the mask says."""
    height, width = mask.shape
    window = picture[top : top + height, left : left + width]
    window += mask[..., None] * (colour - window)


def backdrop(at: float) -> np.ndarray:
    """Return a slow dusk with two lights that wander once around in the clip's time."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(float)
    share = (y / HEIGHT)[..., None]
    picture = TOP * (1 - share) + BOTTOM * share
    for colour, turn, reach in ((AMBER, 0.0, 0.34), (TEAL, 0.5, 0.26)):
        angle = 2 * math.pi * (at + turn)
        centre_x = WIDTH * (0.5 + 0.36 * math.cos(angle))
        centre_y = HEIGHT * (0.5 + 0.30 * math.sin(angle))
        distance = ((x - centre_x) ** 2 + (y - centre_y) ** 2) / (170.0**2)
        picture += (np.exp(-distance) * reach)[..., None] * (colour - picture)
    return picture


def frame_at(index: int) -> np.ndarray:
    """Return one frame as RGB."""
    at = index / FRAMES
    picture = backdrop(at)
    title = stencil("SANDBOX", dot=CELL)
    left, top = (WIDTH - title.shape[1]) // 2, 108
    lay(picture, title * 0.45, left=left + 5, top=top + 5, colour=np.zeros(3))
    # A gleam runs over the letters once.
    columns = np.arange(title.shape[1])
    gleam = np.exp(-(((columns - (at * 1.6 - 0.3) * title.shape[1]) / 46.0) ** 2))
    lay(picture, title, left=left, top=top, colour=INK)
    lay(picture, title * gleam * 0.8, left=left, top=top, colour=AMBER)
    line = stencil("NOT EDITED", dot=3)
    lay(picture, line * 0.85, left=(WIDTH - line.shape[1]) // 2, top=226, colour=INK)
    _draw_progress(picture, share=(index + 1) / FRAMES)
    return np.clip(picture + 0.5, 0, 255).astype(np.uint8)


def _draw_progress(picture: np.ndarray, *, share: float) -> None:
    left, width, top, height = 112, 416, 288, 8
    lay(picture, np.full((height, width), 0.22), left=left, top=top, colour=INK)
    lay(picture, np.full((height, round(width * share)), 0.95), left=left, top=top, colour=AMBER)
    dot = stencil("O", dot=1)
    del dot
    knob = np.ones((20, 8))
    lay(picture, knob, left=left + round((width - 8) * share), top=top - 6, colour=INK)


def tone() -> np.ndarray:
    """Return a soft chord, a fifth and an octave over A, swelling and fading."""
    at = np.arange(SAMPLE_RATE * SECONDS) / SAMPLE_RATE
    chord = sum(
        weight * np.sin(2 * math.pi * hertz * at)
        for hertz, weight in ((220.0, 0.5), (330.0, 0.3), (440.0, 0.2))
    )
    fade = np.minimum(np.minimum(at, SECONDS - at) / 0.6, 1.0)
    swell = 0.8 + 0.2 * np.sin(2 * math.pi * at / SECONDS * 2)
    return (chord * fade * swell * 0.12).astype(np.float32)


def encode(path: Path) -> None:
    """Write the clip: H.264 and AAC, index first."""
    options = {"movflags": "+faststart", "fflags": "+bitexact"}
    with av.open(str(path), "w", format="mp4", options=options) as container:
        container.metadata["title"] = "omniedit sandbox: no edit was made"
        video = container.add_stream("libx264", rate=FPS)
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        video.options = {"crf": "26", "preset": "veryslow", "tune": "animation", "profile": "main"}
        audio = container.add_stream("aac", rate=SAMPLE_RATE, layout="mono")
        audio.bit_rate = 48_000
        for index in range(FRAMES):
            frame = av.VideoFrame.from_ndarray(frame_at(index), format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, FPS)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        samples = tone()
        for start in range(0, len(samples), AUDIO_BLOCK):
            block = av.AudioFrame.from_ndarray(
                samples[None, start : start + AUDIO_BLOCK], format="fltp", layout="mono"
            )
            block.sample_rate, block.pts = SAMPLE_RATE, start
            block.time_base = Fraction(1, SAMPLE_RATE)
            container.mux(audio.encode(block))
        container.mux(audio.encode(None))


if __name__ == "__main__":
    encode(Path(sys.argv[1]))
