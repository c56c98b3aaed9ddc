"""`python -m tests.recording [FILE]`: make README's recording again from a real session."""

import argparse
import re
import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.recording.picture import draw
from tests.recording.session import Session

ROOT: Final = Path(__file__).parents[2]
PICTURE: Final = ROOT / ".github" / "recording.svg"
TITLE: Final = (
    "A session of omniedit in the sandbox: a bar moves while the clip is edited, out.mp4 is saved, "
    "the same line again pays nothing, and the list shows the task."
)


def main(argv: list[str]) -> int:
    """Record a session and draw it into the named file, or into README's picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", nargs="?", type=Path, default=PICTURE)
    path: Path = parser.parse_args(argv).path
    readme = (ROOT / "README.md").read_text("utf-8")
    command = re.search(r" && (omniedit .+)$", readme, re.MULTILINE)
    if command is None:
        sys.stderr.write("README begins with no line that installs and runs omniedit\n")
        return 1
    # The path is so long that `list` shows no folder.
    home = tempfile.TemporaryDirectory(prefix="omniedit-recording-")
    with home as name, Session(Path(name)) as session:
        session.call(command[1])
        session.repeat()
        session.call("omniedit --sandbox list")
        session.rest()
    path.write_text(draw(session.frames, title=TITLE, length_s=session.now_s), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
