"""Whatever a host replies, a command ends in time with a documented status and sanitized output.

Each site is one request of one command. It meets every reply in turn, while all other requests get
proper replies. A plain run tests every reply at the sites for money, waiting and saving, and a few
replies at all others; the rest carries the `full` marker.
"""

import json
import re
import time
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import pytest

from omniedit.policy import Policy
from omniedit.sandbox.clips import BUNDLED_CLIP
from tests.commandline import CommandLine, Ended
from tests.policies import HURRIED
from tests.unit.http.hostile import (
    BROKEN,
    ENDLESS,
    HEAPS,
    ODD,
    Answer,
    HostileServer,
    broken_videos,
    whole,
)

pytestmark = pytest.mark.e2e

KEY: Final = "sk-evo-0123456789abcdefghij"
TASKS: Final = ("task-unified-1757169743-7cvnl5zw", "task-unified-1757169744-8dwom6ax")
VIDEO: Final = BUNDLED_CLIP.read_bytes()
UNSAFE_TEXT: Final = (
    "\x1b]52;c;ZXZpbA==\x07\x1b]8;;https://evil.example\x1b\\x\x1b]8;;\x1b\\\x1b[2J\x9b31m\x85"
    "\r\n::error::evil\n\u202eevil\u2066\u200b\u2028\x7f"
)
LONG_S: Final = 30.0
"""Far longer than any of these commands may take, even on a busy machine."""


