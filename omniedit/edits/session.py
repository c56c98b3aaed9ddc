"""One run of a use case: the service, the journal, the clips, the clock, and who is told."""

import signal
import threading
import uuid
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from omniedit.errors import Interrupted, JournalError, OmniEditError
from omniedit.journal import Journal
from omniedit.models import Record
from omniedit.policy import DEFAULT, Policy, Retry
from omniedit.system import SYSTEM_CLOCK, Clock
from omniedit.system.files import absolute_path

if TYPE_CHECKING:
    from omniedit.downloads.transfer import Downloader
    from omniedit.events import Event, Observer
    from omniedit.evolink.api import EvoLinkClient
    from omniedit.http.client import HttpClient

T = TypeVar("T")

SHORTEST_INTERVAL_S: Final = 0.5
LONGEST_INTERVAL_S: Final = 10.0
"""Between two submissions, after the service has asked to slow down."""


class Connection(NamedTuple):
    """Where the service is, and the key that it takes."""

    base_url: str
    files_url: str
    key: str


class RateLimiter:
    """A pause that a rate limit asks for holds for everybody, and afterwards they go in single file.

    Args:
        monotonic: Seconds that never jump.
        sleep: How to rest.
        least_interval_s: Between any two turns, whether the service asks for it or not.
    """

    def __init__(
        self,
        monotonic: Callable[[], float],
        sleep: Callable[[float], object],
        *,
        least_interval_s: float = 0.0,
    ) -> None:
        self._monotonic = monotonic
        self._sleep = sleep
        self._lock = threading.Lock()
        self._open_at = 0.0
        self._interval_s = 0.0
        self._least_interval_s = least_interval_s
        self.is_paced = least_interval_s > 0
        """Whether turns are apart without the service's asking for it."""
        self._paused_until = 0.0
        self._pauses = 0

    def wait(self) -> float:
        """Rest until it is the caller's turn; return for how many seconds."""
        began = self._monotonic()
        while True:
            with self._lock:
                now = self._monotonic()
                pauses = self._pauses
                turn_at = max(now, self._open_at)
                self._open_at = turn_at + max(self._interval_s, self._least_interval_s)
            if turn_at > now:
                self._sleep(turn_at - now)
            # A pause that began meanwhile voids every turn.
            if pauses == self._pauses:
                return self._monotonic() - began

    def slow_down(self, rest_s: float) -> None:
        """Let nobody go for `rest_s` seconds, and then more slowly than before."""
        with self._lock:
            now = self._monotonic()
            if now >= self._paused_until:
                # The other replies to what was sent before a pause tell nothing new.
                doubled_s = max(SHORTEST_INTERVAL_S, 2 * self._interval_s)
                self._interval_s = min(LONGEST_INTERVAL_S, doubled_s)
            self._paused_until = max(self._paused_until, now + rest_s)
            self._open_at = self._paused_until
            self._pauses += 1

    def speed_up(self) -> None:
        """Go a little faster again."""
        with self._lock:
            slower_s = self._interval_s * 0.8
            self._interval_s = slower_s if slower_s >= SHORTEST_INTERVAL_S / 2 else 0.0


def _no_stream(_path: Path) -> None:
    raise NotImplementedError


