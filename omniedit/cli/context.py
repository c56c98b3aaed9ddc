"""The context that a command receives, and the outcome that it returns."""

import io
import os
import shutil
import sys
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from omniedit.cli.signals import Signals
from omniedit.errors import (
    Hint,
    LocalError,
    MissingExtraError,
    OmniEditError,
    install_command,
    refuse,
    render_hint,
)
from omniedit.policy import DEFAULT, Policy
from omniedit.sanitize import quoted
from omniedit.system import SYSTEM_CLOCK, Clock, error_reason
from omniedit.terminal.printer import OutputMode, Printer, ProgressMode
from omniedit.terminal.streams import READER_LEFT

if TYPE_CHECKING:
    from omniedit.edits.reads import TaskOutcome
    from omniedit.edits.session import Connection, Remembered, Session
    from omniedit.events import Event, Observer
    from omniedit.http.client import HttpClient
    from omniedit.journal import JournalUse
    from omniedit.models import Record
    from omniedit.settings import Setting, Settings
    from omniedit.terminal.board import Board
    from omniedit.terminal.documents import Document

_SANDBOX_KEY: Final = "sk-sandbox-embedded"
_HEAD_BYTES: Final = 4096
_LONGEST_COMMAND: Final = 2000
"""In characters. A longer command, for example with a thousand clips, would bury the hint."""


class Outcome(NamedTuple):
    """The outcome of a command."""

    fields: Mapping[str, object] = MappingProxyType({})
    """The known values of the document's own keys."""
    tasks: "Callable[[], Sequence[Document]] | None" = None
    """Returns the task documents; None stands for every task on the board."""
    errors: Sequence[OmniEditError] = ()
    has_shown_errors: bool = False
    """Whether the command has already printed its errors."""
    ended_by: BaseException | None = None
    """The exception that ended the command early."""


