"""`omniedit doctor` against a served sandbox."""

from pathlib import Path
from typing import Any

import pytest

from tests.e2e.equipment import Bench
from tests.e2e.faulty import Endpoint

pytestmark = pytest.mark.e2e


def test_a_working_setup_is_ok_in_every_line(bench: Bench) -> None:
    ended = bench.run("doctor")

    assert (ended.status, ended.stderr) == (0, ""), ended
    names = [line.split()[1] for line in ended.stdout.splitlines()]
    assert names[:6] == ["python", "omniedit", "key", "service", "file", "clock"]
    assert {line.split()[0] for line in ended.stdout.splitlines()} == {"ok"}


def test_an_unreachable_service_is_reported_once(bench: Bench) -> None:
    ended = bench.run("doctor", "--json", OMNIEDIT_BASE_URL="http://127.0.0.1:9")

    said = [
        check["name"] for check in ended.document["checks"] if "127.0.0.1:9" in check["message"]
    ]
    assert (ended.status, said) == (8, ["service"]), ended


def test_doctor_neither_submits_nor_uploads(bench: Bench) -> None:
    bench.run("doctor")

    assert bench.posts == bench.faulty.count(Endpoint.UPLOAD) == 0


@pytest.mark.parametrize(
    ("environ", "status", "line"),
    [
        pytest.param({"OMNIEDIT_API_KEY": ""}, 3, "failure  key", id="no-key"),
        pytest.param({"OMNIEDIT_API_KEY": "sk-a b"}, 3, "failure  key", id="malformed-key"),
        pytest.param({"OMNIEDIT_API_KEY": "sk-other"}, 3, "failure  service", id="key-refused"),
        pytest.param({"OMNIEDIT_BASE_URL": "http://127.0.0.1:9"}, 8, "failure  service", id="no-service"),
        pytest.param({"OMNIEDIT_FILES_URL": "http://127.0.0.1:9"}, 8, "failure  file service", id="no-file-service"),
        pytest.param({"OMNIEDIT_BASE_URL": "http://x.example"}, 2, "failure  settings", id="base-url"),
        pytest.param({"OMNIEDIT_STATE_DIR": "/dev/null/x"}, 10, "failure  state folder", id="state-folder-below-a-device"),
        pytest.param({"OMNIEDIT_STATE_DIR": f"/{'x' * 300}"}, 10, "failure  state folder", id="state-folder-name-too-long"),
        pytest.param({"SSL_CERT_FILE": "/no/such"}, 0, "warning  SSL_CERT_FILE", id="missing-certificate-file"),
        pytest.param({"SSL_CERT_FILE": f"/{'x' * 300}"}, 0, "warning  SSL_CERT_FILE", id="certificate-file-name-too-long"),
    ],
)  # fmt: skip
def test_a_failed_check_sets_the_exit_status(
    bench: Bench, environ: dict[str, Any], status: int, line: str
) -> None:
    ended = bench.run("doctor", **environ)

    assert ended.status == status, ended
    lines = ended.stdout.splitlines()
    assert [line for line in lines if line.startswith(line)]
    assert len(lines) > 4  # the other checks are still made


def test_a_damaged_journal_is_reported_and_left_unchanged(
    bench: Bench, folder: Path, tmp_path: Path
) -> None:
    journal = tmp_path / "home" / "state" / "omniedit" / "sandbox" / "journal.db"
    bench.run("list")
    journal.parent.mkdir(parents=True, exist_ok=True)
    journal.write_bytes(b"no database" * 100)

    ended = bench.run("doctor", "--json")

    checks = {check["name"]: check for check in ended.document["checks"]}
    assert ended.status == 10
    assert checks["journal"]["verdict"] == "failure"
    assert checks["journal"]["hint"]
    assert journal.read_bytes() == b"no database" * 100


def test_a_broken_settings_file_does_not_stop_the_checks(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("x = [")

    ended = bench.run("doctor", "--json", OMNIEDIT_CONFIG_DIR=str(tmp_path))

    names = [check["name"] for check in ended.document["checks"]]
    assert ended.status == 2
    assert "settings" in names
    assert "extra media" in names
    assert ended.document["error"]["code"] == "invalid_config"


@pytest.mark.parametrize(
    "proxy",
    ["http://user:secret@proxy:1", "user:secret@proxy:1", "http://user:sec@ret@proxy:1"],
)
def test_a_proxy_password_is_never_shown(bench: Bench, proxy: str) -> None:
    ended = bench.run("doctor", https_proxy=proxy)

    assert "sec" not in ended.stdout
    assert "…@proxy:1" in ended.stdout


def test_the_embedded_sandbox_needs_no_key(bench: Bench) -> None:
    ended = bench.run("--sandbox", "doctor", "--json", OMNIEDIT_API_KEY="", OMNIEDIT_BASE_URL="")

    assert ended.status == 0, ended
    assert ended.document["sandbox"] is True


def test_a_sandbox_without_a_state_folder_fails(bench: Bench) -> None:
    ended = bench.run("--sandbox", "doctor", OMNIEDIT_API_KEY="", OMNIEDIT_STATE_DIR="/dev/null/x")

    assert ended.status == 10, ended
    assert "failure  service" in ended.stdout
    assert "cannot serve the sandbox" in ended.stdout