class Endpoint(StrEnum):
    """The kinds of requests."""

    SUBMIT = "POST /v1/videos/generations"
    BATCH = "POST /v1/tasks/batch"
    LIST = "GET /v1/tasks?"
    POLL = "GET /v1/tasks/"
    CREDITS = "GET /v1/credits"
    UPLOAD = "POST /api/v1/files/upload/stream"
    QUOTA = "GET /api/v1/files/quota"
    RESULT = "GET /results/"
    CLIP = "GET /clip.mp4"


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """One request of a command line."""

    argv: str
    endpoint: Endpoint
    """The endpoint under attack."""
    status_without_reply: int
    """The exit status without a reply, or without a readable one."""
    policy: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Shorter timeouts for that request."""

    def words(self, url: str) -> list[str]:
        """Return the command line with its placeholders replaced."""
        named = {"URL": f"{url}/clip.mp4", "FIRST": TASKS[0], "SECOND": TASKS[1]}
        return [named.get(word, word) for word in self.argv.split()]


_SUBMIT: Final[Mapping[str, Any]] = {"submit_timeout_s": 0.1, "submit_budget_s": 0.3}
_READ: Final[Mapping[str, Any]] = {
    "read_timeout_s": 0.2,
    "read_budget_s": 0.05,
    "shortest_poll_s": 0.2,
}
_RESULT: Final[Mapping[str, Any]] = {
    "read_timeout_s": 0.4,
    "read_budget_s": 5.0,  # enough to read the task even on a busy machine
    "stall_s": 0.15,
    "attempts_without_progress": 2,
    "max_result_bytes": 1024**2,
}
_FIRST_READ: Final[Mapping[str, Any]] = {"read_timeout_s": 1.0, "read_budget_s": 0.5}

SITES: Final[Mapping[str, Site]] = {
    "submit": Site(
        argv="submit URL x", endpoint=Endpoint.SUBMIT, status_without_reply=9, policy=_SUBMIT
    ),
    "status": Site(
        argv="status FIRST", endpoint=Endpoint.POLL, status_without_reply=8, policy=_READ
    ),
    "download-result": Site(
        argv="download FIRST -o out.mp4",
        endpoint=Endpoint.RESULT,
        status_without_reply=8,
        policy=_RESULT,
    ),
    "edit-submit": Site(
        argv="edit URL x -o out.mp4",
        endpoint=Endpoint.SUBMIT,
        status_without_reply=9,
        policy=_SUBMIT,
    ),
    "edit-poll": Site(
        argv="edit URL x -o out.mp4 --timeout 0",
        endpoint=Endpoint.POLL,
        status_without_reply=6,
        policy=_READ,
    ),
    "edit-result": Site(
        argv="edit URL x -o out.mp4",
        endpoint=Endpoint.RESULT,
        status_without_reply=8,
        policy=_RESULT,
    ),
    "upload": Site(
        argv="submit clip.mp4 x",
        endpoint=Endpoint.UPLOAD,
        status_without_reply=8,
        policy={"upload_timeout_s": 0.1, "read_budget_s": 0.05, "submit_budget_s": 0.05},
    ),
    "status-of-two": Site(
        argv="status FIRST SECOND",
        endpoint=Endpoint.BATCH,
        status_without_reply=0,
        policy=_FIRST_READ,
    ),
    "wait-poll": Site(
        argv="wait FIRST --timeout 0", endpoint=Endpoint.POLL, status_without_reply=6, policy=_READ
    ),
    "wait-result": Site(
        argv="wait FIRST -d out.mp4",
        endpoint=Endpoint.RESULT,
        status_without_reply=8,
        policy=_RESULT,
    ),
    "download-poll": Site(
        argv="download FIRST -o out.mp4",
        endpoint=Endpoint.POLL,
        status_without_reply=8,
        policy=_READ,
    ),
    "batch-submit": Site(
        argv="batch edits.csv --dir out",
        endpoint=Endpoint.SUBMIT,
        status_without_reply=9,
        policy={**_SUBMIT, "submit_timeout_s": 0.2},
    ),
    "batch-result": Site(
        argv="batch edits.csv --dir out",
        endpoint=Endpoint.RESULT,
        status_without_reply=8,
        policy=_RESULT,
    ),
    "wait-for-two": Site(
        argv="wait FIRST SECOND --timeout 0",
        endpoint=Endpoint.BATCH,
        status_without_reply=6,
        policy=_READ,
    ),
    "list-remote": Site(
        argv="list --remote --adopt", endpoint=Endpoint.LIST, status_without_reply=8, policy=_READ
    ),
    "credits": Site(
        argv="credits", endpoint=Endpoint.CREDITS, status_without_reply=8, policy=_READ
    ),
    "doctor-credits": Site(
        argv="doctor", endpoint=Endpoint.CREDITS, status_without_reply=8, policy=_FIRST_READ
    ),
    "doctor-files": Site(
        argv="doctor", endpoint=Endpoint.QUOTA, status_without_reply=8, policy=_FIRST_READ
    ),
    "probe": Site(
        argv="probe URL",
        endpoint=Endpoint.CLIP,
        status_without_reply=8,
        policy={"clip_timeout_s": 0.2},
    ),
    "check": Site(
        argv="submit URL x --check",
        endpoint=Endpoint.CLIP,
        status_without_reply=0,
        policy={"clip_timeout_s": 0.2},
    ),
}
FULLY_TESTED_SITES: Final = ("submit", "status", "download-result")
"""The sites at which a plain run tests every reply."""
SAMPLE_REPLIES: Final = ("one-header-line-after-another", "hang-up-in-the-body", "nested", "html")
"""The replies that a plain run tests at every site."""
REPLIES: Final[Mapping[str, Answer]] = {**ENDLESS, **BROKEN, **ODD, **HEAPS}
VIDEOS: Final[Mapping[str, Answer]] = broken_videos(VIDEO)

REPLIES_WITH_A_TASK: Final = frozenset(
    {"nested", "not-a-number", "a-number-of-5000-digits", "half-a-character"}
)
"""Replies that contain a task."""
REPLIES_WITHOUT_VIDEO: Final = frozenset(
    {
        "video-without-end",
        "video-encoded",
        "redirects-for-ever",
        "redirects-to-a-file",
        "redirects-nowhere",
        "no-content",
    }
)
"""Replies without a video; reading the task again for fresh links does not help."""
REPLIES_WITH_AN_OBJECT: Final = REPLIES_WITH_A_TASK | {"absurd-dates"}
COMPLETE_REPLIES: Final = {*ODD, *HEAPS, "unknown-encoding"} - {"announced-exabyte"}
"""Replies that are complete, whatever they contain."""
NON_VIDEO_REPLIES: Final = (
    frozenset({*ODD, *HEAPS, "unknown-encoding", "body-drips", "body-without-a-length-drips"})
    | {"tiny-chunks-drip", "chunk-extension-floods"}
) - {"announced-exabyte"}
"""Replies whose body begins with something that is not a video."""


def rows() -> list[Any]:
    """Return all combinations of sites and replies."""
    found: list[Any] = []
    for name, site in SITES.items():
        replies = {**REPLIES, **(VIDEOS if site.endpoint is Endpoint.RESULT else {})}
        for reply in replies:
            is_plain = name in FULLY_TESTED_SITES or reply in SAMPLE_REPLIES
            marks = () if is_plain else (pytest.mark.full,)
            found.append(pytest.param(name, reply, id=f"{name}-{reply}", marks=marks))
    return found


def expected(site: Site, reply: str) -> int:
    """Return the expected exit status of a site with a reply."""
    match site.endpoint:
        case Endpoint.SUBMIT if reply in REPLIES_WITH_A_TASK:
            return 0
        case Endpoint.QUOTA if reply in REPLIES_WITH_AN_OBJECT:
            return 0
        case Endpoint.BATCH if reply in COMPLETE_REPLIES:
            return 0
        case Endpoint.RESULT if reply in NON_VIDEO_REPLIES | REPLIES_WITHOUT_VIDEO:
            return 7
        case Endpoint.CLIP if reply == "html":
            return 2
        case _:
            return site.status_without_reply


class Service:
    """API, file service and results in one; only one endpoint misbehaves."""

    def __init__(self) -> None:
        self.attacks: dict[Endpoint, Answer] = {}
        self.received: list[tuple[Endpoint | None, bytes]] = []
        self.keys: list[str] = []
        self.url = ""

    def __call__(self, head: bytes) -> Any:
        endpoint = next((e for e in Endpoint if head.startswith(e.encode())), None)
        self.received.append((endpoint, head))
        if endpoint is Endpoint.SUBMIT:
            (key,) = re.findall(rb"(?i)idempotency-key: (\S+)", head)
            self.keys.append(key.decode())
        if endpoint in self.attacks:
            return self.attacks[endpoint](head)
        if endpoint is None:
            return [b"HTTP/1.1 404 -\r\nContent-Length: 0\r\n\r\n"]
        if endpoint in {Endpoint.RESULT, Endpoint.CLIP}:
            return whole(VIDEO, headers=b'ETag: "v1"\r\nContent-Type: video/mp4\r\n')(head)
        return whole(json.dumps(self.value(endpoint, head)).encode())(head)

    def value(self, endpoint: Endpoint, head: bytes) -> Any:
        """Return the proper JSON reply of an endpoint."""
        match endpoint:
            case Endpoint.SUBMIT:
                number = len(set(self.keys)) - 1
                return self.task(TASKS[number % 2], "processing")
            case Endpoint.POLL:
                return self.task(head.split()[1].decode().rpartition("/")[2])
            case Endpoint.BATCH | Endpoint.LIST:
                return {"data": [self.task(task_id) for task_id in TASKS], "total": 2}
            case Endpoint.CREDITS:
                stored = {"remaining_credits": 7.5, "used_credits": 1.0}
                return {"success": True, "message": "", "data": {"token": stored, "user": stored}}
            case Endpoint.UPLOAD:
                return {
                    "success": True,
                    "code": 200,
                    "msg": "stored",
                    "data": {
                        "file_id": "f-1",
                        "file_url": f"{self.url}/clip.mp4",
                        "mime_type": "video/mp4",
                        "expires_at": "2099-01-01T00:00:00Z",
                    },
                }
            case _:
                return {"success": True, "msg": "", "data": {"total_files": 1}}

    def task(self, task_id: str, status: str = "completed") -> dict[str, Any]:
        """Return a task."""
        return {
            "id": task_id,
            "object": "video.generation.task",
            "type": "video",
            "model": "gemini-omni-flash-video-edit",
            "status": status,
            "progress": 100 if status == "completed" else 10,
            "created": int(time.time()),
            "task_info": {"can_cancel": False, "estimated_time": 1},
            "usage": {"credits_reserved": 31.8},
            "results": [f"{self.url}/results/{task_id}.mp4"] if status == "completed" else [],
        }


@dataclass(frozen=True, slots=True)
class Stage:
    """A command line and the hostile service that it uses."""

    service: Service
    command: CommandLine
    home: Path

    def run(self, site: Site, *options: str, policy: Policy, **environ: str) -> Ended:
        """Run a site's command line."""
        command = replace(self.command, policy=policy)
        return command(*site.words(self.service.url), *options, timeout_s=LONG_S, **environ)

    def check_was_attacked(self, endpoint: Endpoint) -> None:
        """Check that the request arrived; on a busy machine that may be after the client's end."""
        deadline = time.monotonic() + LONG_S
        while not any(received is endpoint for received, _ in self.service.received):
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def check_nothing_is_lost(self) -> None:
        """Check that the journal has every submission, with its task or a recovery command."""
        listed = self.command("list", "--json", "--limit", "1000").document["tasks"]
        by_key = {task["request_id"]: task for task in listed}
        for key in {*self.service.keys}:
            assert key in by_key, (key, listed)

    def check_key_is_not_leaked(self, *ended: Ended) -> None:
        """Check that neither streams nor files contain the key."""
        for each in ended:
            assert KEY not in each.stdout + each.stderr, each
        for path in (*self.home.rglob("*"), *self.command.folder.rglob("*")):
            if path.is_file():
                assert KEY.encode() not in path.read_bytes(), path


