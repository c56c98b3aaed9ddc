"""Start and stop the sandbox: a loopback socket, a folder, and the threads that answer."""

import contextlib
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from omniedit.sandbox.callbacks import loopback_address
from omniedit.sandbox.clips import Clips
from omniedit.sandbox.store import DATABASE_NAME, RequestKeys, Store

if TYPE_CHECKING:
    from omniedit.sandbox.connections import Server


class RunningSandbox(contextlib.AbstractContextManager["RunningSandbox"]):
    """A context manager for a sandbox that answers until it is closed."""

    def __init__(self, server: "Server", store: Store) -> None:
        self._server = server
        self.store = store
        self.host, self.port = server.host, server.port

    @property
    def url(self) -> str:
        """The base URL of the API and of the file service."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop answering, after giving replies in progress a moment to finish."""
        if not self._server.stopped.is_set():
            self._server.stop()
            self.store.close()


def serve(
    folder: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    link_ttl_s: float = 86_400,
    time_scale: float = 1.0,
    rate_limit_per_min: int | None = None,
    allow_local_callbacks: bool = False,
    request_keys: RequestKeys = RequestKeys.HONOURED,
    log: Callable[[str], None] | None = None,
    record: Path | None = None,
    edit_seconds: float = 5.0,
    clock: Callable[[], float] = time.time,
) -> RunningSandbox:
    """Serve the sandbox in daemon threads; return at once.

    Args:
        folder: Holds tasks and clips; other processes may serve it at the same time.
        host: A name or address of this machine.
        port: The port; 0 is the one that this folder was served on before, or else any free one.
        link_ttl_s: How long a link is valid after its task has completed.
        time_scale: The factor for every duration of an edit: 0.1 is ten times as fast.
        rate_limit_per_min: How many requests with a key are answered in any 60 s; None for all.
        allow_local_callbacks: Whether callbacks to this machine are delivered.
        request_keys: What to do with an `Idempotency-Key` that was seen before.
        log: Called with one line per request, from several threads.
        record: A file to which one JSON line per request is appended.
        edit_seconds: How long an edit takes before scaling.
        clock: Returns the current time in seconds since 1970.

    Raises:
        ModuleNotFoundError: If Werkzeug is not installed.
        OSError: If the port is taken, or the folder, its state or the record cannot be written.
        ValueError: If `host` is not this machine.
    """
    # Imported here, so that the table of markers can be read without Werkzeug.
    from omniedit.sandbox.app import SandboxApp  # noqa: PLC0415
    from omniedit.sandbox.callbacks import CallbackSender  # noqa: PLC0415
    from omniedit.sandbox.connections import Server  # noqa: PLC0415
    from omniedit.sandbox.exchange import Service, Traffic  # noqa: PLC0415

    traffic = Traffic(log=log, record=record, clock=clock)
    store, clips = Store(folder), Clips(folder)
    clips.remove_abandoned()
    try:
        listener = _listen(store, host=host, port=port)
    except BaseException:
        store.close()
        raise
    service = Service(
        store=store,
        clips=clips,
        secret=store.secret(),
        clock=clock,
        link_ttl_s=link_ttl_s,
        time_scale=time_scale,
        edit_seconds=edit_seconds,
        request_keys=RequestKeys(request_keys),
    )
    app = SandboxApp(service, traffic=traffic, rate_limit_per_min=rate_limit_per_min)
    server = Server(listener, app, traffic.note_text, clock)
    running = RunningSandbox(server, store)
    if allow_local_callbacks:
        CallbackSender(
            service=service, origin=running.url, stopped=server.stopped, log=traffic.note_text
        ).start()
    return running


def reset(folder: Path) -> int:
    """Remove every task and clip, even while they are served; return the number of tasks."""
    if not (folder / DATABASE_NAME).exists():
        return 0
    with contextlib.closing(Store(folder)) as store:
        count = store.clear()
    Clips(folder).clear()
    return count


def _listen(store: Store, *, host: str, port: int) -> socket.socket:
    address = loopback_address(host)
    if address is None:
        message = f"`{host}` is not this machine: the sandbox listens on loopback only"
        raise ValueError(message)
    remembered = store.port()
    if port == 0 and remembered is not None:
        with contextlib.suppress(OSError):
            return _bind(address, remembered)
    listener = _bind(address, port)
    # If another process is serving on the remembered port, keep that port remembered.
    if port or remembered is None:
        store.remember_port(int(listener.getsockname()[1]))
    return listener


def _bind(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return socket.create_server((address, port), family=family, backlog=128)
