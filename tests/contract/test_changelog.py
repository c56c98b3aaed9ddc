"""The changelog is in the form of Keep a Changelog, and speaks of this version."""

import re

from omniedit import __version__
from tests.contract.readme import ROOT

TEXT = (ROOT / "CHANGELOG.md").read_text("utf-8")
HEADINGS = re.findall(r"^## \[(.+?)\](?: - (\d{4}-\d\d-\d\d))?$", TEXT, re.MULTILINE)
KINDS = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_the_newest_entry_is_unreleased_or_this_version() -> None:
    newest, _ = HEADINGS[0]

    assert newest in {"Unreleased", __version__}
    released = [version for version, _ in HEADINGS if version != "Unreleased"]
    assert not released or released[0] == __version__


def test_every_version_has_a_date_and_a_link() -> None:
    for version, date in HEADINGS:
        assert (version == "Unreleased") is (date == "")
        assert re.search(rf"^\[{re.escape(version)}\]: https://", TEXT, re.MULTILINE)


def test_every_heading_is_of_a_known_kind() -> None:
    assert {*re.findall(r"^### (.+)$", TEXT, re.MULTILINE)} <= KINDS
    assert TEXT.startswith("# Changelog\n")
