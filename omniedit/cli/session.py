"""The composition root: makes what the use cases call on, each thing when it is first needed."""

import contextlib
import signal
import threading
import time
import uuid
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager
from enum import Enum, auto
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

from omniedit.cli.context import Runtime
from omniedit.edits.pace import Pace
from omniedit.errors import (
    Interrupted,
    JournalDamagedError,
    JournalError,
    LocalError,
    MissingExtraError,
)
from omniedit.journal import Journal, set_journal_aside
from omniedit.system import HERE
from omniedit.terminal.console import ProgressMode

if TYPE_CHECKING:
    from omniedit.edits.ports import Clips, Results, Service
    from omniedit.events import Event
    from omniedit.http.client import HttpClient
    from omniedit.sandbox import RunningSandbox

_SANDBOX_KEY: Final = "sk-sandbox-embedded"


class JournalUse(Enum):
    """What a command does when the journal cannot be opened."""

    REQUIRED = auto()
    """It ends before anything is sent."""
    OPTIONAL = auto()
    """It says so and goes on."""
    NONE = auto()
    """It does without one, as asked."""


class LiveSession:
    """What the use cases know as their `Session`, over the real network, disk and clock.

    Args:
        runtime: Whose settings count, and who is told what happens.
        journal: Open.
        use: What for.
        closing: Closes at the end what is made here.
        is_batch: Many edits are made side by side.
    """

    def __init__(
        self,
        runtime: Runtime,
        journal: Journal,
        use: JournalUse,
        closing: contextlib.ExitStack,
        *,
        is_batch: bool = False,
    ) -> None:
        self._runtime = runtime
        self._settings = runtime.settings
        self._closing = closing
        self._is_batch = is_batch
        self.journal = journal
        self.requires_journal = use is JournalUse.REQUIRED
        self.has_journal = journal.is_lasting
        self.origin = self._settings.origin
        # A batch is one call, however many submissions it makes.
        self.context = None if is_batch else self._settings.context.value
        self.pace = Pace(self.monotonic, self.sleep)
        self._stopping = threading.Event()
        self.is_sandbox = self._settings.is_sandbox
        self.allows_internal_clips = self._settings.allows_internal_clips
        self.private_folder = self._settings.journal_folder / "tmp"

    @property
    def service(self) -> "Service":
        """The API.

        Raises:
            CredentialsError: There is no usable key.
            MissingExtraError: The sandbox is not installed.
        """
        return self._service

    @cached_property
    def _clips(self) -> "Clips":
        from omniedit.cli.local_clips import LocalClips

        return LocalClips(
            lambda: self._http,
            lambda: (self._files_url, self._key),
            allow_internal=self.allows_internal_clips,
            sleep=self.sleep,
        )

    @property
    def clips(self) -> "Clips":
        """Clips on this machine, and the file service."""
        return self._clips

    @property
    def results(self) -> "Results":
        """Results on this machine, and their host."""
        from omniedit.cli.local_results import LocalResults

        return LocalResults(
            lambda: self._http, sleep=self.sleep, public_only=not self.allows_internal_clips
        )

    @property
    def is_watched(self) -> bool:
        """Whether somebody looks at a progress bar."""
        printer = self._runtime.printer
        is_shown = printer.progress is ProgressMode.AUTO and not printer.quiet
        return is_shown and printer.stderr.is_animated

    def report(self, event: "Event") -> None:
        """Pass an event to whoever watches."""
        from omniedit.events import Noted

        if self._is_batch and isinstance(event, Noted) and not self._runtime.is_first(event):
            # What is worth a line of one edit is noise of many.
            return
        self._runtime.report(event)

    def now(self) -> float:
        """Return the Unix time."""
        return time.time()

    def monotonic(self) -> float:
        """Return seconds that never jump."""
        return time.monotonic()

    def sleep(self, seconds: float, /) -> None:
        """Rest.

        Raises:
            Interrupted: The command is to end.
        """
        if HERE.wait(self._stopping, seconds):
            raise Interrupted(signal.SIGINT)

    def stop(self) -> None:
        """Have the other threads begin nothing more, and wait a little for their replies."""
        self._stopping.set()
        self._runtime.signals.drain()

    def jitter(self) -> float:
        """Return a random number in [0, 1)."""
        import random

        return random.random()  # noqa: S311 - it spreads load, nothing secret

    def new_request_id(self) -> str:
        """Return an ID that nobody else has."""
        return f"omniedit-{uuid.uuid4().hex}"

    def shielded(self) -> AbstractContextManager[None]:
        """Return a block that a first signal ends only after some seconds' grace."""
        return self._runtime.signals.shielded()

    def stream_out(self, path: Path, /) -> None:
        """Write a file to standard output."""
        from omniedit.cli.local_results import stream_out

        stream_out(path)

    @cached_property
    def _service(self) -> "Service":
        from omniedit.evolink.api import EvoLinkClient

        return EvoLinkClient(self._http, base_url=self._base_url, key=self._key)

    @cached_property
    def _http(self) -> "HttpClient":
        from omniedit.http.client import HttpClient

        printer = self._runtime.printer
        client = HttpClient(trace=printer.trace if printer.verbose else None)
        return self._closing.enter_context(client)

    @property
    def _base_url(self) -> str:
        settings = self._settings
        return self._sandbox.url if settings.is_embedded else settings.base_url.value

    @property
    def _files_url(self) -> str:
        settings = self._settings
        return self._sandbox.url if settings.is_embedded else settings.files_url.value

    @property
    def _key(self) -> str:
        settings = self._settings
        return _SANDBOX_KEY if settings.is_embedded else settings.require_key().reveal()

    @cached_property
    def _sandbox(self) -> "RunningSandbox":
        with sandbox_required("serve"):
            from omniedit.sandbox import serve

            running = serve(self._settings.sandbox_folder)
        return self._closing.enter_context(running)


@contextlib.contextmanager
def opened_journal(
    folder: Path, use: JournalUse, *, warn: Callable[[str], None]
) -> Generator[Journal]:
    """Open the journal for a block; one that lasts only as long where it may be done without.

    Raises:
        JournalError: It is required and cannot be opened; a damaged one is set aside.
    """
    opened: Journal | None = None
    try:
        opened = Journal(None if use is JournalUse.NONE else folder)
    except JournalDamagedError as error:
        _set_aside(folder, error)
        if use is JournalUse.REQUIRED:
            raise
        warn(error.message)
        opened = Journal(folder)
    except JournalError as error:
        if use is JournalUse.REQUIRED:
            raise
        warn(f"{error.message}; going on without it")
    with opened or Journal(None) as journal:
        try:
            yield journal
        except JournalDamagedError as error:
            # Found only while it was used.
            journal.close()
            _set_aside(folder, error)
            raise


def _set_aside(folder: Path, error: JournalDamagedError) -> None:
    place = set_journal_aside(folder)
    if place is not None:
        error.message += f"; it was set aside as {place}"
    error.hint = "`omniedit list --remote --adopt` brings back the account's tasks"


@contextlib.contextmanager
def sandbox_required(action: str) -> Generator[None]:
    """Say in a block what keeps the sandbox from being used.

    Args:
        action: What is done with it there.

    Raises:
        MissingExtraError: It is not installed.
        LocalError: Its folder or its port cannot be had.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        msg = "the sandbox is not installed"
        hint = "python -m pip install 'omniedit[sandbox]'"
        raise MissingExtraError(msg, hint=hint) from error
    except OSError as error:
        msg = f"cannot {action} the sandbox: {error.strerror or error}"
        raise LocalError(msg) from error
