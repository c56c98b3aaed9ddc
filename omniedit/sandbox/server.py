"""Start and stop the sandbox: a loopback socket, threads that nobody waits for, a folder."""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import threading
import time
import traceback
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from omniedit.sandbox.addresses import loopback_address
from omniedit.sandbox.clips import Clips
from omniedit.sandbox.database import DATABASE_NAME
from omniedit.sandbox.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path
    from types import TracebackType
    from wsgiref.types import WSGIApplication

LISTEN_QUEUE = 128
_GRACE_S = 0.5


def serve(
    folder: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    link_ttl_s: float = 86_400,
    time_scale: float = 1.0,
    rate_limit_per_min: int | None = None,
    allow_local_callbacks: bool = False,
    log: Callable[[str], None] | None = None,
    record: Path | None = None,
    edit_seconds: float = 5.0,
    clock: Callable[[], float] = time.time,
) -> RunningSandbox:
    """Serve the sandbox from now on, in daemon threads; return at once.

    Args:
        folder: Where tasks and clips are kept; other processes may serve it at the same time.
        host: A name or address of this machine.
        port: 0 takes the port this folder was served on before, or else any free one.
        link_ttl_s: How long a link lives from the completion of its task.
        time_scale: What every duration of an edit is multiplied by: 0.1 is ten times as fast.
        rate_limit_per_min: How many requests with a key are answered in any 60 s.
        allow_local_callbacks: Whether callbacks to this machine are delivered.
        log: Called with one line per request, from several threads.
        record: A file to which one JSON line per request is appended.
        edit_seconds: How long an edit takes before scaling.
        clock: Seconds since 1970.

    Raises:
        ModuleNotFoundError: Werkzeug is not installed.
        OSError: the port is taken, or the folder, its state or the record cannot be written.
        ValueError: `host` is not this machine.
    """
    # Imported here, so that the table of markers can be read without Werkzeug.
    from omniedit.sandbox.app import SandboxApp  # noqa: PLC0415
    from omniedit.sandbox.callbacks import Courier  # noqa: PLC0415
    from omniedit.sandbox.exchange import Context  # noqa: PLC0415
    from omniedit.sandbox.traffic import Traffic  # noqa: PLC0415

    traffic = Traffic(log=log, record=record, clock=clock)
    store, clips = Store(folder), Clips(folder)
    clips.remove_abandoned()
    try:
        listener = _listen(store, host=host, port=port)
    except BaseException:
        store.close()
        raise
    context = Context(
        store=store,
        clips=clips,
        secret=store.secret(),
        clock=clock,
        link_ttl_s=link_ttl_s,
        time_scale=time_scale,
        edit_seconds=edit_seconds,
    )
    app = SandboxApp(context, traffic=traffic, rate_limit_per_min=rate_limit_per_min)
    running = RunningSandbox(listener=listener, store=store, app=app, report=traffic.tell_text)
    running.start()
    if allow_local_callbacks:
        Courier(
            context=context, origin=running.url, stopped=running.stopped, tell=traffic.tell_text
        ).start()
    return running


def reset(folder: Path) -> int:
    """Remove every task and clip, also under a process that serves them; return how many tasks."""
    if not (folder / DATABASE_NAME).exists():
        return 0
    store = Store(folder)
    try:
        count = store.clear()
    finally:
        store.close()
    Clips(folder).clear()
    return count


@dataclass(kw_only=True)
class RunningSandbox:
    """A sandbox that answers until it is closed; a context manager."""

    listener: socket.socket
    store: Store
    app: WSGIApplication
    report: Callable[[str], None]
    stopped: threading.Event = field(default_factory=threading.Event)
    _connections: dict[socket.socket, threading.Thread] = field(
        default_factory=dict[socket.socket, threading.Thread]
    )
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.host, self.port = self.listener.getsockname()[:2]
        # A byte on this pair wakes the accepting thread: closing a socket under it would not.
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._acceptor = threading.Thread(target=self._accept, name="sandbox", daemon=True)

    @property
    def url(self) -> str:
        """Return the base URL of the API and of the file service."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def start(self) -> None:
        """Begin to answer."""
        self._acceptor.start()

    def close(self) -> None:
        """Stop: let replies on their way finish for a moment, then close everything."""
        if self.stopped.is_set():
            return
        self.stopped.set()
        with contextlib.suppress(OSError):  # it may have gone by itself
            self._wake_writer.send(b"x")
        self._acceptor.join()
        with self._lock:
            connections = dict(self._connections)
        # An idle connection ends at once, a busy one may finish its reply.
        _shut_down(connections, socket.SHUT_RD)
        deadline = time.monotonic() + _GRACE_S
        for thread in connections.values():
            thread.join(max(deadline - time.monotonic(), 0))
        _shut_down(connections, socket.SHUT_RDWR)
        self._wake_writer.close()
        self.store.close()

    def _accept(self) -> None:
        with selectors.DefaultSelector() as selector, self.listener, self._wake_reader:
            selector.register(self.listener, selectors.EVENT_READ)
            selector.register(self._wake_reader, selectors.EVENT_READ)
            while not self.stopped.is_set():
                selector.select()
                if not self.stopped.is_set():
                    self._take_connection()

    def _take_connection(self) -> None:
        try:
            connection, client = self.listener.accept()
        except OSError:
            # The client went away between the two calls, or there are no descriptors left.
            self.stopped.wait(0.01)
            return
        connection.settimeout(None)
        thread = threading.Thread(target=self._converse, args=[connection, client], daemon=True)
        with self._lock:
            self._connections[connection] = thread
        thread.start()

    def _converse(self, connection: socket.socket, client: tuple[object, ...]) -> None:
        from omniedit.sandbox.wire import Handler  # noqa: PLC0415 - imports Werkzeug

        try:
            Handler(connection, client, app=self.app, port=self.port)
        except Exception:  # noqa: BLE001 - the boundary: a thread's last words would go to stderr
            self.report(traceback.format_exc())
        finally:
            with self._lock:
                del self._connections[connection]
            _shut_down([connection], socket.SHUT_WR)
            connection.close()


def _listen(store: Store, *, host: str, port: int) -> socket.socket:
    address = loopback_address(host)
    if address is None:
        message = f"`{host}` is not this machine: the sandbox answers on loopback only"
        raise ValueError(message)
    if port:
        listener = _bind(address, port)
        if store.ports()[:1] != [port]:
            store.remember_port(port, is_first=True)
        return listener
    known = store.ports()
    for candidate in known:
        with contextlib.suppress(OSError):
            return _bind(address, candidate)
    listener = _bind(address, 0)
    store.remember_port(int(listener.getsockname()[1]), is_first=False)
    return listener


def _bind(address: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    try:
        # On Windows the option of this name would let two programs share the port.
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen(LISTEN_QUEUE)
        listener.settimeout(0)
    except BaseException:
        listener.close()
        raise
    return listener


def _shut_down(connections: Iterable[socket.socket], direction: int) -> None:
    for connection in connections:
        # The other end, or its own thread, may have been first.
        with contextlib.suppress(OSError):
            connection.shutdown(direction)
