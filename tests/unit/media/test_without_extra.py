"""Without PyAV, `omniedit.media` can be imported and names the missing extra."""

import sys

import pytest

import omniedit.media
from omniedit.errors import MissingExtraError, install_command


@pytest.fixture
def without_av(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(sys.modules):
        if name.startswith(("av.", "omniedit.media.")):
            monkeypatch.delitem(sys.modules, name)
    # None makes an import fail as if PyAV were not installed.
    monkeypatch.setitem(sys.modules, "av", None)


@pytest.mark.usefixtures("without_av")
@pytest.mark.parametrize("name", ["probe", "prepare", "plan_split", "join"])
def test_functions_that_need_pyav_say_how_to_install_it(name: str) -> None:
    with pytest.raises(MissingExtraError) as caught:
        getattr(omniedit.media, name)

    assert caught.value.hint == install_command("media")


def test_unknown_names_raise_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        _ = omniedit.media.nonsense


def test_availability_and_exports_need_no_pyav() -> None:
    assert isinstance(omniedit.media.is_available(), bool)
    assert set(omniedit.media.__all__) >= {"find_problems", "parse_mark", "probe"}
