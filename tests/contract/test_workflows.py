"""The workflows: no permissions by default, and every action pinned."""

import re

import pytest

from tests.contract.readme import ROOT

FOLDER = ROOT / ".github" / "workflows"
NAMES = sorted(path.name for path in FOLDER.glob("*.yml"))
CI, RELEASE = ((FOLDER / f"{name}.yml").read_text("utf-8") for name in ("ci", "release"))


@pytest.mark.parametrize("name", NAMES)
def test_a_workflow_has_no_default_permissions_or_secrets(name: str) -> None:
    text = (FOLDER / name).read_text("utf-8")

    assert re.search(r"^permissions: \{\}$", text, re.MULTILINE)
    assert text.count("uses: actions/checkout@") == text.count("persist-credentials: false")
    assert "secrets" not in text
    # Text that a person chose, such as a branch or a title, must not enter a script.
    assert not [line for line in text.splitlines() if "run:" in line and "${{" in line]


@pytest.mark.parametrize("name", NAMES)
def test_an_action_is_pinned_and_names_its_version(name: str) -> None:
    text = (FOLDER / name).read_text("utf-8")

    for action, comment in re.findall(r"uses: (\S+)(.*)", text):
        if action.startswith("./"):
            assert (ROOT / action).is_file()
        else:
            assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", action), action
            assert re.fullmatch(r"  # v\d+\.\d+\.\d+", comment), action


def test_workflows_pin_one_version_of_each_action() -> None:
    pins = set(re.findall(r"uses: ([\w/-]+)@([0-9a-f]{40}  # \S+)", CI + RELEASE))

    assert len(pins) == len({action for action, _ in pins})


def test_only_the_publish_job_may_request_an_id_token() -> None:
    head, _, publish = RELEASE.partition("\n  publish:\n")

    assert re.findall(r"^ +([\w-]+: write)", CI + RELEASE, re.MULTILINE) == ["id-token: write"]
    assert "id-token: write" in publish
    assert "name: pypi" in publish
    assert "run:" not in publish
    assert "uses: ./.github/workflows/ci.yml" in head


def test_the_published_package_is_the_tested_one() -> None:
    uploads = re.findall(r"upload-artifact@.*\n +with:\n +name: (\w+)", CI)
    downloads = re.findall(r"download-artifact@.*\n +with:\n +name: (\w+)", CI + RELEASE)

    assert uploads == ["dist"]
    assert set(downloads) == {"dist"}
    assert "needs: ci" in RELEASE
    # The package in the folder must not shadow the installed one.
    assert "rm -r omniedit" in CI


def test_every_system_is_tested_with_oldest_and_newest_python() -> None:
    pyproject = (ROOT / "pyproject.toml").read_text("utf-8")
    known = re.findall(r"Python :: (3\.\d+)", pyproject)

    assert "os: [ubuntu-latest, macos-latest, windows-latest]" in CI
    assert f'python: ["{known[0]}", "{known[-1]}"]' in CI
    assert f'requires-python = ">={known[0]}"' in pyproject
    assert "--resolution lowest-direct" in CI
