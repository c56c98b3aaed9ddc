"""Every error has its own kind, can be restored from the journal, and has usable hints."""

import inspect
import sys
from pathlib import Path

import pytest

from omniedit import errors
from omniedit.errors import (
    Interrupted,
    OmniEditError,
    install_command,
    upgrade_command,
)
from omniedit.models import TaskError
from omniedit.sanitize import quoted
from tests.journals import attempt

EVERY_ERROR = [*OmniEditError.subclasses()]


def test_kinds_are_unique() -> None:
    kinds = [error.__dict__.get("kind") for error in EVERY_ERROR]

    assert None not in kinds, "a class has no kind of its own"
    assert len(set(kinds)) == len(kinds)


def test_the_docstring_shows_the_tree_of_classes() -> None:
    def draw(cls: type[OmniEditError], before: str) -> list[str]:
        below = cls.__subclasses__()
        lines: list[str] = []
        for number, each in enumerate(below):
            is_last = number == len(below) - 1
            lines.append(f"{before}{'└' if is_last else '├'}── {each.__name__}")
            lines += draw(each, before + ("    " if is_last else "│   "))
        return lines

    drawn = ["OmniEditError", *draw(OmniEditError, "")]

    # `Name    what it is`, with the same branches before it.
    documented = (errors.__doc__ or "").partition("\n\n")[2].partition("\n\n")[0].splitlines()
    assert [line[: len(name)] for line, name in zip(documented, drawn, strict=True)] == drawn
    assert all(
        line[len(name) :][:1] in {"", " "} for line, name in zip(documented, drawn, strict=True)
    )


@pytest.mark.parametrize("error", EVERY_ERROR)
def test_an_error_can_be_restored_from_the_journal(error: type[OmniEditError]) -> None:
    recorded = TaskError.of(error("no", code="some_code", http_status=418))

    restored = attempt("r" * 16, prompt="p", error=recorded).refusal

    assert type(restored) is error
    assert str(restored) == restored.message == "no"
    assert (restored.code, restored.http_status) == ("some_code", 418)
    assert (restored.request_id, restored.task_id) == ("r" * 16, None)
    assert (restored.hint, restored.retry_after_s) == (None, None)


def test_an_unknown_kind_is_restored_as_the_base_error() -> None:
    recorded = TaskError(code="", message="no", kind="of-a-newer-version")

    restored = attempt("r" * 16, prompt="p", error=recorded).refusal

    assert type(restored) is OmniEditError
    assert restored.code == OmniEditError.kind


@pytest.mark.parametrize("error", EVERY_ERROR)
def test_the_code_defaults_to_the_kind(error: type[OmniEditError]) -> None:
    assert "message" in inspect.signature(error).parameters
    assert error("no").code == error.kind
    assert error("no", code="quota_not_enough").code == "quota_not_enough"


def test_about_fills_in_only_missing_ids() -> None:
    error = OmniEditError("no", task_id="t-1").about(task_id="t-2", request_id="r-2")

    assert (error.task_id, error.request_id) == ("t-1", "r-2")


def test_an_interrupt_is_not_caught_as_an_exception() -> None:
    assert not issubclass(Interrupted, Exception)
    assert not issubclass(Interrupted, KeyboardInterrupt)
    assert Interrupted(15).signal_number == 15


@pytest.mark.parametrize(
    ("receipt", "command"),
    [
        pytest.param(None, "python -m pip", id="pip"),
        pytest.param("pipx_metadata.json", "pipx", id="pipx"),
        pytest.param("uv-receipt.toml", "uv tool", id="uv-tool"),
    ],
)
def test_extras_and_upgrades_use_the_tool_that_installed_omniedit(
    tmp_path: Path, receipt: str | None, command: str
) -> None:
    if receipt is not None:
        (tmp_path / receipt).touch()

    extra = install_command("media", environment=str(tmp_path))
    upgrade = upgrade_command(environment=str(tmp_path))

    extra, upgrade = (text.replace(quoted(sys.executable), "python") for text in (extra, upgrade))
    assert extra.startswith(f"{command} install ")
    assert extra.endswith('"omniedit[media]"' if receipt is None else 'omniedit/omniedit"')
    assert upgrade.startswith(command)
    assert upgrade.endswith('omniedit/omniedit"' if receipt is None else " omniedit")


@pytest.mark.posix
@pytest.mark.parametrize("is_first", [True, False], ids=["activated", "another-python-first"])
def test_an_extra_is_installed_by_the_running_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_first: bool
) -> None:
    (tmp_path / "python").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str((tmp_path if is_first else Path("/a b")) / "python"))

    line = install_command("media", environment=str(tmp_path))

    assert line.partition(" -m ")[0] == ("python" if is_first else "'/a b/python'")


def test_a_message_of_millions_of_characters_is_cut() -> None:
    error = errors.OmniEditError("x" * 1_000_000)

    assert error.message.startswith("x" * 1000)
    assert len(error.message) < 20_000
