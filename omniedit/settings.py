"""Settings, each with its source (environment, config file or default), and saved keys."""

import os
import re
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Final, Generic, NamedTuple, TypeVar

from omniedit.errors import (
    CredentialsError,
    Hint,
    InvalidInputError,
    InvalidKeyError,
    LocalError,
    MissingKeyError,
    refuse,
)
from omniedit.http.urls import is_loopback_url, origin_of, parse_web_url
from omniedit.models import DEFAULT_MODEL
from omniedit.policy import DEFAULT
from omniedit.sanitize import is_valid_unicode
from omniedit.system import THIS_SYSTEM, System, error_reason
from omniedit.system.files import (
    absolute_path,
    decode_text,
    make_private_folder,
    read_own_file,
)
from omniedit.system.locks import hold

DEFAULT_BASE_URL: Final = "https://api.evolink.ai"
DEFAULT_FILES_URL: Final = "https://files-api.evolink.ai"
KEY_PAGE: Final = "https://evolink.ai/dashboard/keys"
KEY_VARIABLES: Final = ("OMNIEDIT_API_KEY", "EVOLINK_API_KEY")
SANDBOX_KEY_PREFIX: Final = "sk-sandbox"
SANDBOX_ORIGIN: Final = "sandbox"

_FILE_SETTINGS: Final[Mapping[str, type]] = {
    **dict.fromkeys(("base_url", "files_url", "model", "state_dir"), str),
    "sidecar": bool,
}
_KEY: Final = re.compile(r"[\x21-\x7e]{1,512}")
_SHOWN_END: Final = 4
_FALSE: Final = frozenset({"", "0", "false", "no", "off"})

T = TypeVar("T")


