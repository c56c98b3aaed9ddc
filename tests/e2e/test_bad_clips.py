"""Invalid and non-video clips are refused with one line and one hint; nothing is sent."""

import os
import shlex
import sys
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from pathlib import Path

import pytest

from tests.commandline import CommandLine, Ended
from tests.e2e.equipment import Bench
from tests.e2e.faulty import Endpoint, Exchange
from tests.e2e.test_contract_equipment import check_failure
from tests.unit.media.clips import Sound, make_clip, move_pictures

pytestmark = pytest.mark.e2e

PROMPT = "make it night"
PLAYLISTS = {
    "ffconcat": "ffconcat version 1.0\nfile canary.mp4\n",
    "HLS": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:2,\ncanary.mp4\n#EXT-X-ENDLIST\n",
}
IMAGES = {
    "PNG": ("png", "rgb24", "image2"),
    "JPEG": ("mjpeg", "yuvj420p", "image2"),
    "GIF": ("gif", "rgb8", "gif"),
}
KEY = "00112233445566778899aabbccddeeff"
ENCRYPTION = {
    "encryption_scheme": "cenc-aes-ctr",
    "encryption_key": KEY,
    "encryption_kid": KEY,
}


def empty_file(path: Path) -> None:
    path.touch()


def text_file(path: Path) -> None:
    path.write_text("not a video at all\n")


def random_bytes(path: Path) -> None:
    path.write_bytes(bytes(range(256)) * 40)


def audio_only(path: Path) -> None:
    make_clip(path, seconds=0, sound=Sound(seconds=1))


def image(kind: str, path: Path) -> None:
    codec, pixel_format, container = IMAGES[kind]
    make_clip(path, seconds=0.1, codec=codec, pixel_format=pixel_format, format=container)


def encrypted(path: Path) -> None:
    make_clip(path, options=ENCRYPTION)