@pytest.fixture
def stage(folder: Path, home: Path) -> Iterator[Stage]:
    (folder / "clip.mp4").write_bytes(VIDEO)
    (folder / "edits.csv").write_text("video,prompt\nclip.mp4,x\nclip.mp4,y\n")
    service = Service()
    with HostileServer(service) as server:
        service.url = server.url
        environ = {
            "OMNIEDIT_BASE_URL": server.url,
            "OMNIEDIT_FILES_URL": server.url,
            "EVOLINK_API_KEY": KEY,
        }
        yield Stage(service, CommandLine(folder, environ), home)


def check_sanitized(ended: Ended, *, is_in_ci: bool = False) -> None:
    """Check that no output can control a terminal or is a workflow command of a CI service."""
    written = ended.stdout + ended.stderr
    unsafe = {
        character
        for character in written
        if character != "\n" and unicodedata.category(character) in {"Cc", "Cf", "Zl", "Zp", "Cs"}
    }
    assert not unsafe, (unsafe, ended)
    commands = [line for line in written.splitlines() if line.lstrip().startswith("::")]
    assert all(is_in_ci and line.startswith("::error::") for line in commands), ended
    assert not any(line.startswith("::error::evil") for line in commands), ended
    assert "##[" not in written


@pytest.mark.parametrize(("site", "reply"), rows())
def test_a_command_under_attack_exits_with_the_expected_status(
    stage: Stage, site: str, reply: str
) -> None:
    attacked = SITES[site]
    stage.service.attacks[attacked.endpoint] = {**REPLIES, **VIDEOS}[reply]

    impatient = HURRIED._replace(**attacked.policy)
    # Complete replies arrive at once; the longer timeouts are for busy machines.
    policy = FAST_REPLY_POLICY if reply in COMPLETE_REPLIES else impatient

    ended = stage.run(attacked, "--json", policy=policy)

    assert ended.status == expected(attacked, reply), ended
    assert ended.document["ok"] is (ended.status == 0)
    assert "Traceback" not in ended.stderr
    check_sanitized(ended)
    stage.check_key_is_not_leaked(ended)
    stage.check_was_attacked(attacked.endpoint)
    stage.check_nothing_is_lost()


