"""The session: the service, journal, clock, settings and observers that the use cases share."""

import signal
import threading
import uuid
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeVar

from omniedit.errors import Interrupted, JournalError, OmniEditError, TargetBusyError
from omniedit.journal import Journal
from omniedit.models import Record
from omniedit.policy import DEFAULT, Policy, Retry
from omniedit.system import SYSTEM_CLOCK, Clock
from omniedit.system.files import absolute_path

if TYPE_CHECKING:
    from omniedit.downloads.placement import Placement
    from omniedit.downloads.transfer import Downloader
    from omniedit.edits.sending import RateLimiter
    from omniedit.events import Event, Observer
    from omniedit.evolink.api import EvoLinkClient
    from omniedit.http.client import HttpClient

T = TypeVar("T")
Remembered: TypeAlias = dict[tuple[str, str], tuple[object, Any]]
"""What is known about files, by kind and path, each with the file's state at that time."""


class Connection(NamedTuple):
    """The URLs of the service and the file service, and the API key."""

    base_url: str
    files_url: str
    key: str


def _no_stream(_path: Path) -> None:
    raise NotImplementedError


class _Once(cached_property[T]):
    """A `cached_property` with a lock, which Python's own lacks from 3.12 on."""

    def __get__(self, session: "Session", owner: object = None) -> T:  # type: ignore[override]  # never read from the class
        with session.creating:
            return super().__get__(session, None)


