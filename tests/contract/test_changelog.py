"""The changelog follows Keep a Changelog, and covers this version."""

import re
import runpy
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

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


@pytest.fixture
def fault_of() -> Callable[[str, Path], str | None]:
    """Return the check that a release runs before anything is built."""
    found: Callable[[str, Path], str | None] = runpy.run_path(str(ROOT / ".ci/check_release.py"))[
        "fault_of"
    ]
    return found


def _tree(folder: Path, *, version: str, heading: str) -> Path:
    (folder / "omniedit").mkdir()
    (folder / "omniedit/__init__.py").write_text(f'"""Doc."""\n\n__version__ = "{version}"\n')
    (folder / "CHANGELOG.md").write_text(f"# Changelog\n\n{heading}\n\n## [0.0.9] - 2026-01-01\n")
    return folder


@pytest.mark.parametrize(
    ("tag", "heading", "fault"),
    [
        pytest.param("v1.2.3", "## [1.2.3] - 2026-11-22", None, id="all-agree"),
        pytest.param("v1.2.4", "## [1.2.3] - 2026-11-22", "the version 1.2.3", id="wrong-tag"),
        pytest.param("1.2.3", "## [1.2.3] - 2026-11-22", "the tag is 1.2.3", id="tag-without-v"),
        pytest.param("v1.2.3", "## [Unreleased]", "CHANGELOG.md", id="unreleased-on-top"),
        pytest.param("v1.2.3", "## [1.2.3]", "with its date", id="without-a-date"),
        pytest.param("v1.2.3", "## [1.2.2] - 2026-11-22", "not 1.2.3", id="older-entry-on-top"),
    ],
)
def test_a_release_needs_tag_version_and_changelog_to_agree(
    tmp_path: Path,
    fault_of: Callable[[str, Path], str | None],
    tag: str,
    heading: str,
    fault: str | None,
) -> None:
    found = fault_of(tag, _tree(tmp_path, version="1.2.3", heading=heading))

    assert (found is None) is (fault is None)
    assert (fault or "") in (found or "")


def test_the_release_check_can_read_this_repository(
    tmp_path: Path, fault_of: Callable[[str, Path], str | None]
) -> None:
    (tmp_path / "omniedit").mkdir()
    (tmp_path / "omniedit/__init__.py").write_text(f'__version__ = "{__version__}"\n')
    shutil.copy(ROOT / "CHANGELOG.md", tmp_path)

    found = fault_of("v999", tmp_path)

    assert found is not None
    assert "cannot be read" not in found
