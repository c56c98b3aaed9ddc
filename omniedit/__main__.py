"""The entry point: it imports as little as possible until the command is known."""

# The real handler is installed with the command. Until then an interrupt ends the process without
# a traceback, unless the process was started with SIGINT ignored. The built-in `_signal` is used
# because importing `signal` takes a millisecond, in which an interrupt would print a traceback.
_signal = __import__("_signal")
if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)

import gc  # noqa: E402 - only after the signal, as all that follow
import os  # noqa: E402
import sys  # noqa: E402

from omniedit import __version__  # noqa: E402


def main() -> int:
    """Run the command line and return its exit status."""
    try:
        return _dispatch(sys.argv[1:])
    finally:
        # The process ends anyway; a last garbage collection would take a tenth of the time.
        gc.freeze()


def _dispatch(argv: list[str]) -> int:
    if argv in (["--version"], ["-V"]) and _print_version():
        return 0
    if argv[:1] == ["__complete"]:
        from omniedit.cli.completion import main as complete  # noqa: PLC0415

        return complete(argv[1:], os.environ)
    # Imports allocate a lot and free nothing: keep the collector out of it.
    gc.set_threshold(50_000, 20, 20)
    from omniedit.cli.main import run  # noqa: PLC0415

    gc.freeze()
    return run(argv, os.environ)


def _print_version() -> bool:
    """Print the version without the parser, five times faster; return whether that worked."""
    try:
        # Bytes, because Windows would translate the line break of text.
        os.write(1, f"omniedit {__version__}\n".encode())
    except OSError:
        # `run` fails in the same way, and reports it.
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
