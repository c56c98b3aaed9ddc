"""Settings: environment before file before default, each with its source."""

import os
from pathlib import Path

import pytest

from omniedit.errors import (
    CredentialsError,
    InvalidInputError,
    InvalidKeyError,
    LocalError,
    MissingKeyError,
)
from omniedit.settings import (
    DEFAULT_BASE_URL,
    DEFAULT_FILES_URL,
    SANDBOX_ORIGIN,
    CredentialsFile,
    Secret,
    credentials_path,
    load_settings,
)

KEY = "sk-evo-abcdefghijklmnopqrstuvwxyz0123456789"
LOOPBACK = "http://127.0.0.1:8123"


@pytest.fixture
def config_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "config"
    folder.mkdir()
    return folder


@pytest.fixture
def environ(config_dir: Path, tmp_path: Path) -> dict[str, str]:
    return {
        "OMNIEDIT_CONFIG_DIR": str(config_dir),
        "OMNIEDIT_STATE_DIR": str(tmp_path / "state"),
    }


def save(config_dir: Path, origin: str, key: str) -> None:
    file = CredentialsFile(credentials_path(config_dir))
    file.save(origin, Secret(key), files_origin=DEFAULT_FILES_URL)


def test_the_defaults_are_the_real_service_without_a_key(environ: dict[str, str]) -> None:
    settings = load_settings(environ)

    assert (settings.base_url.value, settings.base_url.source) == (DEFAULT_BASE_URL, "default")
    assert (settings.files_url.value, settings.files_url.source) == (DEFAULT_FILES_URL, "default")
    assert (settings.key, settings.key_error, settings.empty_key_variables) == (None, None, ())
    assert (settings.is_sandbox, settings.is_embedded) == (False, False)
    assert settings.origin == DEFAULT_BASE_URL
    with pytest.raises(MissingKeyError) as caught:
        settings.require_key()
    assert "EVOLINK_API_KEY" in (caught.value.hint or "")
    assert "omniedit config set-key" in (caught.value.hint or "")


def test_omniedits_variable_outranks_evolinks_and_the_saved_key(
    environ: dict[str, str], config_dir: Path
) -> None:
    saved = "sk-evo-from-the-file-000000000000"
    save(config_dir, DEFAULT_BASE_URL, saved)
    usual = {"EVOLINK_API_KEY": "sk-evo-from-the-usual-variable-00"}
    own = {"OMNIEDIT_API_KEY": "sk-evo-from-its-own-variable-0000"}

    found = [load_settings(environ | more).key for more in ({}, usual, usual | own)]

    assert [key.value.reveal() for key in found if key] == [saved, *usual.values(), *own.values()]
    assert [key.source for key in found if key] == [
        f"file: {credentials_path(config_dir)}",
        "environment: EVOLINK_API_KEY",
        "environment: OMNIEDIT_API_KEY",
    ]


def test_a_saved_key_goes_only_to_the_origin_it_was_saved_for(
    environ: dict[str, str], config_dir: Path
) -> None:
    save(config_dir, DEFAULT_BASE_URL, KEY)

    assert load_settings(environ).key is not None
    for other in ("https://api.evolink.ai.evil.example", "https://api.evolink.ai:8443", LOOPBACK):
        assert load_settings(environ | {"OMNIEDIT_BASE_URL": other}).key is None


def test_a_key_saved_for_another_api_is_named(environ: dict[str, str], config_dir: Path) -> None:
    save(config_dir, DEFAULT_BASE_URL, KEY)
    environ["OMNIEDIT_BASE_URL"] = "https://other.example"

    with pytest.raises(MissingKeyError) as raised:
        load_settings(environ).require_key()

    assert raised.value.message == (
        "no API key for https://other.example: a key is saved for https://api.evolink.ai"
    )


def test_a_saved_key_is_not_sent_to_another_file_service(
    environ: dict[str, str], config_dir: Path
) -> None:
    save(config_dir, DEFAULT_BASE_URL, KEY)

    settings = load_settings(environ | {"OMNIEDIT_FILES_URL": "https://files.example.com"})

    with pytest.raises(CredentialsError, match=r"not https://files\.example\.com"):
        settings.require_key()


