"""A headless Chromium, driven over two pipes (Chrome DevTools Protocol)."""

import itertools
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final

_NAMES: Final = ("chromium", "chromium-browser", "google-chrome")
PROGRAM: Final = next(filter(None, map(shutil.which, _NAMES)), None)
_OPTIONS: Final = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--mute-audio",
    "--remote-debugging-pipe",
)


class Tab:
    """A page of the browser, with its requests and the exceptions of its scripts."""

    def __init__(self, sent: BinaryIO, received: BinaryIO) -> None:
        self._sent = sent
        self._received = received
        self._numbers = itertools.count(1)
        self._session: str | None = None
        self.requests: list[str] = []
        self.exceptions: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network"):
            self.call(f"{domain}.enable")

    def open(self, page: Path) -> None:
        """Open a page and wait until its videos can be played."""
        self.requests.clear()
        self.call("Page.navigate", url=page.as_uri())
        self.evaluate(
            "new Promise(done => { const look = () => document.readyState === 'complete' &&"
            " [...document.querySelectorAll('video')].every(v => v.readyState > 2 || v.error)"
            " ? done() : setTimeout(look, 20); look(); })"
        )

    def evaluate(self, script: str) -> Any:
        """Return the value of a script."""
        reply = self.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in reply, reply
        return reply["result"].get("value")

    def press(self, key: str, *, shift: bool = False) -> None:
        """Press and release a key."""
        text = {"text": key} if len(key) == 1 else {}
        common = {"key": key, "modifiers": 8 if shift else 0}
        self.call("Input.dispatchKeyEvent", type="keyDown", **common, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def drag(self, *points: tuple[float, float]) -> None:
        """Drag the mouse along the points."""
        common = {"button": "left", "clickCount": 1}
        for kind, (x, y) in zip(
            ("mousePressed", *["mouseMoved"] * (len(points) - 1)), points, strict=True
        ):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, buttons=1, **common)
        x, y = points[-1]
        self.call("Input.dispatchMouseEvent", type="mouseReleased", x=x, y=y, **common)

    def show_as(self, *, width: int, height: int, **media: str) -> None:
        """Set the window's size and media features such as the colour scheme."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        features = [
            {"name": name.replace("_", "-"), "value": value} for name, value in media.items()
        ]
        self.call("Emulation.setEmulatedMedia", features=features)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method of the protocol and return its result."""
        number = next(self._numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        self._sent.write(json.dumps(message).encode() + b"\0")
        self._sent.flush()
        while True:
            reply = self._receive()
            if reply.get("id") == number:
                assert "error" not in reply, (method, reply)
                result: dict[str, Any] = reply["result"]
                return result

    def _receive(self) -> dict[str, Any]:
        content = bytearray()
        while (byte := self._received.read(1)) not in {b"\0", b""}:
            content += byte
        assert content, "the browser has ended"
        message: dict[str, Any] = json.loads(content)
        params = message.get("params", {})
        match message.get("method"):
            case "Network.requestWillBeSent":
                self.requests.append(params["request"]["url"])
            case "Runtime.exceptionThrown":
                self.exceptions.append(params["exceptionDetails"]["text"])
        return message


@contextmanager
def browser(folder: Path) -> Iterator[Tab]:
    """Run a browser for a block, with its profile in a folder."""
    assert PROGRAM is not None
    reads, commands = os.pipe()
    replies, writes = os.pipe()
    words = [PROGRAM, *_OPTIONS, f"--user-data-dir={folder}"]
    # Chromium reads from descriptor 3 and writes to 4.
    script = f'exec 3<&{reads} 4>&{writes}; exec "$@"'
    process = subprocess.Popen(
        ["bash", "-c", script, "bash", *words],  # noqa: S607 - any bash will do
        pass_fds=(reads, writes),
        stderr=subprocess.DEVNULL,
        env={**os.environ, "HOME": str(folder)},
    )
    os.close(reads)
    os.close(writes)
    try:
        with os.fdopen(commands, "wb") as sent, os.fdopen(replies, "rb") as received:
            yield Tab(sent, received)
    finally:
        process.terminate()
        process.wait(timeout=30)