TAINTED_SITES: Final = ("submit", "status", "edit-poll", "upload", "list-remote", "doctor-credits")
"""The sites at which a plain run tests tainted replies."""
FAST_REPLY_POLICY: Final = HURRIED._replace(
    read_budget_s=0.05,
    submit_budget_s=0.3,
    shortest_poll_s=2.0,
    attempts_without_progress=2,
    max_result_bytes=1024**2,
)
"""The policy for replies that arrive at once."""
ABSURD: Final = "Fri, 31 Dec 9999 23:59:59 -9999"
TAINTS: Final = ("as-it-is", "failed", "status")
MODES: Final = ("-v", "--json", "--progress plain", "--events", "in-ci")


def tainted(value: Any, *, kept: Sequence[str], name: str = "") -> Any:
    """Return a JSON value whose texts all contain control sequences and the key."""
    match value:
        case dict():
            return {key: tainted(child, kept=kept, name=key) for key, child in value.items()}
        case list():
            return [tainted(child, kept=kept, name=name) for child in value]
        case str() if name in kept:
            return value
        case str():
            return f"{value}{UNSAFE_TEXT}{KEY}"
        case _:
            return value


def expected_refusal(site: Site) -> int:
    """Return the expected exit status of a site whose key is refused."""
    return 0 if site.endpoint is Endpoint.BATCH else 3


