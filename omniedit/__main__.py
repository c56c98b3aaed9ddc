"""The entry point: as little as possible before it is known what was asked for."""

import signal

# An interrupt during the imports below ends the process without a traceback; the real handler
# comes with the command. What was told to ignore it goes on doing so.
if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import os
import sys

from omniedit import __version__


def main() -> int:
    """Carry out the command line and return its exit status."""
    argv = sys.argv[1:]
    if argv == ["--version"]:
        # Without the parser, which takes five times as long to load as this takes in all.
        sys.stdout.write(f"omniedit {__version__}\n")
        return 0
    from omniedit.cli.app import run  # noqa: PLC0415

    return run(argv, os.environ)


if __name__ == "__main__":
    sys.exit(main())
