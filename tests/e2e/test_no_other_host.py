"""No command contacts any host but the documented ones, and none starts a program."""

import http.client
import json
import os
import pkgutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest

import omniedit
from omniedit.sandbox.clips import BUNDLED_CLIP
from tests.commandline import COMMAND, SANDBOX_KEY, CommandLine
from tests.contract.commands import every_command
from tests.e2e.equipment import PROMPT, Bench, ForkServer
from tests.e2e.faulty import Endpoint, Exchange, pass_through
from tests.e2e.test_contract_equipment import KEY, Reply, Scripted, scripted
from tests.e2e.watched import Seen, Watch

pytestmark = pytest.mark.e2e
needs_forks = pytest.mark.skipif(sys.platform == "win32", reason="the fork server needs POSIX")

CLIP_URL: Final = "https://clips.example/clip.mp4"
INSTANT: Final = "[sandbox:seconds=0]"
API: Final = "api.evolink.ai:443"
FILES: Final = "files-api.evolink.ai:443"
CLIP_HOST: Final = "clips.example:443"

ROWS: Final[Sequence[tuple[str, str]]] = (
    # A command line and the hosts that it needs: the API, the files' host, the clip's host.
    ("", ""),
    ("--help", ""),
    ("--version", ""),
    ("--quiet --version", ""),
    ("--install-completion", ""),
    ("__complete tasks t", ""),
    ("no-such-command", ""),
    ("edit --help", ""),
    ("edit VIDEO", ""),
    ("edit VIDEO PROMPT -o out.mp4", "api files"),
    ("edit clip.mp4 PROMPT -o out.mp4 --events", "api files"),
    ("submit VIDEO PROMPT", "api"),
    ("submit VIDEO PROMPT --callback-url https://hooks.example/x", "api"),
    ("submit VIDEO PROMPT --dry-run", ""),
    ("submit REACHABLE PROMPT --check", "api clips"),
    ("submit REACHABLE PROMPT", "api"),
    ("submit clip.mp4 PROMPT", "api files"),
    ("submit missing.mp4 PROMPT", ""),
    ("status TASK --json", "api"),
    ("status no-such-task", "api"),
    ("wait TASK", "api"),
    ("wait TASK -d out.mp4", "api files"),
    ("download TASK -o out.mp4", "api files"),
    ("download --all -o out/", ""),  # there is nothing to download
    ("batch edits.jsonl --dir out", "api files"),
    ("list", ""),
    ("list --remote --adopt", "api"),
    ("probe clip.mp4", ""),
    ("probe REACHABLE", "clips"),
    ("credits", "api"),
    ("compare clip.mp4 clip.mp4 -o page.html", ""),
    ("usage", ""),
    ("config show", ""),
    ("config path", ""),
    ("config set-key", ""),
    ("config unset-key", ""),
    ("doctor", "api files"),
    ("journal merge out", ""),
    ("journal recover", ""),
    ("sandbox reset", ""),
    ("help", ""),
    ("help environment", ""),
    ("help sandbox", ""),
)
IN_THE_SANDBOX: Final = [row for row in ROWS if row[1] or row[0] in {"list", "config show"}]
BEFORE_THE_PARSER: Final = {"--version", "__complete tasks t"}
"""Command lines handled before the parser is loaded, which need a new process, not a fork."""
REPRESENTATIVE: Final = ("edit clip.mp4", "wait TASK -d", "list", "doctor")
"""The sandbox commands of a plain run; the others are watched in `.ci/run full`."""
DEFAULT_HOSTS: Final[Sequence[tuple[str, set[str]]]] = (
    ("edit VIDEO PROMPT -o out.mp4 --timeout 1s", {API}),
    ("edit VIDEO PROMPT -o out.mp4 --check", {CLIP_HOST, API}),
    ("edit clip.mp4 PROMPT -o out.mp4", {FILES}),
    ("submit VIDEO PROMPT --callback-url https://hooks.example/x", {API}),
    ("status task-unified-1", {API}),
    ("wait task-unified-1 --timeout 1s", {API}),
    ("download task-unified-1 -o out.mp4", {API}),
    ("batch edits.jsonl", {API}),
    ("list --remote", {API}),
    ("probe VIDEO", {CLIP_HOST}),
    ("credits", {API}),
    ("doctor", {API, FILES}),
    ("config show", set()),
    ("list", set()),
)
VIOLATIONS: Final[Mapping[str, str]] = {
    "resolves-a-name": "socket.getaddrinfo('telemetry.example', 443)",
    "resolves-by-gethostbyname": "socket.gethostbyname('telemetry.example')",
    "connects": "socket.socket().connect(('203.0.113.1', 443))",
    "connects-by-connect_ex": "socket.socket().connect_ex(('203.0.113.1', 443))",
    "connects-by-httpx": "httpx.get('https://telemetry.example/')",
    "connects-to-loopback": "socket.create_connection(('127.0.0.1', 9))",
    "sends-a-datagram": "socket.socket(type=socket.SOCK_DGRAM).sendto(b'', ('203.0.113.1', 53))",
    "connects-in-a-thread": "threading.Thread(target=socket.create_connection,"
    " args=[('telemetry.example', 443)]).start()",
    "connects-at-exit": "atexit.register(socket.create_connection, ('telemetry.example', 443))",
    "starts-a-program": "subprocess.run(['true'])",
    "listens": "socket.socket().bind(('127.0.0.1', 0))",
}