@pytest.mark.posix
def test_a_pipe_as_credentials_file_fails_only_when_a_key_is_needed(
    environ: dict[str, str], config_dir: Path
) -> None:
    os.mkfifo(credentials_path(config_dir), 0o600)

    settings = load_settings(environ)

    with pytest.raises(LocalError, match="a named pipe"):
        settings.require_key()


def test_an_empty_variable_counts_as_unset_and_is_named(
    environ: dict[str, str], config_dir: Path
) -> None:
    empty = {"OMNIEDIT_API_KEY": "", "EVOLINK_API_KEY": " \n"}

    settings = load_settings(environ | empty)

    assert settings.empty_key_variables == ("OMNIEDIT_API_KEY", "EVOLINK_API_KEY")
    with pytest.raises(MissingKeyError, match="OMNIEDIT_API_KEY and EVOLINK_API_KEY set but empty"):
        settings.require_key()
    save(config_dir, DEFAULT_BASE_URL, KEY)
    assert load_settings(environ | empty).require_key().reveal() == KEY


def test_an_unusable_key_fails_only_when_a_key_is_needed(environ: dict[str, str]) -> None:
    settings = load_settings(environ | {"EVOLINK_API_KEY": "sk-evo-secret\nsk-evo-other"})

    assert settings.key is None
    with pytest.raises(InvalidKeyError, match="EVOLINK_API_KEY") as caught:
        settings.require_key()
    assert "secret" not in str(caught.value)


@pytest.mark.posix
def test_a_readable_credentials_file_fails_only_when_a_key_is_needed(
    environ: dict[str, str], config_dir: Path
) -> None:
    save(config_dir, DEFAULT_BASE_URL, KEY)
    credentials_path(config_dir).chmod(0o644)

    settings = load_settings(environ)

    with pytest.raises(CredentialsError, match="can be read by other users"):
        settings.require_key()
    assert load_settings(environ | {"EVOLINK_API_KEY": KEY}).require_key().reveal() == KEY


def test_no_setting_shows_the_key(environ: dict[str, str]) -> None:
    settings = load_settings(environ | {"EVOLINK_API_KEY": KEY})

    assert KEY not in f"{settings!r}{settings!s}{settings.key}"
    assert KEY[8:-4] not in repr(settings)


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("http://api.example.com", id="http"),
        pytest.param("http://10.0.0.1", id="http-on-a-private-address"),
        pytest.param("api.example.com", id="no-scheme"),
        pytest.param("https://user:pw@api.example.com", id="userinfo"),
        pytest.param("https://api.example.com/?x=1", id="query"),
        pytest.param("https://api.example.com/#x", id="fragment"),
        pytest.param("https://api example.com", id="space"),
        pytest.param("ftp://api.example.com", id="other-scheme"),
    ],
)
@pytest.mark.parametrize("variable", ["OMNIEDIT_BASE_URL", "OMNIEDIT_FILES_URL"])
def test_an_unsafe_or_invalid_url_is_refused(
    environ: dict[str, str], variable: str, url: str
) -> None:
    with pytest.raises(InvalidInputError, match=variable) as caught:
        load_settings(environ | {variable: url})

    assert "pw" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["https://api.example.com/", "http://localhost:1", "http://[::1]:2/"]
)
def test_https_and_loopback_urls_lose_their_trailing_slash(
    environ: dict[str, str], url: str
) -> None:
    assert load_settings(environ | {"OMNIEDIT_BASE_URL": url}).base_url.value == url.rstrip("/")


def test_a_custom_base_url_is_also_the_default_file_service(
    environ: dict[str, str],
) -> None:
    elsewhere = environ | {"OMNIEDIT_BASE_URL": "https://api.example.com"}

    assert load_settings(elsewhere).files_url.value == "https://api.example.com"
    files = {"OMNIEDIT_FILES_URL": "https://files.example.com"}
    assert load_settings(elsewhere | files).files_url.value == "https://files.example.com"