class Secret:
    """A key that is masked unless it is explicitly revealed."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    @property
    def is_for_sandbox(self) -> bool:
        """Whether the key is only for the sandbox."""
        return self._text.startswith(SANDBOX_KEY_PREFIX)

    def reveal(self) -> str:
        """Return the key itself, for the Authorization header."""
        return self._text

    def __repr__(self) -> str:
        return f"Secret({self})"

    def __str__(self) -> str:
        return mask_key(self._text)


def mask_key(text: str) -> str:
    """Return the public prefix and last four characters of a key."""
    match = re.match(r"sk-(?:[a-z]+-)?", text)
    prefix = match[0] if match else ""
    # Four characters of a short key would give too much away.
    is_long = len(text) - len(prefix) >= 3 * _SHOWN_END
    return f"{prefix}…{text[-_SHOWN_END:]}" if is_long else f"{prefix}…"


def parse_key(text: str, *, source: str) -> Secret:
    """Return a key that can be sent in a header, without surrounding white space.

    It must never reach httpx with a line break or a non-ASCII character: exceptions quote headers.

    Raises:
        InvalidKeyError: If it cannot be a key; the message names its source, but omits it.
    """
    key = text.strip()
    if re.match(r"(export )?\w*KEY=", key):
        reason = "it is a whole line of a `.env` file: give what follows `=`"
    elif key.endswith("...") or key[:1] in {'"', "'"}:
        reason = "it is in quotes, or a placeholder"
    elif _KEY.fullmatch(key):
        return Secret(key)
    elif key.lower().startswith("bearer "):
        reason = "it begins with `Bearer`, which omniedit adds itself"
    elif not key.isascii() or any(ord(character) <= ord(" ") for character in key):
        reason = "it contains white space, a control character or a non-ASCII character"
    else:
        reason = f"it is {len(key)} characters long"
    msg = f"the text in {source} cannot be an API key: {reason}"
    raise InvalidKeyError(msg)


def credentials_path(config_dir: Path) -> Path:
    """Return the path of the saved keys."""
    return config_dir / "credentials"


class CredentialsFile:
    """Saved keys, each bound to the origins of its API and file service.

    The file has mode 0600 and is replaced atomically.
    """

    def __init__(
        self,
        path: Path,
        *,
        sleep: Callable[[float], object] = time.sleep,
        system: System = THIS_SYSTEM,
    ) -> None:
        self._path = path
        self._sleep = sleep
        self._system = system

    def load(self, origin: str, *, files_origin: str) -> str | None:
        """Return the key saved for an API's origin, or None.

        Raises:
            CredentialsError: If other users can read the file, it is not a credentials file, or
                the key was saved for another file service.
        """
        saved = self._load_all().get(origin)
        if saved is None:
            return None
        if saved["files_origin"] != files_origin:
            msg = (
                f"the saved key is for the file service {saved['files_origin']}, not {files_origin}"
            )
            hint = Hint("{} saves a key for both addresses", "config set-key")
            raise CredentialsError(msg, hint=hint)
        return saved["key"]

    def origins(self) -> list[str]:
        """Return the origins that keys are saved for."""
        return sorted(self._load_all())

    def save(self, origin: str, key: Secret, *, files_origin: str) -> None:
        """Save the key for an API's origin and the origin of its file service."""
        self._change(origin, {"key": key.reveal(), "files_origin": files_origin})

    def remove(self, origin: str) -> bool:
        """Remove the key of an API's origin; return whether there was one."""
        if origin not in self._load_all():
            return False
        self._change(origin, None)
        return True

    def _change(self, origin: str, saved: Mapping[str, str] | None) -> None:
        """Replace or remove an origin's key; other processes wait, if files can be locked."""
        lock = self._path.with_name(f".{self._path.name}.lock")
        timeout_s = DEFAULT.journal_timeout_s
        with ExitStack() as stack:
            # Any other problem with the folder is reported when the file is written.
            with suppress(LocalError, OSError):
                make_private_folder(lock.parent)
                held = hold(lock, sleep=self._sleep, timeout_s=timeout_s, system=self._system)
                stack.enter_context(held)
            keys = {**self._load_all(), origin: saved}
            self._replace({name: key for name, key in keys.items() if key is not None})

    def _load_all(self) -> dict[str, Mapping[str, str]]:
        limit = DEFAULT.max_settings_bytes
        content = read_own_file(self._path, max_bytes=limit, is_secret=True, system=self._system)
        if content is None:
            return {}
        import json  # noqa: PLC0415 - only needed if there is a file

        try:
            value: Any = json.loads(content)
            keys: dict[str, dict[str, str]] = value["keys"]
            return {
                origin: {"key": str(saved["key"]), "files_origin": str(saved["files_origin"])}
                for origin, saved in keys.items()
            }
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            # Not chained: a JSON error quotes the text, which may be a key.
            msg = f"{self._path} is not a credentials file"
            hint = f"remove '{self._path}' and save the key again"
            raise CredentialsError(msg, hint=hint) from None

    def _replace(self, keys: Mapping[str, Mapping[str, str]]) -> None:
        import json  # noqa: PLC0415 - every command loads this module, few save a key
        import tempfile  # noqa: PLC0415

        content = json.dumps({"schema": 1, "keys": keys}, indent=2) + "\n"
        try:
            make_private_folder(self._path.parent)
            # `mkstemp` creates it with mode 0600.
            descriptor, temporary = tempfile.mkstemp(dir=self._path.parent, prefix=".credentials-")
            try:
                with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as file:
                    file.write(content)
                    file.flush()
                    self._system.sync_file(file.fileno())
                self._system.replace(Path(temporary), self._path)
            except BaseException:
                Path(temporary).unlink(missing_ok=True)
                raise
        except OSError as error:
            msg = f"cannot write {self._path}: {error_reason(error)}"
            raise LocalError(msg) from None


class Setting(NamedTuple, Generic[T]):
    """A value and its source, as `config show` prints them."""

    value: T
    source: str