@dataclass(frozen=True, slots=True)
class Stage:
    """A folder with a clip and a manifest, the allowed hosts, and the watch."""

    bench: Bench
    watch: Watch
    clips: Scripted
    commands: Path

    @property
    def addresses(self) -> dict[str, str]:
        """The address of each host by its role."""
        environ = {**self.bench.faulty.environ, "clips": self.clips.url}
        names = {"api": "OMNIEDIT_BASE_URL", "files": "OMNIEDIT_FILES_URL", "clips": "clips"}
        return {what: urlsplit(environ[name]).netloc for what, name in names.items()}

    @property
    def real_key_environ(self) -> dict[str, str]:
        """The settings with a real key, as if the API were on this machine."""
        return {**self.bench.faulty.environ, "EVOLINK_API_KEY": KEY}

    def run(self, line: str, *before: str, **environ: str) -> tuple[int, Seen]:
        """Run a command; return its exit status and its activity."""
        prompt = f"{PROMPT} {INSTANT}" if "--sandbox" in before else PROMPT
        words = {"VIDEO": CLIP_URL, "REACHABLE": f"{self.clips.url}/clip.mp4", "PROMPT": prompt}
        _write_inputs(self.bench.folder, prompt)
        if "TASK" in line:
            # Another row watches the submission itself.
            submit = CommandLine(self.bench.folder, environ)
            words["TASK"] = submit(*before, "submit", CLIP_URL, prompt).stdout.strip()
        argv = [words.get(word, word) for word in line.split()]
        command = COMMAND if line in BEFORE_THE_PARSER else self.commands / "omniedit"
        ended, seen = self.watch.run(
            [command, *before, *argv],
            folder=self.bench.folder,
            stdin=KEY,
            **{"SHELL": "bash"} | environ,
        )
        return ended.status, seen


def _pass_with_sandbox_key(exchange: Exchange) -> None:
    """Forward a request with a key that the sandbox accepts."""
    exchange._lines = [line.replace(KEY, SANDBOX_KEY) for line in exchange._lines]
    pass_through(exchange)


@pytest.fixture
def watch(tmp_path: Path) -> Watch:
    return Watch(tmp_path / "watch")


@pytest.fixture
def clips() -> Iterator[Scripted]:
    with scripted(lambda _: Reply(body=BUNDLED_CLIP.read_bytes())) as clips:
        yield clips


@pytest.fixture
def stage(bench: Bench, watch: Watch, clips: Scripted, commands: Path) -> Stage:
    for endpoint in Endpoint:
        bench.faulty.always(endpoint, _pass_with_sandbox_key)
    return Stage(bench, watch, clips, commands)


def _write_inputs(folder: Path, prompt: str = PROMPT) -> None:
    (folder / "clip.mp4").write_bytes(BUNDLED_CLIP.read_bytes())
    edit = {"video": CLIP_URL, "prompt": prompt, "callback_url": "https://hooks.example/x"}
    (folder / "edits.jsonl").write_text(json.dumps(edit))


def test_every_command_is_watched() -> None:
    lines = [line for line, _ in ROWS]

    watched = {name for name in every_command() for line in lines if f"{line} ".startswith(name)}
    assert watched == set(every_command()) - {"sandbox serve"}  # it has its own test


@pytest.mark.parametrize(("line", "needed"), ROWS, ids=[line or "no-arguments" for line, _ in ROWS])
def test_a_command_with_a_key_contacts_only_the_hosts_it_needs(
    stage: Stage, line: str, needed: str
) -> None:
    _, seen = stage.run(line, **stage.real_key_environ)

    assert seen == Seen(frozenset(stage.addresses[what] for what in needed.split()))


@pytest.mark.parametrize(
    ("line", "needed"),
    [
        pytest.param(
            *row,
            id=row[0],
            marks=[] if row[0].startswith(REPRESENTATIVE) else [pytest.mark.full],
        )
        for row in IN_THE_SANDBOX
    ],
)
def test_a_sandbox_command_contacts_only_the_clips_host(
    stage: Stage, line: str, needed: str
) -> None:
    _, seen = stage.run(line, "--sandbox")

    clips = {stage.addresses["clips"]} & {stage.addresses[what] for what in needed.split()}
    assert seen == Seen(frozenset(clips), listened="api" in needed)


