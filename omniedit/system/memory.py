"""How threads share memory."""

from contextlib import suppress
from typing import Final

_M_ARENA_MAX: Final = -8
"""The parameter's number in glibc's `malloc.h`."""


def share_heap() -> None:
    """Have the threads of this process allocate from one heap, where the C library can be told.

    glibc gives threads up to eight heaps a core, and each keeps what its busiest moment took.
    """
    import ctypes  # noqa: PLC0415 - only work with many threads needs it

    # Other C libraries have no such call, and on Windows the library needs a name.
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)