class Session:
    """What the use cases call on.

    All that speaks HTTP is made when it is first needed, so that what needs no network neither
    needs a key nor pays for an HTTP library.

    Args:
        journal: Open.
        origin: The API's; what is known of one is not known of another.
        open_http: Returns the HTTP client.
        find_connection: Returns the connection, or raises what keeps it from being used.
        private_folder: Where files without a lasting name may lie.
        context: Whose `last` a submission becomes; None for the many of a batch.
        requires_journal: Nothing may be paid for without a journal.
        is_sandbox: The service is a sandbox.
        allows_internal_clips: Clips may lie on this machine's network.
        writes_sidecars: Each saved result gets a file that says where it comes from.
        is_watched: Somebody looks at a progress bar.
        is_batch: Many edits are made; what is true of all of them is told once.
        looks_at_results: What was saved is looked into, where the extra `media` is installed.
        observers: Told of every event, in this order.
        shielded: Returns a block that a first signal ends only after some seconds' grace.
        drain: Waits until the replies that other threads wait for have come, for some seconds.
        stream_out: Writes a file to standard output.
        clock: The time.
        policy: Time-outs, budgets and intervals.
        told: Notes that were told already, by an earlier session of the same command.
        submission_interval_s: At least so long from one submission to the next.
        closing: Ends with the session.
    """

    outstanding: dict[str, Callable[[], tuple[Record, OmniEditError]]]
    """What gives up a submission that is out, by its request ID; see `in_doubt`."""
    in_doubt: list[tuple[Record, OmniEditError]]
    """The submissions whose reply had not come when the command was stopped."""

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
        looks_at_results: bool = True,
        observers: "Sequence[Observer]" = (),
        shielded: Callable[[], AbstractContextManager[None]] = nullcontext,
        drain: Callable[[], None] = lambda: None,
        stream_out: Callable[[Path], None] = _no_stream,
        clock: Clock = SYSTEM_CLOCK,
        policy: Policy = DEFAULT,
        told: set[str] | None = None,
        submission_interval_s: float = 0.0,
        closing: ExitStack | None = None,
    ) -> None:
        self.journal = journal
        self.origin = origin
        self.private_folder = private_folder
        self.last_context = context
        """Whose `last` is meant."""
        # A batch is one call, however many submissions it makes.
        self.context = None if is_batch else context
        self.requires_journal, self.has_journal = requires_journal, journal.is_lasting
        self.is_sandbox = is_sandbox
        self.allows_internal_clips = allows_internal_clips
        self.writes_sidecars = writes_sidecars
        self.is_watched = is_watched
        self.looks_at_results = looks_at_results
        self.policy = policy
        self.now, self.monotonic, self._wait = clock
        self.rate_limiter = RateLimiter(
            clock.monotonic, self.sleep, least_interval_s=submission_interval_s
        )
        self.uploads = threading.BoundedSemaphore(policy.transfers_at_once)
        """Held while a clip is made ready and uploaded."""
        self.find_connection = find_connection
        self.holding = ExitStack() if closing is None else closing.enter_context(ExitStack())
        """Holds what was fetched for the session; who needs it for longer takes it over."""
        self.stream_out = stream_out
        self._open_http, self._observers = open_http, observers
        self.shielded = shielded
        """Returns a block that a first signal ends only after some seconds' grace."""
        self._drain = drain
        self._is_batch = is_batch
        self._remembered: dict[tuple[str, str], tuple[object, Any]] = {}
        self._told: set[str] = set() if told is None else told
        self._telling = threading.Lock()
        self._stopping, self.outstanding, self.in_doubt = threading.Event(), {}, []

    @cached_property
    def http(self) -> "HttpClient":
        """The HTTP client."""
        return self._open_http()

    @cached_property
    def fetched(self) -> dict[str, Path]:
        """Results in private files, by their task."""
        return {}

    @cached_property
    def service(self) -> "EvoLinkClient":
        """The API.

        Raises:
            CredentialsError: If there is no usable key.
            MissingExtraError: If the sandbox is not installed.
        """
        # First: without a key there is no need of the HTTP library.
        connection = self.find_connection()
        from omniedit.evolink.api import EvoLinkClient  # noqa: PLC0415 - brings that library

        return EvoLinkClient(
            self.http, base_url=connection.base_url, key=connection.key, now=self.now
        )

    @property
    def downloader(self) -> "Downloader":
        """What saves results."""
        from omniedit.downloads.transfer import Downloader  # noqa: PLC0415 - few commands save

        return Downloader(
            self.http,
            sleep=self.sleep,
            jitter=self.jitter,
            public_only=not self.allows_internal_clips,
        )

    def report(self, event: "Event") -> None:
        """Tell the observers of an event."""
        for observe in self._observers:
            observe(event)

    def note(self, message: str, *, is_general: bool = False) -> None:
        """Tell the observers what is worth a line; of many edits only what is true of all, once."""
        from omniedit.events import Noted  # noqa: PLC0415 - a listing loads no events

        if self._is_batch and (not is_general or message in self._told):
            return
        self._told.add(message)
        self.report(Noted(message=message))

    def warn(self, message: str, *, is_once: bool = False) -> None:
        """Tell the observers of something that the user should know, also when quiet.

        Args:
            message: What to know.
            is_once: Whether it is told once, however many edits it is true of.
        """
        from omniedit.events import Warned  # noqa: PLC0415 - as above

        if is_once:
            with self._telling:
                if message in self._told:
                    return
                self._told.add(message)
        self.report(Warned(message=message))

    def sleep(self, seconds: float, /) -> None:
        """Rest.

        Raises:
            Interrupted: The command is to end.
        """
        if self._wait(self._stopping, seconds):
            raise Interrupted(signal.SIGINT)

    def check_goes_on(self) -> None:
        """Refuse to begin anything once the command is to end.

        Raises:
            Interrupted: It is.
        """
        if self._stopping.is_set():
            raise Interrupted(signal.SIGINT)

    def stop(self) -> None:
        """Have the other threads begin nothing more, and wait a little for their replies."""
        self._stopping.set()
        try:
            self._drain()
        finally:
            # No thread that still waits for a reply will tell: it ends with the process.
            self.in_doubt += [give_up() for give_up in [*self.outstanding.values()]]

    def jitter(self) -> float:
        """Return a random number in [0, 1), so that many clients do not act in step."""
        import random  # noqa: PLC0415 - most commands never rest

        return random.random()  # noqa: S311 - it spreads load, nothing secret

    def left_s(self, deadline: float | None) -> float | None:
        """Return the seconds until a monotonic instant, never below 0; None for no instant."""
        return None if deadline is None else max(0.0, deadline - self.monotonic())

    def new_request_id(self) -> str:
        """Return an ID that nobody else has."""
        return f"omniedit-{uuid.uuid4().hex}"

    def with_retries(
        self,
        call: Callable[[], T],
        *,
        budget_s: float | None = None,
        deadline: float | None = None,
        task_id: str | None = None,
    ) -> T:
        """Return what `call` returns, resting and calling again while its failures are transient.

        Args:
            call: What costs nothing: a read, or an upload.
            budget_s: How long to go on, rests included; by default as long as a read may take.
            deadline: A monotonic instant that no rest may overrun.
            task_id: The task it is about, for the observers.

        Raises:
            OmniEditError: The last failure.
        """

        def report(message: str, rest_s: float, attempt: int) -> None:
            from omniedit.events import Retrying  # noqa: PLC0415 - mostly nothing is retried

            self.report(Retrying(message=message, delay_s=rest_s, attempt=attempt, task_id=task_id))

        retry = Retry(
            sleep=self.sleep,
            clock=self.monotonic,
            jitter=self.jitter,
            policy=self.policy,
            budget_s=self.policy.read_budget_s if budget_s is None else budget_s,
            deadline=deadline,
            on_retry=report,
        )
        return retry.call(call)

    def remember(self, kind: str, path: Path, find: Callable[[], T]) -> T:
        """Return what was found out about a file, again where the file has changed.

        However many edits a clip has, it is looked at and read once.

        Args:
            kind: What is found out.
            path: The file.
            find: Finds it out.
        """
        key, state = (kind, str(absolute_path(path))), _state_of(path)
        known = self._remembered.get(key)
        if known is None or known[0] != state:
            known = self._remembered[key] = state, find()
        found: T = known[1]
        return found

    def has_changed(self, kind: str, path: Path) -> bool:
        """Return whether a file is no longer what it was when that was found out about it."""
        known = self._remembered.get((kind, str(absolute_path(path))))
        return known is not None and known[0] != _state_of(path)

    def journalled(self, write: Callable[[], None]) -> None:
        """Write to the journal; a result is saved, and a task read, also where that fails."""
        try:
            write()
        except JournalError as error:
            self.warn(error.message)


def _state_of(path: Path) -> tuple[int, int] | None:
    """Return what changes with a file's content; None where it cannot be looked at."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return found.st_size, found.st_mtime_ns