class Session:
    """What the use cases of one command share.

    HTTP objects are created on first use, so that commands without network access need no key and
    do not load an HTTP library.

    Args:
        journal: The journal, opened.
        origin: The API's origin; records of other origins are kept apart.
        open_http: Returns the HTTP client.
        find_connection: Returns the connection, or raises an error if there is no usable one.
        private_folder: A folder for temporary files.
        context: The context of `last`.
        requires_journal: Whether paying requires a working journal.
        is_sandbox: Whether the service is a sandbox.
        allows_internal_clips: Whether clips may be on this machine's network.
        writes_sidecars: Whether each saved result gets a sidecar.
        is_watched: Whether a progress bar is shown.
        is_batch: Whether there are many edits: notes are then limited to general ones, each once.
        probes_results: Whether to probe saved results, if the extra `media` is installed.
        observers: Called with every event, in this order.
        shielded: Returns a context manager whose block the first signal interrupts only after a
            grace period.
        drain: Waits a few seconds for the replies that other threads are waiting for.
        stream_out: Writes a file to standard output.
        clock: The clock.
        policy: Time-outs, budgets and intervals.
        already_reported: Messages that an earlier session of the same command has already reported.
        remembered: What an earlier session of the same command has learnt about files.
        submission_interval_s: The minimum interval between two submissions.
    """

    def __init__(
        self,
        *,
        journal: Journal,
        origin: str,
        open_http: "Callable[[], HttpClient]",
        find_connection: Callable[[], Connection],
        private_folder: Path,
        context: str | None = None,
        requires_journal: bool = True,
        is_sandbox: bool = False,
        allows_internal_clips: bool = False,
        writes_sidecars: bool = False,
        is_watched: bool = False,
        is_batch: bool = False,
        probes_results: bool = True,
        observers: "Sequence[Observer]" = (),
        shielded: Callable[[], AbstractContextManager[None]] = nullcontext,
        drain: Callable[[], None] = lambda: None,
        stream_out: Callable[[Path], None] = _no_stream,
        clock: Clock = SYSTEM_CLOCK,
        policy: Policy = DEFAULT,
        already_reported: set[str] | None = None,
        remembered: Remembered | None = None,
        submission_interval_s: float = 0.0,
    ) -> None:
        self.journal, self.origin = journal, origin
        self.private_folder = private_folder
        self.context = context  # of `last`
        self.recorded_context = None if is_batch else context
        """The context whose `last` a submission becomes; None in a batch, which has no `last`."""
        self.requires_journal, self.has_journal = requires_journal, journal.is_persistent
        self.is_sandbox, self.is_watched = is_sandbox, is_watched
        self.allows_internal_clips = allows_internal_clips
        self.writes_sidecars = writes_sidecars
        self.probes_results = probes_results
        self.policy, self._submission_interval_s = policy, submission_interval_s
        self.now, self.monotonic, self._wait = clock
        self.uploads = threading.BoundedSemaphore(policy.transfers_at_once)
        """Acquired while a clip is prepared and uploaded."""
        self._find_connection, self._open_http = find_connection, open_http
        self.creating = threading.RLock()
        """Held while something is created that worker threads share."""
        self.fetched: dict[str, Path] = {}
        """Private files of fetched results, by task ID."""
        self.fetched_files = ExitStack()
        """Removes them when the session ends; a caller can take them over by `pop_all`."""
        self.stream_out, self._observers = stream_out, observers
        self.shielded = shielded
        """Returns a context manager that delays the first signal by a grace period."""
        self._drain, self._is_batch = drain, is_batch
        self._remembered: Remembered = {} if remembered is None else remembered
        self._reported: set[str] = set() if already_reported is None else already_reported
        self._reported_lock, self._stopping = threading.Lock(), threading.Event()
        self.outstanding: dict[str, Callable[[], tuple[Record, OmniEditError]]] = {}
        """Callbacks that give up a submission awaiting its reply, by request ID."""

    @_Once
    def connection(self) -> Connection:
        """The connection to the service.

        Raises:
            CredentialsError: If there is no usable key.
            MissingExtraError: If the sandbox is not installed.
        """
        return self._find_connection()

    @_Once
    def http(self) -> "HttpClient":
        """The HTTP client."""
        return self._open_http()

    @_Once
    def service(self) -> "EvoLinkClient":
        """The API; raises the errors of `connection`."""
        # First: if there is no key, do not load the HTTP library.
        found = self.connection
        from omniedit.evolink.api import EvoLinkClient  # noqa: PLC0415 - few commands use the network

        return EvoLinkClient(self.http, base_url=found.base_url, key=found.key, now=self.now)

    def require_service(self) -> None:
        """Raise the errors of `connection` before anything is asked, uploaded or sent."""
        _ = self.service

    @_Once
    def rate_limiter(self) -> "RateLimiter":
        """Gives the threads of this session turns to submit."""
        from omniedit.edits.sending import RateLimiter  # noqa: PLC0415 - few commands submit

        interval_s = self._submission_interval_s
        return RateLimiter(self.monotonic, self.sleep, least_interval_s=interval_s)

    def placement(self, deadline: float | None = None) -> "Placement":
        """Return what writes files under their final names.

        Args:
            deadline: A monotonic instant at which to stop waiting for another process.
        """
        from omniedit.downloads.placement import Placement  # noqa: PLC0415 - few commands save

        placement = Placement(sleep=self._wait_for_writer(), budget_s=self.policy.busy_budget_s)
        left_s = self.left_s(deadline)
        return placement if left_s is None else placement.within(left_s)

    @property
    def downloader(self) -> "Downloader":
        """A downloader for results and clips."""
        from omniedit.downloads.transfer import Downloader  # noqa: PLC0415 - as above

        return Downloader(
            self.http,
            sleep=self.sleep,
            jitter=self.jitter,
            wait=self._wait_for_writer(),
            allow_internal=self.allows_internal_clips,
        )

    def report(self, event: "Event") -> None:
        """Report an event to the observers."""
        for observe in self._observers:
            observe(event)

    def note(self, message: str, *, is_general: bool = False) -> None:
        """Report a note; in a batch, only if it is general, and only once.

        Args:
            message: The note.
            is_general: Whether it applies to more than one edit.
        """
        from omniedit.events import Noted  # noqa: PLC0415 - a listing loads no events

        if self._is_batch and not is_general:
            return
        if not is_general or self._is_first(message):
            self.report(Noted(message=message))

    def warn(self, message: str, *, is_once: bool = False) -> None:
        """Report a warning, which is shown even with `--quiet`.

        Args:
            message: The warning.
            is_once: Whether to report it only once, no matter how many edits it applies to.
        """
        from omniedit.events import Warned  # noqa: PLC0415 - a listing loads no events

        if not is_once or self._is_first(message):
            self.report(Warned(message=message))

    def _is_first(self, message: str) -> bool:
        with self._reported_lock:
            is_first = message not in self._reported
            self._reported.add(message)
            return is_first

    def sleep(self, seconds: float, /) -> None:
        """Rest for some seconds.

        Raises:
            Interrupted: If the command is stopping.
        """
        if self._wait(self._stopping, seconds):
            raise Interrupted(signal.SIGINT)

    def check_not_stopping(self) -> None:
        """Raise if the command is stopping, so that nothing new is started.

        Raises:
            Interrupted: If the command is stopping.
        """
        if self._stopping.is_set():
            raise Interrupted(signal.SIGINT)

    def stop(self) -> None:
        """Keep other threads from starting anything, and wait a little for their replies."""
        self._stopping.set()
        self._drain()

    def give_up_outstanding(self) -> list[tuple[Record, OmniEditError]]:
        """Record the submissions whose reply has not arrived, and return them with their errors.

        The threads that wait for these replies end with the process.
        """
        return [give_up() for give_up in [*self.outstanding.values()]]

    def jitter(self) -> float:
        """Return a random number in [0, 1), so that many clients do not act in step."""
        import random  # noqa: PLC0415 - most commands never rest

        return random.random()  # noqa: S311 - it spreads load, nothing secret

    def left_s(self, deadline: float | None) -> float | None:
        """Return the seconds until a monotonic instant, never below 0; None for no instant."""
        return None if deadline is None else max(0.0, deadline - self.monotonic())

    def new_request_id(self) -> str:
        """Return a new, globally unique request ID."""
        return f"omniedit-{uuid.uuid4().hex}"

    def with_retries(
        self,
        call: Callable[[], T],
        *,
        budget_s: float | None = None,
        deadline: float | None = None,
        task_id: str | None = None,
    ) -> T:
        """Return the result of `call`, retrying it with backoff after transient errors.

        Args:
            call: A call that is free to repeat: a read or an upload.
            budget_s: How long to retry, rests included; by default the policy's budget for reads.
            deadline: A monotonic instant that no rest may overrun.
            task_id: The task that the call concerns, for the observers.

        Raises:
            OmniEditError: The last error.
        """
        retry = Retry(
            sleep=self.sleep,
            clock=self.monotonic,
            jitter=self.jitter,
            policy=self.policy,
            budget_s=self.policy.read_budget_s if budget_s is None else budget_s,
            deadline=deadline,
            on_retry=partial(self.report_retry, task_id),
        )
        return retry.call(call)

    def report_retry(self, task_id: str | None, message: str, rest_s: float, attempt: int) -> None:
        """Report the pause before a failed call is repeated."""
        from omniedit.events import Retrying  # noqa: PLC0415 - mostly nothing is retried

        self.report(Retrying(message=message, delay_s=rest_s, attempt=attempt, task_id=task_id))

    @contextmanager
    def locked(
        self, action: str, name: str, *, what: str, deadline: float | None = None
    ) -> Generator[None]:
        """Hold a lock of the journal for a block; a note says so if that takes a while.

        Args:
            action: See `Journal.locked`.
            name: See `Journal.locked`.
            what: What another process that holds the lock is doing.
            deadline: A monotonic instant; by default, the policy limits the wait.

        Raises:
            TargetBusyError: If another process still holds the lock then.
            JournalError: If the lock cannot be taken.
        """
        left_s = self.left_s(deadline)
        budget_s = self.policy.busy_budget_s if left_s is None else left_s
        quiet_s = min(budget_s, self.policy.quiet_wait_s)
        with ExitStack() as stack:
            try:
                stack.enter_context(self.journal.locked(action, name, timeout_s=quiet_s))
            except TargetBusyError:
                rest_s = budget_s - quiet_s
                if rest_s <= 0:
                    raise
                self.note(f"waiting for another process, which is {what}")
                stack.enter_context(self.journal.locked(action, name, timeout_s=rest_s))
            yield

    def _wait_for_writer(self) -> Callable[[float], None]:
        """Return a `sleep` for while another process writes the same file; a note says so."""
        waited_s, is_noted = 0.0, False

        def sleep(seconds: float) -> None:
            nonlocal waited_s, is_noted
            if waited_s >= self.policy.quiet_wait_s and not is_noted:
                is_noted = True
                self.note("waiting for another process, which is saving the same file")
            self.sleep(seconds)
            waited_s += seconds

        return sleep

    def remember(self, kind: str, path: Path, find: Callable[[], T]) -> T:
        """Return the result of `find` for a file, remembered until the file changes.

        A command thus probes and hashes a clip once for all its edits, unless threads ask at the
        same time.

        Args:
            kind: The kind of result, such as `digest`.
            path: The file.
            find: Computes the result.
        """
        key, state = (kind, str(absolute_path(path))), _state_of(path)
        known = self._remembered.get(key)
        if known is None or known[0] != state:
            known = self._remembered[key] = state, find()
        found: T = known[1]
        return found

    def has_changed(self, kind: str, path: Path) -> bool:
        """Return whether a file has changed since `remember` computed this kind of result."""
        known = self._remembered.get((kind, str(absolute_path(path))))
        return known is not None and known[0] != _state_of(path)

    def write_journal(self, write: Callable[[], None]) -> None:
        """Write to the journal; a failure is only a warning, because other work can continue."""
        try:
            write()
        except JournalError as error:
            self.warn(error.message)


def _state_of(path: Path) -> tuple[int, int] | None:
    """Return the size and modification time of a file; None if they cannot be read."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return found.st_size, found.st_mtime_ns
