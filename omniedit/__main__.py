"""The entry point: it does as little as possible before it knows what was asked for."""

# An interrupt during the imports below ends the process without a traceback; the real handler
# is installed with the command. A process that was started to ignore it keeps ignoring it.
# `signal` itself takes a millisecond to import, in which an interrupt would show one.
_signal = __import__("_signal")
if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)

import gc  # noqa: E402 - see above, as the next
import os  # noqa: E402
import sys  # noqa: E402

from omniedit import __version__  # noqa: E402


def main() -> int:
    """Carry out the command line and return its exit status."""
    try:
        return _carry_out(sys.argv[1:])
    finally:
        # Memory goes with the process; a last garbage collection would take a tenth of the time.
        gc.freeze()


def _carry_out(argv: list[str]) -> int:
    if argv in (["--version"], ["-V"]) and _has_told_version():
        return 0
    if argv[:1] == ["__complete"]:
        from omniedit.cli.completion.tasks import main as complete  # noqa: PLC0415

        return complete(argv[1:], os.environ)
    # Imports allocate a lot and free nothing: keep the collector out of it.
    gc.set_threshold(50_000, 20, 20)
    from omniedit.cli.main import run  # noqa: PLC0415

    gc.freeze()
    return run(argv, os.environ)


def _has_told_version() -> bool:
    """Print the version without the parser, which takes five times as long to load as this."""
    try:
        # Bytes, since no script wants what Windows makes of line breaks.
        os.write(1, f"omniedit {__version__}\n".encode())
    except OSError:
        # The boundary reports it.
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
