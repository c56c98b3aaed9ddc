"""The part file: what it keeps of an earlier run, and what it refuses."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from omniedit.errors import LocalError
from tests.systems import linux

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.downloads.conftest import Bench


def _give_away(bench: Bench, name: str) -> None:
    """Give a file to another user, as the bench's system sees it."""
    if os.getuid() == 0:
        os.chown(bench.folder / name, 4242, -1)


@pytest.mark.posix
def test_another_users_part_is_neither_resumed_nor_written_to(
    make_bench: Callable[..., Bench],
) -> None:
    bench = make_bench(linux(user=os.getuid() + 1))
    (bench.folder / bench.PART).write_bytes(b"theirs")
    _give_away(bench, bench.PART)

    with pytest.raises(LocalError, match=r"in the way.*another user"):
        bench.download()

    assert (bench.folder / bench.PART).read_bytes() == b"theirs"
    assert bench.origin.requests == []


@pytest.mark.posix
def test_a_part_writable_by_others_starts_over(bench: Bench) -> None:
    bench.leave_part()
    (bench.folder / bench.PART).chmod(0o666)

    bench.download()

    assert bench.origin.ranges == [None]


def _pipe(bench: Bench) -> None:
    os.mkfifo(bench.folder / bench.NOTE)


def _endless(bench: Bench) -> None:
    (bench.folder / bench.NOTE).symlink_to("/dev/zero")


def _huge(bench: Bench) -> None:
    (bench.folder / bench.NOTE).touch(0o600)
    os.truncate(bench.folder / bench.NOTE, 1024**4)


def _deep(bench: Bench) -> None:
    (bench.folder / bench.NOTE).write_text("[" * 50_000)


def _writable(bench: Bench) -> None:
    note = bench.folder / bench.NOTE
    note.write_bytes(b'{"schema": 1}')
    note.chmod(0o666)


@pytest.mark.posix
@pytest.mark.parametrize("plant", [_pipe, _endless, _huge, _deep, _writable])
def test_a_planted_note_neither_blocks_nor_is_trusted(
    bench: Bench, plant: Callable[[Bench], None]
) -> None:
    bench.leave_part()
    (bench.folder / bench.NOTE).unlink()
    plant(bench)

    bench.download()

    assert bench.origin.ranges == [None]
    assert bench.names == ["out.mp4"]
