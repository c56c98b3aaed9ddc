"""Refuse a tag that is not the version, or that the changelog does not speak of yet."""

import re
import sys
from pathlib import Path


def fault_of(tag: str, root: Path) -> str | None:
    """Return why a tag cannot be released, None where it can."""
    source = (root / "omniedit" / "__init__.py").read_text("utf-8")
    changelog = (root / "CHANGELOG.md").read_text("utf-8")
    version = re.search(r'^__version__ = "(.+)"$', source, re.MULTILINE)
    newest = re.search(r"^## \[(.+?)\](?: - (\d{4}-\d\d-\d\d))?$", changelog, re.MULTILINE)
    if version is None or newest is None:
        return "version or changelog cannot be read"
    if tag != f"v{version[1]}":
        return f"the tag is {tag}, the version {version[1]} (omniedit/__init__.py)"
    if newest[1] != version[1] or newest[2] is None:
        return f"the top entry of CHANGELOG.md is {newest[0]!r}, not {version[1]} with its date"
    return None


if __name__ == "__main__":
    sys.exit(fault_of(sys.argv[1], Path(__file__).parents[1]))
