"""The session: the service, journal, clock, settings and observers that the use cases share."""

import signal
import threading
import uuid
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias, TypeVar

from omniedit.errors import (
    Interrupted,
    JournalError,
    OmniEditError,
    TargetBusyError,
    WaitTimeoutError,
)
from omniedit.journal import Journal
from omniedit.models import Record
from omniedit.policy import DEFAULT, Policy, RateLimiter, Retry
from omniedit.system import SYSTEM_CLOCK, Clock
from omniedit.system.files import absolute_path

if TYPE_CHECKING:
    from omniedit.downloads.placement import Placement
    from omniedit.events import Event, Observer
    from omniedit.evolink.api import EvoLinkClient
    from omniedit.http.client import HttpClient

T = TypeVar("T")
Remembered: TypeAlias = dict[tuple[str, str], tuple[object, Any]]
"""What is known about files, by kind and path, each with the file's state at that time."""


_ACTIONS: Final = {
    "editing": "submitting the same edit",
    "sending": "sending submission {}",
    "uploading": "uploading the same clip",
}
"""What another process that holds a lock is doing."""


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


@dataclass(kw_only=True, eq=False, repr=False, match_args=False)
class Session:
    """What the use cases of one command share.

    HTTP objects are created on first use, so that commands without network access need no key and
    do not load an HTTP library.
    """

    journal: Journal
    origin: str  # the API's; records of other origins are kept apart
    open_http: "Callable[[], HttpClient]"
    find_connection: Callable[[], Connection]  # raises an error if there is no usable one
    private_folder: Path  # for temporary files
    context: str | None = None  # `last` names the newest call of this context
    requires_journal: bool = True  # nothing is paid for without one
    is_sandbox: bool = False
    allows_internal_clips: bool = False  # a clip's URL may name this machine or its network
    writes_sidecars: bool = False
    is_watched: bool = False  # a progress bar is shown
    is_batch: bool = False  # there are many edits: only general notes are reported, once each
    probes_results: bool = True  # saved results are probed if the extra `media` is installed
    observers: "Sequence[Observer]" = ()  # called with every event, in this order
    # Returns a context manager whose block the first signal interrupts only after a grace period.
    shielded: Callable[[], AbstractContextManager[None]] = nullcontext
    # Waits a few seconds for the replies that other threads are waiting for.
    drain: Callable[[], None] = lambda: None
    stream_out: Callable[[Path], None] = _no_stream  # writes a file to standard output
    clock: Clock = SYSTEM_CLOCK
    policy: Policy = DEFAULT
    submission_interval_s: float = 0.0  # the minimum time between two submissions
    # What earlier sessions of the same command have reported, and learnt about files.
    already_reported: set[str] = field(default_factory=set[str])
    remembered: Remembered = field(default_factory=Remembered)

    def __post_init__(self) -> None:
        self.now, self.monotonic, self._wait = self.clock
        # The context whose newest call a submission becomes; a batch is never `last`.
        self.recorded_context = None if self.is_batch else self.context
        self.has_journal = self.journal.is_persistent
        # Acquired while a clip is prepared and uploaded.
        self.uploads = threading.BoundedSemaphore(self.policy.transfers_at_once)
        # Gives the threads of this session turns to submit.
        self.rate_limiter = RateLimiter(
            self.monotonic, self.sleep, least_interval_s=self.submission_interval_s
        )
        # Held while something is created that worker threads share.
        self.creating = threading.RLock()
        # Private files of fetched results by task ID, and what removes them when the session ends;
        # a caller can take them over by `pop_all`.
        self.fetched: dict[str, Path] = {}
        self.fetched_files = ExitStack()
        # Callbacks that give up a submission that has no task yet, by request ID.
        self.outstanding: dict[str, Callable[[], tuple[Record, OmniEditError] | None]] = {}
        self._reporting = threading.Lock()
        self._stopping = threading.Event()

    @_Once
    def connection(self) -> Connection:
        """The connection to the service; raises a `CredentialsError` if there is no usable key."""
        return self.find_connection()

    @_Once
    def http(self) -> "HttpClient":
        """The HTTP client."""
        return self.open_http()

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

    def placement(self, deadline: float | None = None) -> "Placement":
        """Return what writes files under their final names, waiting for others until the deadline."""
        from omniedit.downloads.placement import Placement  # noqa: PLC0415 - few commands save

        sleep = self._noting_sleep("saving the same file")
        budget_s = self.policy.busy_budget_s
        left_s = self.left_s(deadline)
        return Placement(sleep, budget_s if left_s is None else min(budget_s, left_s))

    def report(self, event: "Event") -> None:
        """Report an event to the observers."""
        for observe in self.observers:
            observe(event)

    def note(self, message: str, *, is_general: bool = False) -> None:
        """Report a note, each general one only once; a batch reports only general ones."""
        from omniedit.events import Noted  # noqa: PLC0415 - a listing loads no events

        if self._is_first(message) if is_general else not self.is_batch:
            self.report(Noted(message=message))

    def warn(self, message: str, *, is_once: bool = False) -> None:
        """Report a warning, which is shown even with `--quiet`; if `is_once`, only the first time."""
        from omniedit.events import Warned  # noqa: PLC0415 - a listing loads no events

        if not is_once or self._is_first(message):
            self.report(Warned(message=message))

    def _is_first(self, message: str) -> bool:
        with self._reporting:
            is_first = message not in self.already_reported
            self.already_reported.add(message)
            return is_first

    def sleep(self, seconds: float, /) -> None:
        """Rest for some seconds.

        Raises:
            Interrupted: If the command is stopping.
        """
        if self._wait(self._stopping, seconds):
            raise Interrupted(signal.SIGINT)

    def check_not_stopping(self) -> None:
        """Raise `Interrupted` if the command is stopping, so that nothing new is started."""
        if self._stopping.is_set():
            raise Interrupted(signal.SIGINT)

    def stop(self) -> None:
        """Keep other threads from starting anything, and wait a little for their replies."""
        self._stopping.set()
        self.drain()

    def give_up_outstanding(self) -> list[tuple[Record, OmniEditError]]:
        """Record the submissions whose outcome is unknown, and return them with their errors.

        The threads that wait for a reply, or to ask again, end with the process.
        """
        given_up = [give_up() for give_up in [*self.outstanding.values()]]
        return [unknown for unknown in given_up if unknown is not None]

    def jitter(self) -> float:
        """Return a random number in [0, 1), so that many clients do not act in step."""
        import random  # noqa: PLC0415 - most commands never rest

        return random.random()  # noqa: S311 - it spreads load, nothing secret

    def left_s(self, deadline: float | None) -> float | None:
        """Return the seconds until a monotonic instant, never below 0; None for no instant."""
        return None if deadline is None else max(0.0, deadline - self.monotonic())

    def with_grace(self, deadline: float) -> float:
        """Return a deadline, put off by a few seconds if it is near, to finish what has begun."""
        return max(deadline, self.monotonic() + self.policy.grace_s)

    def a_moment_from_now(self) -> float:
        """Return the deadline of a read that is made although the time is up: very soon."""
        return self.monotonic() + self.policy.last_reply_s

    def new_request_id(self) -> str:
        """Return a new, globally unique request ID."""
        return f"omniedit-{uuid.uuid4().hex}"

    def retry(
        self,
        *,
        budget_s: float | None = None,
        deadline: float | None = None,
        task_id: str | None = None,
    ) -> Retry:
        """Return the retries of one operation, which report each pause; see `Retry`.

        By default, the budget is the policy's for reads.
        """
        return Retry(
            sleep=self.sleep,
            clock=self.monotonic,
            jitter=self.jitter,
            policy=self.policy,
            budget_s=self.policy.read_budget_s if budget_s is None else budget_s,
            deadline=deadline,
            on_retry=partial(self.report_retry, task_id),
        )

    def report_retry(self, task_id: str | None, message: str, rest_s: float, attempt: int) -> None:
        """Report the pause before a failed call is repeated."""
        from omniedit.events import Retrying  # noqa: PLC0415 - mostly nothing is retried

        self.report(Retrying(message=message, delay_s=rest_s, attempt=attempt, task_id=task_id))

    @contextmanager
    def locked(self, action: str, name: str, *, deadline: float | None = None) -> Generator[None]:
        """Hold a lock for a block, see `Journal.locked`; a note says so if that takes a while.

        Without a deadline the policy limits the wait.

        Raises:
            WaitTimeoutError: If another process still holds the lock then.
            JournalError: If the lock cannot be taken.
        """
        left_s = self.left_s(deadline)
        what = _ACTIONS[action].format(name)
        budget_s = self.policy.busy_budget_s if left_s is None else left_s
        with ExitStack() as stack:
            sleep = self._noting_sleep(what)
            lock = self.journal.locked(action, name, sleep=sleep, timeout_s=budget_s)
            try:
                stack.enter_context(lock)
            except TargetBusyError as error:
                msg = f"another process is still {what}"
                raise WaitTimeoutError(msg) from error
            yield

    @contextmanager
    def sending_lock(
        self, request_id: str, *, pays: bool = True, deadline: float | None = None
    ) -> Generator[None]:
        """Hold the lock of a submission; see `locked`.

        If it cannot be taken, a block that does not pay, but settles an earlier submission, goes on
        without it, and so does every block if paying does not require a journal.
        """
        with ExitStack() as stack:
            try:
                stack.enter_context(self.locked("sending", request_id, deadline=deadline))
            except WaitTimeoutError as error:
                error.about(request_id=request_id)
                raise
            except JournalError as error:
                if self.requires_journal and pays:
                    raise
                self.warn(f"{error.message}; continuing without it")
            yield

    def _noting_sleep(self, what: str) -> Callable[[float], None]:
        """Return a `sleep` for waiting for another process; a note says so if it takes a while."""
        waited_s = 0.0
        is_noted = False

        def sleep(seconds: float) -> None:
            nonlocal waited_s, is_noted
            if waited_s >= self.policy.quiet_wait_s and not is_noted:
                is_noted = True
                self.note(f"waiting for another process, which is {what}")
            self.sleep(seconds)
            waited_s += seconds

        return sleep

    def remember(self, kind: str, path: Path, find: Callable[[], T]) -> T:
        """Return the result of `find` for a file, such as its digest, until the file changes.

        A command thus probes and hashes a clip once for all its edits, unless threads ask at the
        same time.
        """
        key = (kind, str(absolute_path(path)))
        state = _state_of(path)
        known = self.remembered.get(key)
        if known is None or known[0] != state:
            known = self.remembered[key] = state, find()
        found: T = known[1]
        return found

    def has_changed(self, kind: str, path: Path) -> bool:
        """Return whether a file has changed since `remember` computed this kind of result."""
        known = self.remembered.get((kind, str(absolute_path(path))))
        return known is not None and known[0] != _state_of(path)

    def write_journal(self, write: Callable[[], None]) -> None:
        """Write to the journal; a failure is only warned of, once: other work can continue."""
        try:
            write()
        except JournalError as error:
            self.warn(error.message, is_once=True)


def _state_of(path: Path) -> tuple[int, int] | None:
    """Return the size and modification time of a file; None if they cannot be read."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return found.st_size, found.st_mtime_ns