@pytest.mark.parametrize(("line", "needed"), DEFAULT_HOSTS, ids=[line for line, _ in DEFAULT_HOSTS])
@needs_forks
def test_by_default_only_documented_hosts_are_contacted(
    watch: Watch, folder: Path, fork_server: ForkServer, line: str, needed: set[str]
) -> None:
    _write_inputs(folder)
    words = {"VIDEO": CLIP_URL, "PROMPT": PROMPT}
    argv = [words.get(word, word) for word in line.split()]

    _, seen = watch.run(
        [fork_server.commands / "omniedit", *argv],
        folder=folder,
        EVOLINK_API_KEY=KEY,
        HURRIED_SHORT_RETRIES="1",
    )

    assert seen == Seen(frozenset(needed))


@needs_forks
@pytest.mark.parametrize("line", ["doctor", "credits", "edit VIDEO PROMPT --timeout 1s"])
def test_behind_a_proxy_only_the_proxy_is_contacted(
    watch: Watch, folder: Path, fork_server: ForkServer, line: str
) -> None:
    argv = [{"VIDEO": CLIP_URL, "PROMPT": PROMPT}.get(word, word) for word in line.split()]

    with scripted(lambda _: Reply(status=403)) as proxy:
        _, seen = watch.run(
            [fork_server.commands / "omniedit", *argv],
            folder=folder,
            EVOLINK_API_KEY=KEY,
            HTTPS_PROXY=proxy.url,
            HURRIED_SHORT_RETRIES="1",
        )

    assert seen == Seen(frozenset({urlsplit(proxy.url).netloc}))


@pytest.mark.parametrize(
    ("options", "is_called"),
    [
        pytest.param((), False, id="no-callbacks-by-default"),
        pytest.param(("--allow-local-callbacks",), True, id="loopback-callbacks-if-allowed"),
    ],
)
def test_a_served_sandbox_contacts_only_allowed_callbacks(
    watch: Watch, folder: Path, options: Sequence[str], *, is_called: bool
) -> None:
    with (
        scripted(lambda _: Reply()) as receiver,
        _served_sandbox(watch, folder, "--time-scale", "0.01", *options) as (url, log),
    ):
        for callback in ("https://hooks.example/x", f"{receiver.url}/x"):
            _edit(url, callback_url=callback)
        if is_called:
            assert receiver.arrived.acquire(timeout=20)
            assert any("not delivered: its host is not this machine" in line for line in log)

    expected = {urlsplit(receiver.url).netloc} if is_called else set[str]()
    assert watch.seen() == Seen(frozenset(expected), listened=True)


def test_importing_omniedit_contacts_no_host(watch: Watch, folder: Path) -> None:
    names = [module.name for module in pkgutil.walk_packages(omniedit.__path__, "omniedit.")]

    ended, seen = watch.run([sys.executable, "-c", f"import {', '.join(names)}"], folder=folder)

    assert (ended.status, ended.stderr) == (0, "")
    assert seen == Seen()


@pytest.mark.parametrize("code", VIOLATIONS.values(), ids=VIOLATIONS)
def test_the_watch_detects_unwanted_activity(watch: Watch, folder: Path, code: str) -> None:
    names = ", ".join({"socket", code.partition(".")[0]})
    parasite = f"import {names}, sys; from omniedit.__main__ import main; {code}; sys.exit(main())"

    _, seen = watch.run([sys.executable, "-c", parasite, "config", "path"], folder=folder)

    assert seen != Seen()


def test_the_watch_detects_activity_of_child_processes(watch: Watch, folder: Path) -> None:
    code = "import socket; socket.create_connection(('telemetry.example', 443))"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {code!r}])"

    _, seen = watch.run([sys.executable, "-c", parent], folder=folder)

    assert seen.addressed == {"telemetry.example:443"}


@contextmanager
def _served_sandbox(
    watch: Watch, folder: Path, *options: str
) -> Iterator[tuple[str, Iterable[str]]]:
    """Serve a sandbox under watch until the block ends; yield its URL and its log."""
    with subprocess.Popen(
        [COMMAND, "sandbox", "serve", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=folder,
        env={**os.environ, **watch.environ},
        text=True,
    ) as server:
        assert server.stdout
        assert server.stderr
        try:
            yield server.stdout.readline().strip(), server.stderr
        finally:
            server.terminate()


def _edit(url: str, **fields: str) -> None:
    """Submit an edit to a sandbox and wait for its end."""
    body = {"model": "gemini-omni-flash-video-edit", "prompt": PROMPT, "video_urls": [CLIP_URL]}
    task = _request(url, "POST", "/v1/videos/generations", json.dumps(body | fields))
    while task["status"] != "completed":
        task = _request(url, "GET", f"/v1/tasks/{task['id']}")


def _request(url: str, method: str, path: str, body: str | None = None) -> Any:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=20)
    headers = {"Authorization": f"Bearer {SANDBOX_KEY}", "Content-Type": "application/json"}
    connection.request(method, path, body, headers)
    reply = connection.getresponse()
    assert reply.status == HTTPStatus.OK
    answer = json.loads(reply.read())
    connection.close()
    return answer