def reports_events(site: Site) -> bool:
    return site.argv.partition(" ")[0] in {"wait", "edit", "batch"}


def tainted_rows() -> list[Any]:
    """Return all combinations of sites with JSON replies, taints and output modes."""
    found: list[Any] = []
    for name, site in SITES.items():
        if site.endpoint in {Endpoint.RESULT, Endpoint.CLIP}:
            continue
        for taint in (*TAINTS, "401", "400", "500"):
            for mode in MODES:
                if mode == "--events" and not reports_events(site):
                    continue
                is_plain = mode in {"-v", "--json"} and taint in {"failed", "401", "as-it-is"}
                marks = () if is_plain and name in TAINTED_SITES else (pytest.mark.full,)
                id_ = f"{name}-{taint}-{mode.strip('-').replace(' ', '-')}"
                found.append(pytest.param(name, taint, mode, id=id_, marks=marks))
    return found


def tainting(service: Service, endpoint: Endpoint, taint: str) -> Answer:
    """Return an answer for an endpoint with texts that must not be shown unchanged."""
    headers = f"X-Request-Id: {KEY}\r\nIdempotency-Replayed: {KEY}\r\nRetry-After: {ABSURD}\r\n"

    def answer(head: bytes) -> Any:
        error = dict.fromkeys(("code", "message", "type", "param", "suggestion"), "x")
        error["action_url"] = "https://evil.example/"
        status = b"200 OK"
        if taint in {"401", "400", "500"}:
            value = {"error": error, "message": "x", "msg": "x"}
            kept = []
            status = taint.encode() + b" " + KEY.encode()
        else:
            value = service.value(endpoint, head)
            kept = ["id"] if taint == "status" else ["id", "status"]
            for task in [value, *_entries(value)]:
                if taint == "failed" and "status" in task:
                    task |= {"status": "failed", "error": error}
                task["result_data"] = [{"video_url": f"{service.url}/results/x.mp4?"}]
        body = json.dumps(tainted(value, kept=kept)).encode()
        return whole(body, headers=headers.encode(), status=status)(head)

    return answer


def _entries(value: dict[str, Any]) -> list[dict[str, Any]]:
    entries = value.get("data")
    return entries if isinstance(entries, list) else []


@pytest.mark.parametrize(("site", "taint", "mode"), tainted_rows())
def test_reply_text_never_controls_the_terminal_or_shows_the_key(
    stage: Stage, site: str, taint: str, mode: str
) -> None:
    attacked = SITES[site]
    stage.service.attacks[attacked.endpoint] = tainting(stage.service, attacked.endpoint, taint)
    is_in_ci = mode == "in-ci"

    ended = stage.run(
        attacked,
        *(() if is_in_ci else mode.split()),
        policy=FAST_REPLY_POLICY,
        **({"GITHUB_ACTIONS": "true"} if is_in_ci else {}),
    )

    assert ended.status != 1, ended
    assert taint != "401" or ended.status == expected_refusal(attacked), ended
    check_sanitized(ended, is_in_ci=is_in_ci)
    stage.check_key_is_not_leaked(ended)
    stage.check_was_attacked(attacked.endpoint)
    stage.check_nothing_is_lost()


@pytest.mark.parametrize(
    ("task_id", "status"),
    [
        pytest.param("../../v1/credits", 9, id="path"),
        pytest.param("..", 9, id="dots"),
        pytest.param("a b", 9, id="space"),
        pytest.param("", 9, id="empty"),
        pytest.param("x" * 129, 9, id="too-long"),
        pytest.param(7, 9, id="number"),
        pytest.param(["t-1"], 9, id="list"),
        pytest.param(UNSAFE_TEXT, 9, id="escapes"),
        pytest.param(KEY, 9, id="key"),
        pytest.param("Task.1_2-3", 0, id="valid"),
    ],
)
def test_an_invalid_task_id_leaves_the_outcome_unknown(
    stage: Stage, task_id: object, status: int
) -> None:
    body = json.dumps({"id": task_id, "status": "processing"}).encode()
    stage.service.attacks[Endpoint.SUBMIT] = whole(body)

    ended = stage.run(SITES["submit"], policy=FAST_REPLY_POLICY)

    assert ended.status == status, ended
    assert ended.stdout == (f"{task_id}\n" if status == 0 else "")
    check_sanitized(ended)
    stage.check_key_is_not_leaked(ended)
    stage.check_nothing_is_lost()