def test_the_environment_outranks_the_config_file(
    environ: dict[str, str], config_dir: Path
) -> None:
    path = config_dir / "config.toml"
    path.write_text('base_url = "https://file.example"\nstate_dir = "~/elsewhere"\n')
    without_state = {k: v for k, v in environ.items() if k != "OMNIEDIT_STATE_DIR"}

    by_file = load_settings(without_state)
    by_variable = load_settings(environ | {"OMNIEDIT_BASE_URL": "https://variable.example"})

    assert (by_file.base_url.value, by_file.base_url.source) == (
        "https://file.example",
        f"file: {path}",
    )
    assert by_file.state_dir.value == Path("~/elsewhere").expanduser()
    assert by_variable.base_url.value == "https://variable.example"
    assert str(by_variable.state_dir.value) == environ["OMNIEDIT_STATE_DIR"]


@pytest.mark.parametrize("value", ["state", ".", "../state"])
def test_a_relative_folder_in_the_file_is_relative_to_the_file(
    config_dir: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    (config_dir / "config.toml").write_text(f'state_dir = "{value}"\n')
    monkeypatch.chdir("/")

    settings = load_settings({"OMNIEDIT_CONFIG_DIR": str(config_dir)})

    assert settings.state_dir.value == config_dir / value


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_the_file_may_begin_with_a_byte_order_mark(
    config_dir: Path, environ: dict[str, str], encoding: str
) -> None:
    (config_dir / "config.toml").write_text('model = "other"\n', encoding=encoding)

    assert load_settings(environ).model.value == "other"


@pytest.mark.parametrize("text", ["", " "])
def test_a_blank_value_in_the_file_counts_as_unset(
    config_dir: Path, environ: dict[str, str], text: str
) -> None:
    names = ("base_url", "files_url", "model", "state_dir")
    (config_dir / "config.toml").write_text("".join(f'{name} = "{text}"\n' for name in names))
    del environ["OMNIEDIT_STATE_DIR"]

    settings = load_settings(environ)

    assert {getattr(settings, name).source for name in names} == {"default"}


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"base_url = ", id="not-toml"),
        pytest.param(b"\xff", id="not-utf-8"),
        pytest.param(b'api_key = "sk-evo-x"', id="unknown-setting"),
        pytest.param(b"base_url = 3", id="not-a-string"),
        pytest.param(b'base_url = "http://example.com"', id="http"),
        pytest.param(b"base_url = " + b"[" * 20_000, id="nested-too-deep"),
        pytest.param(b"base_url = " + b"1" * 10_000, id="number-too-long"),
        pytest.param(b'state_dir = "a\\u0000b"', id="nul"),
    ],
)
def test_an_invalid_config_file_is_named(
    environ: dict[str, str], config_dir: Path, content: bytes
) -> None:
    (config_dir / "config.toml").write_bytes(content)

    with pytest.raises(InvalidInputError, match=r"config\.toml") as refused:
        load_settings(environ)
    assert refused.value.hint


@pytest.mark.posix
@pytest.mark.parametrize("target", ["pipe", "/dev/zero"])
def test_a_config_file_that_is_a_pipe_or_device_is_refused(
    environ: dict[str, str], config_dir: Path, target: str
) -> None:
    os.mkfifo(config_dir / "pipe")
    (config_dir / "config.toml").symlink_to(target)

    with pytest.raises(LocalError, match=r"config\.toml is a "):
        load_settings(environ)


@pytest.mark.parametrize("value", ["1", "true", "YES", " on "])
def test_a_variable_switches_the_sandbox_on(environ: dict[str, str], value: str) -> None:
    settings = load_settings(environ | {"OMNIEDIT_SANDBOX": value, "EVOLINK_API_KEY": KEY})

    assert (settings.is_sandbox, settings.is_embedded) == (True, True)
    assert (settings.key, settings.origin) == (None, SANDBOX_ORIGIN)
    assert settings.allows_internal_clips