class Context:
    """What a command receives: the call as typed, and where its output goes.

    The parser fills in `command`, `options` and `params`; if it fails, `main` reads the output
    options itself.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        argv: Sequence[str] = (),
        policy: Policy = DEFAULT,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.environ = environ
        self.policy = policy
        self.clock = clock
        self.argv = argv
        """The arguments as typed, without `omniedit`."""
        self.command = ""
        """Its name, such as `config show`; empty until it is known."""
        self.options: dict[str, Any] = {}
        """The global options, `--events` and `--summary`, wherever they were typed."""
        self.params: Mapping[str, Any] = {}
        """The command's own options and arguments."""
        self.is_parsed = False
        """Whether the whole command line was parsed."""
        self.has_session = False
        """Whether a session was opened; before that, nothing can have been sent."""
        self.signals = Signals(self._note_grace, policy=policy)
        self._reported: set[str] = set()  # general notes that were already printed
        self._remembered: Remembered = {}  # what is known about files

    def end_parsing(self, params: Mapping[str, Any]) -> None:
        """Record the command's own options and arguments: the whole command line is parsed.

        Raises:
            InvalidInputError: If two options exclude each other.
        """
        self.params = params
        self.is_parsed = True
        if {"json", "events"} <= self.options.keys():
            refuse("--json and --events cannot be used together", hint="leave one of them out")
        target = params.get("output", params.get("download"))
        summary = self.options.get("summary")
        if target and summary:
            taken = {os.path.realpath(target), os.path.realpath(f"{target}.json")}
            if os.path.realpath(summary) in taken:
                del self.options["summary"]  # otherwise it would be written even now
                msg = "--summary names the file of the result, or of its sidecar"
                refuse(msg, hint="name another file, such as summary.md")

    @property
    def document_name(self) -> str:
        """The name of the command's document; empty until the command is known."""
        name = self.command.replace(" ", "-")
        if self.params.get("split"):
            return f"{name}-split"
        return f"{name}-dry-run" if self.params.get("dry_run") else name

    @property
    def is_sandbox_flag(self) -> bool:
        """Whether `--sandbox` was typed."""
        return "sandbox" in self.options

    @cached_property
    def printer(self) -> Printer:
        """The printer, which exists even if the command line cannot be parsed."""
        options = self.options
        return Printer(
            stdout=sys.stdout,
            stderr=sys.stderr,
            environ=self.environ,
            mode=next((mode for mode in OutputMode if mode in options), OutputMode.TEXT),
            quiet="quiet" in options,
            progress=ProgressMode(options.get("progress", "auto")),
            clock=self.clock.now,
            verbose="verbose" in options,
            is_sandbox_flag=self.is_sandbox_flag,
        )

    @cached_property
    def board(self) -> "Board":
        """The record of what has happened so far."""
        from omniedit.terminal.board import Board

        return Board(self.clock.monotonic, keeps_replies=self.printer.mode is not OutputMode.TEXT)

    @cached_property
    def settings(self) -> "Settings":
        """The settings in force."""
        from omniedit.settings import load_settings

        return load_settings(self.environ, sandbox=self.is_sandbox_flag)

    @property
    def readable_settings(self) -> "Settings | None":
        """The settings in force; None if they cannot be read for any reason."""
        # The reason may be the very bug that is being reported.
        with suppress(Exception):
            return self.settings
        return None

    @property
    def is_sandbox(self) -> bool:
        """Whether the sandbox is used; without readable settings, whether `--sandbox` was typed."""
        settings = self.readable_settings
        return self.is_sandbox_flag if settings is None else settings.is_sandbox

    def model(self, option: str | None) -> "Setting[str]":
        """Return the model for edits and its source: `--model`, or else a setting."""
        from omniedit.settings import Setting

        return self.settings.model if option is None else Setting(option, "option: --model")

    def render_hint(self, hint: str | None) -> str | None:
        """Return a hint, if there is one, with its commands ready to paste."""
        return render_hint(hint, is_sandbox=self.is_sandbox_flag) if hint else None

    def same_command(self) -> str:
        """Return the command as typed, ready to paste, but without `--again`: that would pay again."""
        command = f"`{quoted('omniedit', *(word for word in self.argv if word != '--again'))}`"
        if len(command) > _LONGEST_COMMAND:
            command = "the same command" + (" without `--again`" if "--again" in self.argv else "")
        return command + (" with the same input" if "-" in self.argv else "")

    def note_nothing(self, words: str) -> None:
        """Note that nothing was found, or why: no edit is known here, but the sandbox knows some."""
        hint = None if self.params.get("remote") else self.sandbox_hint()
        self.printer.note(hint or words)

    def sandbox_hint(self) -> Hint | None:
        """Return the same command with `--sandbox`, if edits are known there and none here."""
        from omniedit.journal import JOURNAL_FILE

        settings = self.readable_settings
        if settings is None or settings.is_sandbox:
            return None
        has_sandbox = os.path.lexists(settings.sandbox_journal_folder / JOURNAL_FILE)
        if not has_sandbox or self.newest_edits(limit=1) != []:
            return None
        command = quoted("--sandbox", *self.argv)
        return Hint("no edit is known here; {} asks the sandbox", command)

    def newest_edits(self, *, limit: int | None = None) -> "list[Record] | None":
        """Return the newest edits in the journal; None if it cannot be read at once."""
        from omniedit.journal import JOURNAL_FILE, Journal

        folder = self.settings.journal_folder
        enclosing = self.settings.enclosing_folder
        if not os.path.lexists(folder / JOURNAL_FILE):
            return []
        try:
            # Do not wait for a busy journal: a note is not worth it.
            with Journal(folder, enclosing=enclosing, timeout_s=0.1) as journal:
                return journal.recent(limit=limit, skips_unsent=True)
        except OmniEditError:
            return None

    def require_free_stdout(self, option: str) -> None:
        """Refuse an option that writes a file to standard output, if that cannot take it.

        Raises:
            InvalidInputError: If stdout carries the document or the events, or is a terminal.
            LocalError: If stdout is closed.
        """
        if sys.stdout is None:
            msg = f"standard output is closed, and `{option}` writes to it"
            raise LocalError(msg, hint="name a file instead")
        if self.printer.mode is not OutputMode.TEXT:
            refuse(f"`{option}` cannot be used with --json or --events: the file goes to stdout")
        if self.printer.stdout.is_terminal:
            msg = f"`{option}` would write the file's bytes to your terminal"
            refuse(msg, hint="name a file, or pipe it: `… -o - | ffplay -`")

    @contextmanager
    def session(
        self,
        journal: "JournalUse",
        *,
        observers: "Sequence[Observer]" = (),
        shows_progress: bool = True,
        sidecars: bool = False,
        is_batch: bool = False,
        submission_interval_s: float = 0.0,
    ) -> Generator["Session"]:
        """Open a session with journal and progress display, and close both at the end.

        Args:
            journal: What to do if the journal cannot be opened.
            observers: Called with every event, after the board and the progress display.
            shows_progress: Whether the first event of an expected edit starts the progress display.
            sidecars: Whether `--sidecar` was typed; otherwise the settings decide.
            is_batch: Whether there are many edits, so that notes about single ones are left out.
            submission_interval_s: The minimum time between two submissions.

        Raises:
            JournalError: If the journal is required and cannot be opened.
            LocalError: If the `--summary` file cannot be written.
        """
        from omniedit.edits.session import Session
        from omniedit.journal import JournalUse, opened_journal

        settings = self.settings
        printer = self.printer
        folder = settings.journal_folder
        opened = opened_journal(
            folder,
            journal,
            warn=printer.warn,
            enclosing=settings.enclosing_folder,
            clock=self.clock.now,
            timeout_s=self.policy.journal_timeout_s,
        )
        with (
            opened as known,
            self._display(is_wanted=shows_progress) as show,
            ExitStack() as closing,
        ):
            is_shown = printer.progress is ProgressMode.AUTO and not printer.quiet
            session = Session(
                journal=known,
                origin=settings.origin,
                open_http=lambda: closing.enter_context(self._new_http()),
                find_connection=lambda: closing.enter_context(self._connection()),
                private_folder=folder / "tmp",
                context=settings.context.value,
                requires_journal=journal is JournalUse.REQUIRED,
                is_sandbox=settings.is_sandbox,
                allows_internal_clips=settings.allows_internal_clips,
                writes_sidecars=sidecars or settings.sidecar.value,
                is_watched=is_shown and printer.stderr.is_animated,
                is_batch=is_batch,
                submission_interval_s=submission_interval_s,
                observers=(show, *observers),
                shielded=self.signals.shielded,
                drain=self.signals.drain,
                stream_out=_stream_out,
                policy=self.policy,
                clock=self.clock,
                already_reported=self._reported,
                remembered=self._remembered,
            )
            closing.enter_context(session.fetched_files)
            if "summary" in self.options:
                self._check_summary(session)
            self.has_session = True
            yield session

    def _new_http(self) -> "HttpClient":
        from omniedit.http.client import HttpClient

        trace = self.printer.trace if self.printer.verbose else None
        return HttpClient(trace=trace, policy=self.policy, clock=self.clock.monotonic)

    @contextmanager
    def _connection(self) -> Generator["Connection"]:
        """Connect to the service, or to a sandbox that serves until the end of the block."""
        from omniedit.edits.session import Connection

        settings = self.settings
        if not settings.is_embedded:
            key = settings.require_key().reveal()
            yield Connection(settings.base_url.value, settings.files_url.value, key)
            return
        with sandbox_required("serve"):
            from omniedit.sandbox.exchange import Service
            from omniedit.sandbox.server import serve

            running = serve(Service(settings.sandbox_folder))
        with running as server:
            yield Connection(server.url, server.url, _SANDBOX_KEY)

    @contextmanager
    def _display(self, *, is_wanted: bool) -> Generator["Observer"]:
        """Yield an observer that records events on the board and, if wanted, shows them."""
        show: Observer | None = None
        closing = ExitStack()
        lock = threading.Lock()

        def observe(event: "Event") -> None:
            nonlocal show
            from omniedit.events import Noted, Warned

            if isinstance(event, Warned | Noted):
                say = self.printer.warn if isinstance(event, Warned) else self.printer.note
                say(event.message)
                return
            with lock:
                self.board.update(event)
                # While a batch is planned, no edits are expected yet.
                if is_wanted and show is None and self.board.total:
                    from omniedit.terminal.progress import watch

                    show = closing.enter_context(
                        watch(self.printer, self.board, sandbox=self.settings.is_sandbox)
                    )
            if show is not None:
                show(event)

        try:
            with closing:
                try:
                    yield observe
                finally:
                    # A thread that was given up must not begin a display that nobody ends.
                    with lock:
                        is_wanted = False
        finally:
            if show and self.settings.is_sandbox and self.board.saved - self.board.skipped:
                self.printer.note("sandbox: no edit was made; this is the clip itself or a sample")
            # Threads that were given up may still report something.
            show = None

    def _check_summary(self, session: "Session") -> None:
        """Fail before anything is paid for; the call counts as an attempt all the same.

        Raises:
            LocalError: If the `--summary` file cannot be written.
        """
        from omniedit.edits.submit import refusal_recorded

        request = self.board.request
        with refusal_recorded(session, request) if request else nullcontext():
            self.append_summary("")

    def append_summary(self, text: str) -> None:
        """Append to the `--summary` file.

        Raises:
            LocalError: If it cannot be written, or is not text, for example the clip by mistake.
        """
        path: str = self.options["summary"]
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT
        # Do not block on a named pipe without a reader, and keep line breaks on Windows.
        flags |= getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        try:
            with os.fdopen(os.open(path, flags, 0o666), "r+b", buffering=0) as file:
                is_text = not file.seekable() or b"\0" not in file.read(_HEAD_BYTES)
                if is_text:
                    # A buffer writes everything or fails; the file itself may write a part.
                    with io.BufferedWriter(file) as buffer:
                        buffer.write(text.encode())
        except (OSError, ValueError) as error:
            msg = f"cannot write the summary to {path}: {error_reason(error)}"
            raise LocalError(msg, hint="`--summary` names a file in a folder that exists") from None
        if not is_text:
            msg = f"cannot write the summary to {path}: it is not a text file"
            raise LocalError(msg, hint="name a file such as summary.md")

    def print_saved(self, event: "Event") -> None:
        """Print the path of a saved result; an observer."""
        from omniedit.events import Saved

        if isinstance(event, Saved):
            self.printer.path(event.shown_path)

    def print_task_id(self, event: "Event") -> None:
        """Print a task ID once it is known and in the journal; an observer."""
        from omniedit.events import Submitted

        if isinstance(event, Submitted):
            self.printer.line(str(event.record.task_id))

    def successes(
        self, outcomes: "Iterable[TaskOutcome]", errors: list[OmniEditError]
    ) -> "Iterator[Record]":
        """Add each outcome to the board, and its error to `errors`; yield records without one."""
        for record, error in outcomes:
            if error is None:
                self.board.add(record)
                yield record
            else:
                self.board.add_error(record, error)
                errors.append(error)

    def suspend(self, suspend: Callable[[], object]) -> None:
        """Call `suspend`, which suspends the process, with the bars off the screen."""
        if self.is_parsed:
            self.printer.suspend(suspend)
        else:
            suspend()

    def _note_grace(self) -> None:
        # Raised if the signal arrived in the middle of a write to the same stream.
        with suppress(RuntimeError):
            self.printer.note(
                f"waiting up to {self.policy.grace_s:g} s for the service's reply;"
                " press again to stop at once"
            )


@contextmanager
def sandbox_required(action: str) -> Generator[None]:
    """Raise an error that says why a block cannot use the sandbox.

    Args:
        action: A verb for what the block does with the sandbox.

    Raises:
        MissingExtraError: If the sandbox is not installed.
        LocalError: If its folder or its port cannot be used.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        msg = "the sandbox is not installed"
        raise MissingExtraError(msg, hint=install_command("sandbox")) from error
    except OSError as error:
        msg = f"cannot {action} the sandbox: {error_reason(error)}"
        raise LocalError(msg) from error


def _stream_out(path: Path) -> None:
    """Write a file to standard output, stopping quietly if the reader leaves early.

    Raises:
        LocalError: If it cannot be read or written.
    """
    try:
        with path.open("rb") as file:
            shutil.copyfileobj(file, sys.stdout.buffer)
        sys.stdout.buffer.flush()
    except OSError as error:
        if error.errno in READER_LEFT:
            return
        msg = f"cannot write to standard output: {error_reason(error)}"
        raise LocalError(msg) from None