class Settings(NamedTuple):
    """Everything that is set outside the command line."""

    key: Setting[Secret] | None
    key_error: CredentialsError | LocalError | None  # why the configured key is unusable
    empty_key_variables: tuple[str, ...]  # set but empty, as CI does with missing secrets
    base_url: Setting[str]
    files_url: Setting[str]
    config_dir: Setting[Path]
    state_dir: Setting[Path]
    context: Setting[str]
    model: Setting[str]
    sidecar: Setting[bool]
    is_sandbox: bool
    is_embedded: bool  # the sandbox runs inside this process

    @property
    def origin(self) -> str:
        """The origin that tasks belong to: the API's, or the sandbox, whatever its address."""
        return SANDBOX_ORIGIN if self.is_sandbox else origin_of(self.base_url.value)

    @property
    def journal_folder(self) -> Path:
        """The folder of the journal; the sandbox has its own."""
        return self.sandbox_journal_folder if self.is_sandbox else self.state_dir.value

    @property
    def enclosing_folder(self) -> Path | None:
        """The state folder, if the journal is in a folder inside it: it must be safe as well."""
        return self.state_dir.value if self.is_sandbox else None

    @property
    def sandbox_journal_folder(self) -> Path:
        """The folder of the sandbox's journal."""
        return self.state_dir.value / "sandbox"

    @property
    def sandbox_folder(self) -> Path:
        """The folder where the sandbox keeps its tasks and clips."""
        return self.sandbox_journal_folder / "service"

    @property
    def allows_internal_clips(self) -> bool:
        """Whether a clip's URL may name this machine or its network."""
        return self.is_sandbox or is_loopback_url(self.base_url.value)

    def require_key(self) -> Secret:
        """Return the key; raise an error that says why there is none."""
        if self.key is not None:
            return self.key.value
        if self.key_error is not None:
            raise self.key_error
        if self.empty_key_variables:
            msg = f"no API key: {' and '.join(self.empty_key_variables)} set but empty"
            hint = Hint(
                "CI passes empty secrets to forks and to jobs that do not request them; set the"
                " variable or run {}",
                "config set-key",
            )
        elif others := CredentialsFile(credentials_path(self.config_dir.value)).origins():
            msg = f"no API key for {self.origin}: a key is saved for {', '.join(others)}"
            hint = Hint(
                "{} saves one for it; {} shows the base URL", "config set-key", "config show"
            )
        else:
            msg = "no API key"
            hint = Hint(
                f"set EVOLINK_API_KEY or run {{}} (keys: {KEY_PAGE}); `--sandbox` needs none",
                "config set-key",
            )
        raise MissingKeyError(msg, hint=hint)


def load_settings(environ: Mapping[str, str], *, sandbox: bool = False) -> Settings:
    """Return the settings in force.

    Args:
        environ: The environment of the process.
        sandbox: Whether `--sandbox` was given.
    """
    config_dir = _folder(_find(environ, "config_dir"), "user_config_path")
    stored = _load_config_file(config_dir.value / "config.toml")
    state_dir = _folder(_find(environ, "state_dir", stored), "user_state_path")
    is_embedded = sandbox or environ.get("OMNIEDIT_SANDBOX", "").strip().lower() not in _FALSE
    base_url = _url(_find(environ, "base_url", stored), DEFAULT_BASE_URL)
    # A key for another API must not reach the default file service.
    files_default = DEFAULT_FILES_URL if base_url.value == DEFAULT_BASE_URL else base_url.value
    files_url = _url(_find(environ, "files_url", stored), files_default)
    key = None
    key_error = None
    if not is_embedded:
        try:
            key = _key(environ, config_dir.value, base_url.value, files_url.value)
        except (CredentialsError, LocalError) as error:
            # Commands that need no key still work.
            key_error = error
    return Settings(
        key=key,
        key_error=key_error,
        empty_key_variables=tuple(
            name for name in KEY_VARIABLES if name in environ and not environ[name].strip()
        ),
        base_url=base_url,
        files_url=files_url,
        config_dir=config_dir,
        state_dir=state_dir,
        context=_context(environ),
        model=_find(environ, "model", stored) or Setting(DEFAULT_MODEL, "default"),
        sidecar=stored.get("sidecar", Setting(value=False, source="default")),
        is_sandbox=is_embedded or (key is not None and key.value.is_for_sandbox),
        is_embedded=is_embedded,
    )


def _key(
    environ: Mapping[str, str], config_dir: Path, base_url: str, files_url: str
) -> Setting[Secret] | None:
    for name in KEY_VARIABLES:
        if text := environ.get(name, "").strip():
            return Setting(parse_key(text, source=name), f"environment: {name}")
    path = credentials_path(config_dir)
    saved = CredentialsFile(path).load(origin_of(base_url), files_origin=origin_of(files_url))
    return Setting(parse_key(saved, source=str(path)), f"file: {path}") if saved else None


def _find(
    environ: Mapping[str, str], name: str, stored: Mapping[str, Setting[str]] | None = None
) -> Setting[str] | None:
    """Return a setting from its variable, or else from the config file."""
    variable = f"OMNIEDIT_{name.upper()}"
    # A folder's name may be in another encoding.
    text = environ.get(variable, "").strip() if name.endswith("_dir") else _text(environ, variable)
    return Setting(text, f"environment: {variable}") if text else (stored or {}).get(name)


