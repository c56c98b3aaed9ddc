"""Draw and encode the clip that the sandbox serves: `python make_clip.py sandbox.mp4`."""

from __future__ import annotations

import array
import math
import sys
from fractions import Fraction

import av
from av.video.reformatter import Interpolation

WIDTH, HEIGHT, FPS, SECONDS = 640, 360, 25, 4
FRAMES = FPS * SECONDS
# The backdrop is smooth, so it is drawn small and enlarged by the scaler.
SMALL_WIDTH, SMALL_HEIGHT = 160, 90
SAMPLE_RATE = 48_000
AUDIO_BLOCK = 1024
# Five columns by seven rows per letter, drawn as blocks, so that no font is needed.
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
    "T": ("#####", "..#..", "..#..", "..#..", "..#..", "..#..", "..#.."),
    " ": (".....",) * 7,
}
Colour = tuple[float, float, float]
TOP: Colour = (13, 20, 44)
BOTTOM: Colour = (58, 32, 92)
INK: Colour = (255, 246, 224)
SOFT: Colour = (214, 203, 200)
RAIL: Colour = (92, 84, 116)
AMBER: Colour = (255, 176, 64)
TEAL: Colour = (64, 208, 200)
DARKER = bytes(int(value * 0.5) for value in range(256))


def mix(under: Colour, over: Colour, share: float) -> Colour:
    """Return one colour blended over another."""
    return (
        under[0] + (over[0] - under[0]) * share,
        under[1] + (over[1] - under[1]) * share,
        under[2] + (over[2] - under[2]) * share,
    )


def backdrop(at: float) -> bytearray:
    """Return a dusky backdrop with two lights that circle once during the clip."""
    lights: list[tuple[Colour, float, float, float]] = []
    for colour, turn, reach in ((AMBER, 0.0, 0.34), (TEAL, 0.5, 0.26)):
        angle = 2 * math.pi * (at + turn)
        x, y = 0.5 + 0.36 * math.cos(angle), 0.5 + 0.30 * math.sin(angle)
        lights.append((colour, x * WIDTH, y * HEIGHT, reach))
    picture = bytearray()
    scale = WIDTH // SMALL_WIDTH
    for row in range(SMALL_HEIGHT):
        base = mix(TOP, BOTTOM, row / SMALL_HEIGHT)
        for column in range(SMALL_WIDTH):
            pixel = base
            for colour, x, y, reach in lights:
                away = ((column * scale - x) ** 2 + (row * scale - y) ** 2) / 170.0**2
                pixel = mix(pixel, colour, reach * math.exp(-away))
            picture += bytes(round(channel) for channel in pixel)
    return picture


def enlarge(picture: bytearray) -> bytearray:
    """Return a small picture at full size."""
    small = av.VideoFrame(SMALL_WIDTH, SMALL_HEIGHT, "rgb24")
    stride = small.planes[0].line_size
    rows = (
        bytes(picture[start : start + SMALL_WIDTH * 3]).ljust(stride, b"\0")
        for start in range(0, len(picture), SMALL_WIDTH * 3)
    )
    small.planes[0].update(b"".join(rows))
    large = small.reformat(WIDTH, HEIGHT, "rgb24", interpolation=Interpolation.BICUBIC)
    stride = large.planes[0].line_size
    content = bytes(large.planes[0])
    return bytearray().join(
        content[row * stride : row * stride + WIDTH * 3] for row in range(HEIGHT)
    )


def block(
    picture: bytearray, corner: tuple[int, int], size: tuple[int, int], colour: Colour
) -> None:
    """Fill a rectangle."""
    (left, top), (width, height) = corner, size
    line = bytes(round(channel) for channel in colour) * width
    for row in range(top, top + height):
        start = (row * WIDTH + left) * 3
        picture[start : start + len(line)] = line


def shade(picture: bytearray, left: int, top: int, width: int, height: int) -> None:
    """Darken a rectangle."""
    for row in range(top, top + height):
        start = (row * WIDTH + left) * 3
        picture[start : start + width * 3] = picture[start : start + width * 3].translate(DARKER)


def dots(text: str) -> list[tuple[int, int]]:
    """Return the column and row of every dot of a text."""
    rows = [".".join(LETTERS[letter][row] for letter in text) for row in range(7)]
    return [(x, y) for y, line in enumerate(rows) for x, one in enumerate(line) if one == "#"]


def frame_at(index: int) -> bytearray:
    """Return one frame as RGB."""
    at = index / FRAMES
    picture = enlarge(backdrop(at))
    dot, left, top = 12, 74, 108
    title = dots("SANDBOX")
    for x, y in title:
        shade(picture, left + x * dot + 5, top + y * dot + 5, dot, dot)
    for x, y in title:
        # A gleam runs across the letters once.
        away = (x - (at * 1.6 - 0.3) * 41) / 3.8
        colour = mix(INK, AMBER, 0.85 * math.exp(-(away**2)))
        block(picture, (left + x * dot, top + y * dot), (dot, dot), colour)
    for x, y in dots("NOT EDITED"):
        block(picture, (231 + x * 3, 226 + y * 3), (3, 3), SOFT)
    block(picture, (112, 288), (416, 8), RAIL)
    block(picture, (112, 288), (round(416 * (index + 1) / FRAMES), 8), AMBER)
    block(picture, (112 + round(408 * (index + 1) / FRAMES), 282), (8, 20), INK)
    return picture


def tone() -> array.array[float]:
    """Return a soft chord of A with a fifth and an octave, which swells and fades."""
    samples = array.array("f")
    for index in range(SAMPLE_RATE * SECONDS):
        at = index / SAMPLE_RATE
        chord = sum(
            weight * math.sin(2 * math.pi * hertz * at)
            for hertz, weight in ((220.0, 0.5), (330.0, 0.3), (440.0, 0.2))
        )
        fade = min(at / 0.6, (SECONDS - at) / 0.6, 1.0)
        swell = 0.8 + 0.2 * math.sin(math.pi * at)
        samples.append(chord * fade * swell * 0.12)
    return samples


def encode(path: str) -> None:
    """Write the clip as H.264 and AAC, with the index first."""
    options = {"movflags": "+faststart", "fflags": "+bitexact"}
    with av.open(path, "w", format="mp4", options=options) as container:
        container.metadata["title"] = "omniedit sandbox: no edit was made"
        video = container.add_stream("libx264", rate=FPS)
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        video.options = {"crf": "23", "preset": "veryslow", "aq-mode": "3", "profile": "main"}
        audio = container.add_stream("aac", rate=SAMPLE_RATE, layout="mono")
        audio.bit_rate = 48_000
        for index in range(FRAMES):
            frame = av.VideoFrame(WIDTH, HEIGHT, "rgb24")
            frame.planes[0].update(bytes(frame_at(index)))
            frame.pts, frame.time_base = index, Fraction(1, FPS)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        samples = tone()
        for start in range(0, len(samples), AUDIO_BLOCK):
            piece = samples[start : start + AUDIO_BLOCK].tobytes()
            sound = av.AudioFrame("fltp", "mono", len(piece) // 4)
            sound.planes[0].update(piece.ljust(sound.planes[0].buffer_size, b"\0"))
            sound.sample_rate, sound.pts = SAMPLE_RATE, start
            sound.time_base = Fraction(1, SAMPLE_RATE)
            container.mux(audio.encode(sound))
        container.mux(audio.encode(None))


if __name__ == "__main__":
    encode(sys.argv[1])
