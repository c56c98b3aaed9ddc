"""Without PyAV, `omniedit.media` can be imported and names the missing extra."""

import sys

import pytest

from omniedit.errors import MissingExtraError, install_command
from omniedit.media import is_available, require_extra


@pytest.mark.parametrize(
    "package", [pytest.param("av", id="pyav"), pytest.param("PIL", id="pillow")]
)
def test_a_missing_package_is_answered_with_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    # None makes an import fail as if the package were not installed.
    monkeypatch.setitem(sys.modules, package, None)

    with pytest.raises(MissingExtraError) as caught:
        require_extra("inspecting clips", "PIL")

    assert caught.value.hint == install_command("media")
    assert is_available() is (package != "av")


def test_nothing_is_refused_with_the_extra() -> None:
    require_extra("inspecting clips", "PIL")

    assert is_available()