def _url(found: Setting[str] | None, default: str) -> Setting[str]:
    if found is None:
        return Setting(default, "default")
    url = found.value.rstrip("/")
    where = found.source.partition(": ")[2]
    try:
        parts = parse_web_url(url, what=f"URL in {where}")
        if parts.query or parts.fragment:
            refuse(f"the URL in {where} has a query or a fragment", code="invalid_url")
        if parts.scheme != "https" and not is_loopback_url(url):
            fault = "must begin with https:// (http is for loopback only)"
            refuse(f"the URL in {where} {fault}", code="invalid_url")
    except InvalidInputError as error:
        error.hint = f"correct {where}, or remove it to use {default}"
        raise
    return Setting(url, found.source)


def _folder(found: Setting[str] | None, default: str) -> Setting[Path]:
    if found is None:
        import platformdirs  # noqa: PLC0415 - not needed if the variable is set

        try:
            # Some versions of platformdirs leave `~` in the path of such a user.
            usual: Path = getattr(platformdirs, default)("omniedit", appauthor=False)
            return Setting(usual.expanduser(), "default")
        except RuntimeError:
            msg = "this user has no home directory, where settings and the journal would be"
            hint = "set HOME, or OMNIEDIT_CONFIG_DIR and OMNIEDIT_STATE_DIR, to an absolute path"
            raise LocalError(msg, hint=hint) from None
    try:
        folder = Path(found.value).expanduser()
    except RuntimeError as error:
        msg = f"the folder in {found.source.partition(': ')[2]} cannot be used: {error}"
        hint = "give an absolute path"
        raise InvalidInputError(msg, code="invalid_config", hint=hint) from None
    return Setting(absolute_path(folder), found.source)


def _load_config_file(path: Path) -> Mapping[str, Setting[Any]]:
    """Return the settings in the config file, each of its type; blank text counts as unset."""
    content = read_own_file(path, max_bytes=DEFAULT.max_settings_bytes)
    if content is None:
        return {}
    import tomllib  # noqa: PLC0415 - only needed if there is a file

    try:
        table: dict[str, Any] = tomllib.loads(decode_text(content))
    except (ValueError, RecursionError) as error:
        msg = f"{path} is not valid TOML: {error}"
        hint = "correct the file, or move it away"
        raise InvalidInputError(msg, code="invalid_config", hint=hint) from None
    stored: dict[str, Setting[Any]] = {}
    for name, found in table.items():
        if not isinstance(found, _FILE_SETTINGS.get(name, ())) or "\0" in str(found):
            kind = "true or false" if name == "sidecar" else "a text value"
            msg = f"`{name}` in {path} is not a setting with {kind}"
            refuse(msg, code="invalid_config", hint=f"known settings: {', '.join(_FILE_SETTINGS)}")
        value: Any = found.strip() if isinstance(found, str) else found
        if name == "state_dir" and value and not value.startswith("~"):
            # Relative to this file, whatever the working folder is.
            value = str(path.parent / value)
        if value != "":
            stored[name] = Setting(value, f"file: {path}")
    return stored


def _context(environ: Mapping[str, str]) -> Setting[str]:
    """Return the context of `last`: the one that is set, the CI job, or this user."""
    if name := _text(environ, "OMNIEDIT_CONTEXT"):
        return Setting(f"named:{name}", "environment: OMNIEDIT_CONTEXT")
    run = _text(environ, "GITHUB_RUN_ID")
    job = _text(environ, "GITHUB_JOB")
    if run and job:
        return Setting(f"github:{run}:{job}", "environment: GITHUB_RUN_ID, GITHUB_JOB")
    if job := _text(environ, "CI_JOB_ID"):
        return Setting(f"ci:{job}", "environment: CI_JOB_ID")
    return Setting(f"user:{THIS_SYSTEM.user_id()}", "default")


def _text(environ: Mapping[str, str], name: str) -> str:
    """Return a variable without surrounding white space; refuse one that is not valid UTF-8."""
    text = environ.get(name, "").strip()
    if not is_valid_unicode(text):
        refuse(f"{name} is not valid UTF-8", code="invalid_variable")
    return text
