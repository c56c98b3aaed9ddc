"""One run of the command line: what was typed, and where answers go."""

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from omniedit.cli.exit_codes import with_sandbox
from omniedit.cli.signals import Signals
from omniedit.errors import InvalidInputError, LocalError, render_hint
from omniedit.schemas import FAILURE
from omniedit.terminal.printer import OutputMode, Printer, ProgressMode

if TYPE_CHECKING:
    from omniedit.cli.session import JournalUse
    from omniedit.edits.session import Session
    from omniedit.edits.targets import Destination
    from omniedit.events import Event, Observer
    from omniedit.settings import Settings
    from omniedit.terminal.board import Board
    from omniedit.terminal.documents import Document


class Runtime:
    """What every command finds in its context.

    Args:
        environ: The process's environment.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self.flags: dict[str, Any] = {}
        self.command = ""  # such as `config show`
        self.document_name = FAILURE
        self.fields: dict[str, object] = {}  # what is known of the document's own keys
        self.shows_raw = True  # whether documents show the service's own objects
        self.shows_errors = True  # whether the boundary prints them, beside the document
        self.sums_up = False  # whether a summary of many edits says what goes on
        self.signals = Signals(self._note_grace)
        self.documents: Callable[[], list[Document]] = self._task_documents
        """Returns the documents of all tasks so far."""
        self.destination: str | None = None  # where results go, as it was typed
        self.listeners: list[Callable[[Event], None]] = []
        self._watch: Observer | None = None
        self._begin_watch: Callable[[], Observer] | None = None
        self._watch_lock = threading.Lock()

    def pasteable(self, text: str) -> str:
        """Return a message whose commands carry `--sandbox` where that was typed."""
        return with_sandbox(text) if self.is_sandbox_flag else text

    def begin(self, command: str) -> None:
        """Take in which command it is, in whose form the call is answered."""
        self.command = command
        self.document_name = command.replace(" ", "-")

    def set_flag(self, name: str, value: Any) -> None:
        """Take in a global option, wherever it stood."""
        self.flags[name] = value

    @property
    def is_sandbox_flag(self) -> bool:
        """Whether `--sandbox` was typed."""
        return bool(self.flags.get("sandbox"))

    @cached_property
    def settings(self) -> "Settings":
        """The settings in force."""
        from omniedit.settings import load_settings

        return load_settings(self.environ, sandbox=self.is_sandbox_flag)

    @cached_property
    def board(self) -> "Board":
        """What has happened so far."""
        from omniedit.terminal.board import Board

        return Board()

    @cached_property
    def printer(self) -> Printer:
        """The one printer; what was typed decides about its mode."""
        mode = OutputMode.TEXT
        if self.flags.get("events"):
            mode = OutputMode.EVENTS
        elif self.flags.get("json"):
            mode = OutputMode.JSON
        return Printer(
            stdout=sys.stdout,
            stderr=sys.stderr,
            environ=self.environ,
            mode=mode,
            quiet=bool(self.flags.get("quiet")),
            progress=ProgressMode(self.flags.get("progress", "auto")),
            verbose=bool(self.flags.get("verbose")),
        )

    def begin_events(self, *, is_asked: bool) -> None:
        """Take in `--events`.

        Raises:
            InvalidInputError: `--json` was given as well.
        """
        if not is_asked:
            return
        if self.flags.get("json"):
            msg = "--json and --events are both given"
            raise InvalidInputError(msg, code="usage")
        self.set_flag("events", value=True)

    def require_text(self, option: str) -> None:
        """Refuse what keeps standard output from carrying a file.

        Raises:
            InvalidInputError: `--json` or `--events` was given.
            LocalError: It is closed.
        """
        if sys.stdout is None:
            msg = f"standard output is closed, and `{option}` writes to it"
            raise LocalError(msg, hint="name a file instead")
        if self.flags.get("json") or self.flags.get("events"):
            msg = f"`{option}` goes with neither --json nor --events: standard output is the file"
            raise InvalidInputError(msg, code="usage")

    @contextlib.contextmanager
    def session(
        self,
        journal: "JournalUse",
        *,
        total_tasks: int = 1,
        shows_progress: bool = True,
        is_batch: bool = False,
    ) -> Generator["Session"]:
        """Open the journal, show progress, and close everything at the end.

        Raises:
            JournalError: The journal is required and cannot be opened.
        """
        from omniedit.cli.session import make_session, opened_journal

        with contextlib.ExitStack() as closing:
            found = closing.enter_context(
                opened_journal(self.settings.journal_folder, journal, warn=self.printer.warn)
            )
            if shows_progress:
                self.board.expect(total_tasks)
                closing.callback(self._stop_watching)
                self._begin_watch = lambda: self._watching(closing)
            yield make_session(
                found,
                journal,
                closing,
                settings=self.settings,
                printer=self.printer,
                signals=self.signals,
                observers=(self.report,),
                is_batch=is_batch,
            )

    def report(self, event: "Event") -> None:
        """Pass an event to whoever watches."""
        from omniedit.events import Noted, Warned

        if isinstance(event, Warned | Noted):
            message = render_hint(event.message, is_sandbox=self.is_sandbox_flag)
            event = replace(event, message=message)
        self.board.take(event)
        if self._begin_watch is not None and not isinstance(event, Warned | Noted):
            self._begin_watching()
        if self._watch is not None:
            self._watch(event)
        elif isinstance(event, Warned):
            self.printer.warn(event.message)
        elif isinstance(event, Noted):
            self.printer.note(event.message)
        for listener in self.listeners:
            listener(event)

    def now(self) -> float:
        """Return the Unix time."""
        return time.time()

    def announce_saved(
        self, destination: "Destination | None", *, prints_paths: bool = True
    ) -> None:
        """Print the path of each result as it is saved, unless it goes to stdout itself.

        Args:
            destination: Where results go; None for many places.
            prints_paths: Whether what is saved is the command's result.
        """
        self.destination = None if destination is None else destination.text
        is_printed = prints_paths and not (destination is not None and destination.is_stdout)
        has_noted = False

        from omniedit.events import Saved

        def listen(event: "Event") -> None:
            nonlocal has_noted
            if not isinstance(event, Saved):
                return
            if is_printed:
                self.printer.path(event.shown_path)
            if event.is_new and self.settings.is_sandbox and not has_noted:
                has_noted = True
                self.printer.note("sandbox: no edit was made; this is the clip itself or a sample")

        self.listeners.append(listen)

    def _task_documents(self) -> "list[Document]":
        from omniedit.terminal.documents import task_document

        return [task_document(record, is_raw_known=self.shows_raw) for record in self.board.records]

    def _begin_watching(self) -> None:
        """Show progress from now on: what is over before its first event pays for no bar."""
        with self._watch_lock:
            if self._begin_watch is not None:
                self._watch, self._begin_watch = self._begin_watch(), None

    def _watching(self, closing: contextlib.ExitStack) -> "Observer":
        from omniedit.terminal.progress import watch

        return closing.enter_context(
            watch(self.printer, self.board, sandbox=self.settings.is_sandbox)
        )

    def _stop_watching(self) -> None:
        self._watch = self._begin_watch = None

    def _note_grace(self) -> None:
        # The signal may have come in the middle of writing to the same stream.
        with contextlib.suppress(RuntimeError):
            self.printer.note(
                "waiting up to 5 s for the service's reply; once more to stop at once"
            )