@pytest.mark.parametrize("value", ["", "0", "false", "No", "off"])
def test_a_variable_set_to_no_leaves_the_sandbox_off(environ: dict[str, str], value: str) -> None:
    assert not load_settings(environ | {"OMNIEDIT_SANDBOX": value}).is_sandbox


def test_the_sandbox_has_its_own_journal(environ: dict[str, str]) -> None:
    real, sandbox = load_settings(environ), load_settings(environ, sandbox=True)

    assert real.journal_folder != sandbox.journal_folder
    assert sandbox.sandbox_folder != sandbox.journal_folder


def test_a_sandbox_key_makes_any_base_url_the_sandbox(environ: dict[str, str]) -> None:
    settings = load_settings(
        environ | {"OMNIEDIT_BASE_URL": LOOPBACK, "OMNIEDIT_API_KEY": "sk-sandbox-test"}
    )

    assert (settings.is_sandbox, settings.is_embedded) == (True, False)
    assert settings.origin == SANDBOX_ORIGIN
    assert settings.require_key().reveal() == "sk-sandbox-test"


def test_a_loopback_api_is_its_own_origin_and_allows_internal_clips(
    environ: dict[str, str],
) -> None:
    settings = load_settings(environ | {"OMNIEDIT_BASE_URL": LOOPBACK, "EVOLINK_API_KEY": KEY})

    assert (settings.is_sandbox, settings.origin) == (False, LOOPBACK)
    assert settings.allows_internal_clips


@pytest.mark.parametrize(
    ("more", "context"),
    [
        ({"GITHUB_RUN_ID": "7", "GITHUB_JOB": "clips"}, "github:7:clips"),
        ({"GITHUB_RUN_ID": "7", "GITHUB_JOB": ""}, None),
        ({"CI_JOB_ID": "12"}, "ci:12"),
        ({"GITHUB_RUN_ID": "7", "GITHUB_JOB": "a", "OMNIEDIT_CONTEXT": "mine"}, "named:mine"),
        ({"OMNIEDIT_CONTEXT": "  "}, None),
    ],
)
def test_the_context_of_last_is_a_name_a_ci_job_or_this_user(
    environ: dict[str, str], more: dict[str, str], context: str | None
) -> None:
    found = load_settings(environ | more).context

    assert found.value == context if context else found.value.startswith("user:")
    assert (found.source == "default") is (context is None)


@pytest.mark.parametrize(
    "more",
    [
        {"OMNIEDIT_CONTEXT": "\udcff"},
        {"GITHUB_RUN_ID": "\udcff", "GITHUB_JOB": "a"},
        {"CI_JOB_ID": "\udcff"},
        {"OMNIEDIT_BASE_URL": "https://\udcff.example"},
    ],
    ids=str,
)
def test_a_variable_that_is_not_utf_8_is_refused_by_name(
    environ: dict[str, str], more: dict[str, str]
) -> None:
    with pytest.raises(InvalidInputError, match=f"{next(iter(more))} is not valid UTF-8"):
        load_settings(environ | more)


@pytest.mark.posix
def test_a_user_without_a_home_directory_is_told_what_to_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    # As in a container that runs as a user without an entry in `/etc/passwd`.
    monkeypatch.setattr(os, "getuid", lambda: 2**31 - 9)

    with pytest.raises(LocalError, match="no home directory") as caught:
        load_settings({})

    assert "OMNIEDIT_STATE_DIR" in str(caught.value.hint)


def test_the_home_of_an_unknown_user_is_refused(environ: dict[str, str]) -> None:
    with pytest.raises(InvalidInputError, match="the folder in OMNIEDIT_STATE_DIR"):
        load_settings(environ | {"OMNIEDIT_STATE_DIR": "~no-such-user-of-this-machine/x"})


def test_a_relative_state_folder_is_made_absolute(
    environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    settings = load_settings(environ | {"OMNIEDIT_STATE_DIR": "here"})

    assert settings.state_dir.value == tmp_path / "here"