def truncated(codec: str, container: str, path: Path) -> None:
    content = make_clip(path, fps=25, codec=codec, format=container).read_bytes()
    path.write_bytes(content[: len(content) * 6 // 10 | 1])


def zero_size(path: Path) -> None:
    content = bytearray(make_clip(path, codec="ffv1", format="avi").read_bytes())
    at = content.index(b"strf", content.index(b"vids"))
    content[at + 12 : at + 20] = bytes(8)
    path.write_bytes(content)


def too_large(path: Path) -> None:
    make_clip(path, size=(8200, 16), seconds=0.2)


def too_long(path: Path) -> None:
    make_clip(path, seconds=10.3, sound=Sound(seconds=1))


def far_too_long(path: Path) -> None:
    make_clip(path, times=[0, 300, 661], tick=Fraction(1))


def too_many_bytes(path: Path) -> None:
    make_clip(path)
    with path.open("ab") as file:
        file.write((96 * 1024 * 1024).to_bytes(4) + b"free")
        file.truncate(file.tell() + 96 * 1024 * 1024 - 8)


def folder_of_clips(path: Path) -> None:
    path.mkdir()


def named_pipe(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def playlist(kind: str, path: Path) -> None:
    path.write_text(PLAYLISTS[kind])
    # Opening it would block forever.
    os.mkfifo(path.with_name("canary.mp4"))


def external_media(path: Path) -> None:
    make = partial(make_clip, codec="rawvideo", pixel_format="uyvy422", format="mov")
    canary = make(path.with_name("canary.mov"))
    move_pictures(make(path), canary)
    canary.unlink()
    os.mkfifo(canary)


Make = Callable[[Path], None]
BAD: list[tuple[str, Make, str]] = [
    ("empty", empty_file, "clip.mp4 is empty"),
    ("text", text_file, "is text, not a video"),
    ("noise", random_bytes, "cannot be read as a video"),
    ("audio-only", audio_only, "no video stream"),
    *((f"{kind}-image", partial(image, kind), f"is a {kind} image") for kind in IMAGES),
    ("encrypted", encrypted, "is encrypted"),
    ("truncated-mp4", partial(truncated, "libx264", "mp4"), "is cut off"),
    ("truncated-matroska", partial(truncated, "libx264", "matroska"), "is cut off"),
    ("truncated-webm", partial(truncated, "libvpx", "webm"), "is cut off"),
    ("truncated-avi", partial(truncated, "mpeg4", "avi"), "is cut off"),
    ("no-frame-size", zero_size, "has no size (0x0)"),
    ("too-large", too_large, "too large: 8200x16, at most 8192 per side"),
    ("too-long", too_long, "it is 10.30 s long, and the model takes 10 s at most"),
    ("far-too-long", far_too_long, "is longer than 10 minutes"),
    ("too-many-bytes", too_many_bytes, "the file service takes 95 MiB at most"),
    ("folder", folder_of_clips, "is a folder, not a clip"),
    ("named-pipe", named_pipe, "is a named pipe, not a clip"),
    ("device", device, "is a device, not a clip"),
    *(
        (f"{kind}-playlist", partial(playlist, kind), "which names other files")
        for kind in PLAYLISTS
    ),
    ("external-media", external_media, "refers to other files, which are not opened"),
]


def check_unsent(bench: Bench, ended: Ended, message: str, status: int = 2) -> None:
    """Check that there is one error, one hint, no submission and no upload."""
    check_failure(ended, status, message)
    assert bench.posts == bench.faulty.count(Endpoint.UPLOAD) == 0


@pytest.mark.parametrize(
    ("make", "message"), [pytest.param(make, message, id=name) for name, make, message in BAD]
)
def test_a_bad_clip_is_refused_by_every_command(
    bench: Bench, folder: Path, make: Make, message: str
) -> None:
    if sys.platform == "win32" and make in {named_pipe, device, external_media}:
        pytest.skip("Windows has none of these")
    make(folder / "clip.mp4")

    for argv in (["submit", "clip.mp4", PROMPT], ["edit", "clip.mp4", PROMPT, "-o", "out.mp4"]):
        check_unsent(bench, bench.run(*argv), message)
    probed = bench.run("probe", "clip.mp4")
    errors = [line for line in probed.stderr.splitlines() if line.startswith("error:")]
    hints = [line for line in probed.stderr.splitlines() if line.startswith("hint:")]
    assert (probed.status, len(errors), len(hints)) == (2, 1, 1), probed
    assert message in errors[0]
    assert not (folder / "out.mp4").exists()


@pytest.mark.parametrize("kind", PLAYLISTS)
def test_an_unchecked_playlist_uploads_only_itself(bench: Bench, folder: Path, kind: str) -> None:
    playlist(kind, folder / "clip.mp4")
    bodies: list[bytes] = []

    def keep(exchange: Exchange) -> None:
        bodies.append(exchange.read())
        reply = exchange.forward()
        exchange.send(reply.head + reply.body)

    bench.faulty.always(Endpoint.UPLOAD, keep)
    ended = bench.run("submit", "clip.mp4", PROMPT, "--no-check")

    check_failure(ended, 2, "the file service refuses the clip", "host the clip yourself")
    assert bench.posts == 0
    assert all(PLAYLISTS[kind].encode() in body and len(body) < 1000 for body in bodies)


@pytest.mark.parametrize(
    ("marks", "message"),
    [
        ("--start 1 --end 0.5", "end 0.5 is not after start 1"),
        ("--start 1 --end 1", "end 1 is not after start 1"),
        ("--start 2.5", "start 2.5 is beyond the end of clip.mp4, which is 2.00 s long"),
        ("--end 9", "end 9 is beyond the end of clip.mp4, which is 2.00 s long"),
        ("--start 1:00:00", "start 3600 is beyond the end"),
        ("--end 0", "end 0 leaves nothing of clip.mp4"),
        ("--start soon", "invalid start 'soon'"),
        ("--start -1", "invalid start '-1'"),
        ("--end 1:60", "invalid end '1:60'"),
        ("--end nan", "invalid end 'nan'"),
    ],
)
@pytest.mark.parametrize("is_unchecked", [False, True])
def test_marks_that_leave_nothing_of_the_clip_are_refused(
    bench: Bench, folder: Path, marks: str, message: str, *, is_unchecked: bool
) -> None:
    make_clip(folder / "clip.mp4")
    argv = ["edit", "clip.mp4", PROMPT, *shlex.split(marks)]

    check_unsent(bench, bench.run(*argv, *(["--no-check"] if is_unchecked else [])), message)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other permissions")
def test_an_unreadable_clip_is_refused(bench: Bench, folder: Path) -> None:
    make_clip(folder / "clip.mp4").chmod(0)
    if os.access(folder / "clip.mp4", os.R_OK):
        pytest.skip("root may read everything")

    check_unsent(bench, bench.run("edit", "clip.mp4", PROMPT), "Permission denied")


def test_the_built_in_sandbox_refuses_a_bad_clip_before_submitting(omniedit: CommandLine) -> None:
    (omniedit.folder / "clip.mp4").write_text("no video\n")

    for command in ("edit", "submit", "probe"):
        argv = [command, "clip.mp4", *([PROMPT] if command != "probe" else [])]
        check_failure(omniedit("--sandbox", *argv), 2, "is text, not a video")

    assert omniedit("--sandbox", "list", "--remote", "--json").document["tasks"] == []
