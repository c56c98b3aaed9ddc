"""The bundled clip: small, complete, and playable by everything."""

from __future__ import annotations

import pytest

from omniedit.sandbox.clips import BUNDLED_CLIP


def test_the_clip_is_small_and_starts_fast() -> None:
    content = BUNDLED_CLIP.read_bytes()

    assert len(content) <= 150_000
    assert content[4:8] == b"ftyp"
    assert content.index(b"moov") < content.index(b"mdat")


def test_the_clip_decodes_completely() -> None:
    av = pytest.importorskip("av")
    with av.open(str(BUNDLED_CLIP)) as container:
        (video,), (audio,) = container.streams.video, container.streams.audio
        frames = list(container.decode(video))
        container.seek(0)
        samples = sum(frame.samples for frame in container.decode(audio))

    assert (video.codec_context.name, audio.codec_context.name) == ("h264", "aac")
    assert {(frame.width, frame.height, frame.format.name) for frame in frames} == {
        (640, 360, "yuv420p")
    }
    assert len(frames) == 100
    assert samples >= 4 * 48_000
