"""Passes over the packets of a clip, none of which may take for ever.

A few kilobytes can hold pictures that keep a machine busy for days. Whatever is made of packets is
made while they are passed over, so that here is the one place where time is kept.
"""

import time
from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from omniedit.errors import InvalidInputError

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream

StreamT = TypeVar("StreamT", "VideoStream", "AudioStream")

READING_BUDGET_S: Final = 60.0
"""Of a pass that reads: ten minutes of 4K take a few seconds."""
WRITING_BUDGET_S: Final = 900.0
"""Of a pass that decodes and encodes: ten seconds of 8K take some minutes."""


def packets_of(
    clip: "InputContainer",
    stream: StreamT,
    *,
    name: str,
    budget_s: float,
    clock: Callable[[], float] = time.monotonic,
) -> "Iterator[Packet[StreamT]]":
    """Yield the packets of a stream, in the order of decoding.

    Args:
        clip: Open.
        stream: One of its own.
        name: The clip, for the message.
        budget_s: How long the pass may take, with all that is made of the packets meanwhile.
        clock: Monotonic seconds.

    Raises:
        InvalidInputError: It takes longer.
    """
    deadline = clock() + budget_s
    for packet in _demuxed(clip, stream):
        if clock() > deadline:
            msg = f"reading {name} takes longer than {budget_s:.0f} s"
            hint = "export it with another program as a smaller or shorter MP4"
            raise InvalidInputError(msg, code="clip_too_slow", hint=hint)
        yield packet


def _demuxed(clip: "InputContainer", stream: StreamT) -> "Generator[Packet[StreamT]]":
    packets = cast("Any", clip).demux(stream)
    while True:
        try:
            yield next(packets)
        except StopIteration:
            return
        except IndexError:
            # PyAV stumbles over a stream that begins in the middle, and can go on behind it.
            packets = cast("Any", clip).demux(stream)
