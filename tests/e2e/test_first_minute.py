"""A newcomer's first minute, in the embedded sandbox: no key, nothing set."""

import pytest

from tests.commandline import CommandLine

pytestmark = pytest.mark.e2e


def test_one_command_leaves_a_playable_video(omniedit: CommandLine) -> None:
    ended = omniedit(
        "--sandbox",
        "edit",
        "https://example.com/clip.mp4",
        "warmer [sandbox:seconds=0]",
        "-o",
        "out.mp4",
    )

    assert (ended.status, ended.stdout) == (0, "out.mp4\n"), ended
    assert (omniedit.folder / "out.mp4").read_bytes()[4:8] == b"ftyp"
    assert "no edit was made" in ended.stderr


def test_what_one_command_submits_the_next_one_saves(omniedit: CommandLine) -> None:
    submitted = omniedit(
        "--sandbox", "submit", "https://example.com/clip.mp4", "warmer [sandbox:seconds=0]"
    )
    waited = omniedit("--sandbox", "wait", "--download", "out.mp4")

    assert submitted.status == waited.status == 0, (submitted, waited)
    assert waited.stdout == "out.mp4\n"
    assert submitted.stdout.strip() in waited.stderr
