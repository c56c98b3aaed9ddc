"""API keys: what can be one, how it is masked, and the file that keeps it for its origin."""

import json
import os
import re
from pathlib import Path
from typing import Any, Final

from omniedit.errors import CredentialsError, InvalidKeyError, LocalError
from omniedit.system import HERE, System
from omniedit.system.folders import make_private_folder

_KEY = re.compile(r"[\x21-\x7e]{1,512}")
_SHOWN_END: Final = 4


class Secret:
    """A key that shows itself only when asked to."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the key itself, for the one header it is made for."""
        return self._text

    def __repr__(self) -> str:
        return f"Secret({self})"

    def __str__(self) -> str:
        return mask_key(self._text)


def mask_key(text: str) -> str:
    """Return a key as it may be shown: its public prefix and its last four characters."""
    prefix = match[0] if (match := re.match(r"sk-(?:[a-z]+-)?", text)) else ""
    hidden = len(text) - len(prefix) - _SHOWN_END
    # Of a short key four characters would be too much of it.
    return f"{prefix}…{text[-_SHOWN_END:]}" if hidden >= 2 * _SHOWN_END else f"{prefix}…"


def parse_key(text: str, *, source: str) -> Secret:
    """Return a key that can travel in a header.

    httpx quotes a header it cannot send in its exception, so a key with a line break or a
    non-ASCII character must never reach it.

    Args:
        text: The key; surrounding space is dropped.
        source: Where it stands, for the message.

    Raises:
        InvalidKeyError: It cannot be a key; the message does not show it.
    """
    key = text.strip()
    if _KEY.fullmatch(key):
        return Secret(key)
    if key.lower().startswith("bearer "):
        reason = "it begins with `Bearer`, which omniedit adds itself"
    elif not key.isascii() or any(ord(character) <= ord(" ") for character in key):
        reason = "it holds a space, a line break or a character outside ASCII"
    else:
        reason = f"it is {len(key)} characters long"
    msg = f"the text in {source} cannot be an API key: {reason}"
    raise InvalidKeyError(msg)


class CredentialsFile:
    """Saved keys, each bound to the API origin it was saved for: mode 0600, replaced atomically."""

    def __init__(self, path: Path, *, system: System = HERE) -> None:
        self._path = path
        self._system = system

    def load(self, origin: str) -> str | None:
        """Return the key saved for an origin, None where there is none.

        Raises:
            CredentialsError: The file is open to other users, or no credentials file.
        """
        return self._load_all().get(origin)

    def save(self, origin: str, key: Secret) -> None:
        """Save the key for an origin.

        Raises:
            CredentialsError: The present file is open to others or no credentials file.
            LocalError: The file cannot be written.
        """
        self._replace(self._load_all() | {origin: key.reveal()})

    def remove(self, origin: str) -> bool:
        """Forget the key of an origin; return whether there was one.

        Raises:
            CredentialsError: The present file is open to others or no credentials file.
            LocalError: The file cannot be written.
        """
        keys = self._load_all()
        if keys.pop(origin, None) is None:
            return False
        self._replace(keys)
        return True

    def _load_all(self) -> dict[str, str]:
        try:
            with self._path.open("rb") as file:
                # Of the open file, so that it is not swapped between look and read.
                if not self._system.is_private(os.fstat(file.fileno()).st_mode):
                    msg = f"{self._path} can be read by other users"
                    raise CredentialsError(msg, hint=f"chmod 600 '{self._path}'")
                value: Any = json.loads(file.read())
                keys: dict[str, str] = value["keys"]
                return {str(origin): str(key) for origin, key in keys.items()}
        except FileNotFoundError:
            return {}
        except OSError as error:
            msg = f"cannot read {self._path}: {error.strerror}"
            raise CredentialsError(msg) from None
        except (ValueError, LookupError, TypeError, AttributeError):
            # Not chained: the JSON error's text quotes what it read.
            msg = f"{self._path} is not a credentials file"
            raise CredentialsError(
                msg, hint=f"remove '{self._path}' and save the key again"
            ) from None

    def _replace(self, keys: dict[str, str]) -> None:
        import tempfile  # noqa: PLC0415 - every command loads this module, one writes

        content = json.dumps({"schema": 1, "keys": keys}, indent=2) + "\n"
        try:
            make_private_folder(self._path.parent)
            # Made with mode 0600 from the start.
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
            msg = f"cannot write {self._path}: {error.strerror or error}"
            raise LocalError(msg) from None