@pytest.mark.parametrize("status", ["refused", "unknown", "sending", "REFUSED ", "completed?", 7])
@pytest.mark.parametrize("command", ["edit", "batch"])
def test_no_reported_status_makes_an_edit_pay_twice(
    stage: Stage, command: str, status: object
) -> None:
    def answer(head: bytes) -> Any:
        task_id = TASKS[(len({*stage.service.keys}) - 1) % 2]
        if head.startswith(b"GET"):
            task_id = head.split()[1].decode().rpartition("/")[2]
        return whole(json.dumps({"id": task_id, "status": status}).encode())(head)

    url = f"{stage.service.url}/clip.mp4"
    (stage.command.folder / "urls.csv").write_text(f"video,prompt\n{url},x\n{url},y\n")
    missing = whole(b"", status=b"404 -")
    stage.service.attacks |= {
        Endpoint.SUBMIT: answer,
        Endpoint.POLL: answer,
        Endpoint.BATCH: missing,
    }
    argv = "edit URL x -o out.mp4" if command == "edit" else "batch urls.csv --dir out"
    site = replace(SITES["edit-poll"], argv=f"{argv} --timeout 0")

    ended = [stage.run(site, policy=FAST_REPLY_POLICY) for _ in range(3)]

    assert [each.status for each in ended] == [6, 6, 6], ended
    assert len(stage.service.keys) == (1 if command == "edit" else 2)
    stage.check_nothing_is_lost()


@pytest.mark.parametrize("reply", ["silence", "body-drips", "one-header-line-after-another"])
@pytest.mark.parametrize("site", ["wait-poll", "edit-poll", "wait-result", "edit-result"])
def test_a_commands_timeout_bounds_every_request(stage: Stage, site: str, reply: str) -> None:
    attacked = SITES[site]
    stage.service.attacks[attacked.endpoint] = (
        VIDEOS["video-drips"] if reply == "body-drips" else REPLIES[reply]
    )
    argv = f"{attacked.argv.removesuffix(' --timeout 0')} --timeout 1s"

    started = time.monotonic()
    # Requests have their real timeouts of half a minute and more.
    ended = stage.run(replace(attacked, argv=argv), policy=HURRIED._replace(grace_s=1.0))

    assert time.monotonic() - started < 15, ended
    assert ended.status in {6, 8}, ended
    stage.check_nothing_is_lost()


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 410, 422, 501])
@pytest.mark.parametrize("argv", ["status FIRST SECOND", "wait FIRST SECOND -d out/"])
def test_a_refused_batch_read_falls_back_to_single_reads(
    stage: Stage, argv: str, status: int
) -> None:
    stage.service.attacks[Endpoint.BATCH] = whole(b"", status=b"%d -" % status)

    ended = stage.run(replace(SITES["status-of-two"], argv=argv), policy=FAST_REPLY_POLICY)

    assert ended.status == 0, ended


@pytest.mark.parametrize(
    "bound", [{"max_list_pages": 3}, {"list_budget_s": 0.1}], ids=["number", "time"]
)
@pytest.mark.parametrize("argv", ["list --remote --limit 0", "list --remote --adopt"])
def test_an_endless_task_list_is_not_read_forever(
    stage: Stage, argv: str, bound: Mapping[str, Any]
) -> None:
    pages = 0

    def answer(head: bytes) -> Any:
        nonlocal pages
        if b"model=gemini-omni-flash-video-edit&" not in head.replace(b" ", b"&"):
            return whole(b'{"data": [], "total": 0}')(head)
        pages += 1
        tasks = [stage.service.task(f"task-{pages}-{number}") for number in range(50)]
        return whole(json.dumps({"data": tasks, "total": 10**9}).encode())(head)

    stage.service.attacks[Endpoint.LIST] = answer

    ended = stage.run(
        replace(SITES["list-remote"], argv=argv), policy=FAST_REPLY_POLICY._replace(**bound)
    )

    assert ended.status == 8, ended
    assert f"continues after {pages * 50} tasks" in ended.stderr
    assert pages == bound.get("max_list_pages", pages)
    adopted = stage.command("list", "--json", "--limit", "1").document["total"]
    assert adopted == (pages * 50 if "--adopt" in argv else 0)
