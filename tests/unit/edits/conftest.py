from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder in which the session runs."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    return here
