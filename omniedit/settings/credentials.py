"""Saved API keys, each bound to the API and the file service that it may be sent to."""

import json
import os
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from omniedit.errors import CredentialsError, Hint, LocalError
from omniedit.policy import DEFAULT
from omniedit.settings import Secret
from omniedit.system import THIS_SYSTEM, System, error_reason
from omniedit.system.files import hold, make_private_folder, read_own_file


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
            LocalError: If the file cannot be used.
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

    def save(self, origin: str, key: Secret, *, files_origin: str) -> None:
        """Save the key for an API's origin and the origin of its file service.

        Raises:
            CredentialsError: If other users can read the file, or it is not a credentials file.
            LocalError: If it cannot be written.
        """
        saved = {"key": key.reveal(), "files_origin": files_origin}
        with self._locked():
            self._replace({**self._load_all(), origin: saved})

    def remove(self, origin: str) -> bool:
        """Remove the key of an API's origin; return whether there was one.

        Raises:
            CredentialsError: If other users can read the file, or it is not a credentials file.
            LocalError: If it cannot be written.
        """
        if origin not in self._load_all():
            return False
        with self._locked():
            self._replace({name: key for name, key in self._load_all().items() if name != origin})
        return True

    @contextmanager
    def _locked(self) -> Generator[None]:
        """Keep other processes from changing the file during a block, if files can be locked."""
        lock = self._path.with_name(f".{self._path.name}.lock")
        timeout_s = DEFAULT.journal_timeout_s
        with ExitStack() as stack:
            # Any other problem with the folder is reported when the file is written.
            with suppress(LocalError, OSError):
                make_private_folder(lock.parent)
                held = hold(lock, sleep=self._sleep, timeout_s=timeout_s, system=self._system)
                stack.enter_context(held)
            yield

    def _load_all(self) -> dict[str, Mapping[str, str]]:
        content = read_own_file(
            self._path,
            max_bytes=DEFAULT.max_settings_bytes,
            is_secret=True,
            system=self._system,
        )
        if content is None:
            return {}
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
        import tempfile  # noqa: PLC0415 - many commands load this module, few write

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
