"""Invalid input is refused before a byte is sent; a key goes only to its own origin."""

import stat
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from omniedit.sandbox.server import RunningSandbox
from tests.commandline import CommandLine
from tests.e2e.test_contract_equipment import (
    CLIP,
    KEY,
    MP4,
    NOW,
    TASK,
    Reply,
    Request,
    Scripted,
    check_document,
    check_failure,
    check_refusal,
    requests,
    scripted,
    submissions,
    task,
)
from tests.policies import short_budget

pytestmark = pytest.mark.e2e

INTERNAL_HOSTS = (
    *("localhost", "LOCALHOST", "localhost.", "clip.localhost"),
    *("127.0.0.1", "127.0.0.1.", "127.1", "127.0.1", "127.255.255.254"),
    *("2130706433", "0x7f000001", "0x7F.0.0.1", "0177.0.0.1", "017700000001", "0x7f.1"),
    *("0.0.0.0", "0", "10.0.0.1", "012.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.0.1"),  # noqa: S104 - named, not bound
    *("3232235521", "169.254.169.254", "0xa9fea9fe", "240.0.0.1", "255.255.255.255"),
    *("100.64.0.1", "198.18.0.1", "192.0.0.1"),
    *("[::1]", "[::]", "[0:0:0:0:0:0:0:1]", "[fe80::1]", "[fe80::1%25eth0]", "[fd00::1]"),
    *("[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::ffff:10.0.0.1]", "[::FFFF:a9fe:a9fe]"),
    *("127\u30020\u30020\u30021", "\uff11\uff12\uff17.0.0.1", "%31%32%37.0.0.1", "loc%61lhost"),
    *("127.0.0.1:8080", "[::1]:443"),
)
INVALID_CLIPS = (
    *("ftp://example.com/c.mp4", "file:///etc/hostname", "data:video/mp4;base64,AAAA"),
    *("javascript:alert(1)", "http:///c.mp4", "https://", "https://?c.mp4", "http://:80/c.mp4"),
    *("https://user:pw@example.com/c.mp4", "https://user@example.com/c.mp4", "http://[::1/c.mp4"),
    *("https://example.com:99999/c.mp4", "https://example.com:port/c.mp4", "https:example.com/c"),
    *("https://exa\nmple.com/c.mp4", "https://example.com/c\t.mp4", "https://exa mple.com/c.mp4"),
    *("https://example.com\\@127.0.0.1/c.mp4", "missing.mp4", "", " ", ".", "-.mp4/"),
)
BAD_CALLBACKS = (
    *("http://example.com/hook", "ftp://example.com/hook", "example.com/hook", "", "https://"),
    *("https://user:pw@example.com/hook", "https://example.com/" + "x" * 2029),
    *("https://127.0.0.1/hook", "https://localhost/hook", "https://10.1.2.3/hook"),
    *("https://[::ffff:7f00:1]/hook", "https://2130706433/hook", "https://169.254.169.254/"),
)
BAD_KEYS = (
    *("sk-evo-secret\npart", "sk-evo-secret\x00part"[:13] + "\x7f", "sk-evo-s\u0451cret-key"),
    *(
        "Bearer sk-evo-secretpart",
        "sk-evo-secret part",
        "sk-evo-secret\tpart",
        "\u201csk-evo-secret\u201d",
    ),
)


@pytest.fixture
def record(tmp_path: Path) -> Path:
    return tmp_path / "record.jsonl"


@pytest.fixture
def service(start_sandbox: Callable[..., RunningSandbox], record: Path) -> RunningSandbox:
    return start_sandbox(record=record)


@pytest.fixture
def recording_proxy() -> Iterator[Scripted]:
    """Yield the real API behind a proxy that records every connection and refuses it."""
    with scripted(lambda _: Reply(status=403)) as proxy:
        yield proxy


def proxy_environ(proxy: Scripted) -> dict[str, Any]:
    return {"HTTPS_PROXY": proxy.url, "HTTP_PROXY": proxy.url, "EVOLINK_API_KEY": KEY}


def test_the_recording_proxy_sees_requests_to_the_real_api(
    omniedit: CommandLine, recording_proxy: Scripted
) -> None:
    running = omniedit.start("status", TASK, **proxy_environ(recording_proxy))
    try:
        assert recording_proxy.arrived.acquire(timeout=20)
    finally:
        running.kill()
        running.communicate()

    assert (recording_proxy.requests[0].method, recording_proxy.requests[0].path) == (
        "CONNECT",
        "api.evolink.ai:443",
    )
    assert KEY not in str(recording_proxy.requests[0])


@pytest.mark.parametrize("host", INTERNAL_HOSTS)
def test_a_clip_on_an_internal_address_is_refused_unsent(
    omniedit: CommandLine, recording_proxy: Scripted, host: str
) -> None:
    check_refusal(
        omniedit("submit", f"http://{host}/c.mp4", "x", **proxy_environ(recording_proxy)), 2
    )
    assert not recording_proxy.requests


@pytest.mark.parametrize("clip", INVALID_CLIPS)
def test_an_invalid_clip_is_refused_unsent(served: CommandLine, record: Path, clip: str) -> None:
    check_refusal(served("submit", clip, "x"), 2)
    assert not requests(record)


@pytest.mark.parametrize("callback", BAD_CALLBACKS)
def test_a_bad_callback_is_refused_unsent(omniedit: CommandLine, callback: str) -> None:
    with scripted(lambda _: Reply(body=task())) as service:
        # The API is on loopback: only a sandbox key allows callbacks to this machine.
        ended = omniedit("submit", CLIP, "x", "--callback-url", callback, **service.environ())

    check_refusal(ended, 2)
    assert not service.requests


@pytest.mark.parametrize("argv", [["edit"], ["submit"], ["submit", "--dry-run"]], ids=" ".join)
@pytest.mark.parametrize("prompt", ["", " ", "\n\t ", "\u3000"])
def test_an_empty_prompt_is_refused_unsent(
    served: CommandLine, record: Path, argv: list[str], prompt: str
) -> None:
    check_refusal(served(*argv, CLIP, prompt), 2)
    assert not requests(record)


@pytest.mark.parametrize(
    "argv", [["edit"], ["edit", "--split"], ["submit"], ["submit", "--dry-run"]], ids=" ".join
)
@pytest.mark.parametrize("video", ["one.mp4", CLIP])
def test_a_clip_in_place_of_the_prompt_is_refused_unsent(
    served: CommandLine, record: Path, video: str, argv: list[str]
) -> None:
    for name in ("one.mp4", "my two.MOV"):
        (served.folder / name).touch()

    ended = served(*argv, video, "my two.MOV")

    check_refusal(ended, 2)
    assert f"`omniedit batch {video} 'my two.MOV' --prompt \"PROMPT\"`" in ended.stderr
    assert "`--prompt-file FILE` takes any text" in ended.stderr
    assert not requests(record)


@pytest.mark.parametrize("prompt", ["missing.mp4", "notes.txt", "@two.mp4"])
def test_only_the_very_name_of_a_clip_is_refused_as_a_prompt(
    served: CommandLine, prompt: str
) -> None:
    for name in ("two.mp4", "notes.txt"):
        (served.folder / name).touch()

    assert served("submit", CLIP, prompt).status == 0


def test_a_prompt_file_may_hold_the_name_of_a_clip(served: CommandLine) -> None:
    (served.folder / "two.mp4").touch()
    (served.folder / "prompt.txt").write_text("two.mp4\n")

    assert served("submit", CLIP, "--prompt-file", "prompt.txt").status == 0


@pytest.mark.parametrize(
    "argv",
    [
        pytest.param(["--prompt-file", "none.txt"], id="missing"),
        pytest.param(["--prompt-file", "."], id="folder"),
        pytest.param(["--prompt-file", "empty.txt"], id="empty"),
        pytest.param(["--prompt-file", "latin.txt"], id="not-utf-8"),
        pytest.param(["x", "--prompt-file", "good.txt"], id="both"),
        pytest.param([], id="neither"),
        pytest.param(["-"], id="empty-stdin"),
        pytest.param(["--prompt-file", "-"], id="prompt-file-from-empty-stdin"),
    ],
)
def test_a_prompt_that_cannot_be_read_is_refused_unsent(
    served: CommandLine, record: Path, argv: list[str]
) -> None:
    (served.folder / "empty.txt").write_text(" \n")
    (served.folder / "latin.txt").write_bytes(b"w\xe4rmer")
    (served.folder / "good.txt").write_text("warmer")

    check_refusal(served("submit", CLIP, *argv), 2)
    assert not requests(record)


@pytest.mark.parametrize(
    "argv",
    [
        pytest.param(["submit", "ftp://example.com/c.mp4", "x"], id="clip-scheme"),
        pytest.param(["submit", "https://", "x"], id="clip-without-host"),
        pytest.param(["submit", "", "x"], id="clip-empty"),
        pytest.param(["submit", "missing.mp4", "x"], id="clip-missing"),
        pytest.param(["submit", CLIP, ""], id="prompt-empty"),
        pytest.param(["submit", CLIP, "--prompt-file", "none.txt"], id="prompt-file-missing"),
        pytest.param(["submit", CLIP, "x", "--prompt-file", "p"], id="prompt-twice"),
        pytest.param(["submit", CLIP, "x", "--callback-url", "http://a.example"], id="callback"),
        pytest.param(["submit", CLIP, "x", "--request-id", "short"], id="request-id"),
        pytest.param(["wait", "..", "-d", "a.mp4"], id="task"),
    ],
)
def test_bad_input_gets_a_hint(served: CommandLine, argv: list[str]) -> None:
    check_failure(served(*argv), 2)


@pytest.mark.parametrize(
    "clip", ["http://127.0.0.1/c.mp4", "http://localhost:1/c.mp4", "http://[::1]/c.mp4"]
)
def test_a_loopback_clip_is_accepted_by_a_loopback_api(served: CommandLine, clip: str) -> None:
    assert served("submit", clip, f"x {NOW}").status == 0


def test_a_sandbox_key_allows_a_loopback_callback(served: CommandLine, record: Path) -> None:
    hook = "http://127.0.0.1:9/hook"

    assert served("submit", CLIP, f"x {NOW}", "--callback-url", hook).status == 0
    assert submissions(record)[0]["body"]["callback_url"] == hook


@pytest.mark.parametrize("argv", [["submit"], ["edit"], ["submit", "--dry-run"]], ids=" ".join)
def test_a_sandbox_marker_is_refused_unsent_outside_the_sandbox(
    omniedit: CommandLine, argv: list[str]
) -> None:
    with scripted(lambda _: Reply(body=task())) as service:
        ended = omniedit(*argv, CLIP, "x [sandbox:fail=a]", **service.environ())

    check_refusal(ended, 2)
    assert not service.requests


@pytest.mark.parametrize("name", ["my.txt", "clip.mp4", "list.mp4"])
def test_a_playlist_is_refused_unsent_whatever_its_name(
    served: CommandLine, service: RunningSandbox, record: Path, name: str
) -> None:
    (served.folder / name).write_text("ffconcat version 1.0\nfile /etc/hostname\n")

    check_refusal(served("submit", name, "x", OMNIEDIT_FILES_URL=service.url), 2)
    assert not requests(record)


@pytest.mark.parametrize("command", ["submit", "edit", "status", "wait", "download"])
def test_without_a_key_both_ways_to_set_one_are_named(omniedit: CommandLine, command: str) -> None:
    argv = [CLIP, "x"] if command in {"submit", "edit"} else [TASK]

    check_failure(omniedit(command, *argv), 3, "EVOLINK_API_KEY", "omniedit config set-key")


@pytest.mark.parametrize("name", ["EVOLINK_API_KEY", "OMNIEDIT_API_KEY"])
@pytest.mark.parametrize("value", ["", "  \n"])
def test_an_empty_variable_counts_as_unset_and_is_named(
    omniedit: CommandLine, name: str, value: str
) -> None:
    environ: dict[str, Any] = {name: value}
    ended = omniedit("status", TASK, **environ)

    check_failure(ended, 3, name)
    assert "empty" in ended.stderr


@pytest.mark.parametrize("key", BAD_KEYS, ids=range(len(BAD_KEYS)))
@pytest.mark.parametrize("option", ["-v", "--json"])
def test_a_malformed_key_is_refused_without_being_shown(
    omniedit: CommandLine, key: str, option: str
) -> None:
    with scripted(lambda _: Reply(body=task())) as service:
        ended = omniedit("submit", CLIP, "x", option, **service.environ(key))

    assert ended.status == 3, ended
    assert not service.requests
    output = ended.stdout + ended.stderr
    assert "secret" not in output, ended


@pytest.mark.parametrize("key", [*BAD_KEYS, "", "\n"], ids=range(len(BAD_KEYS) + 2))
def test_a_malformed_key_is_not_saved(omniedit: CommandLine, home: Path, key: str) -> None:
    ended = omniedit("config", "set-key", stdin=key + "\n")

    assert ended.status in {2, 3}, ended
    assert "secret" not in ended.stdout + ended.stderr
    assert not list(home.rglob("credentials"))


def test_whitespace_around_a_key_is_stripped(omniedit: CommandLine) -> None:
    with scripted(lambda _: Reply(body=task("processing"))) as service:
        ended = omniedit("status", TASK, **service.environ(f" {KEY}\n"))

    assert ended.status == 0, ended
    assert service.requests[0].headers["authorization"] == f"Bearer {KEY}"


def test_keys_are_looked_up_in_order_of_precedence(omniedit: CommandLine) -> None:
    with scripted(lambda _: Reply(body=task("processing"))) as service:
        environ = service.environ()
        saved = omniedit("config", "set-key", stdin="sk-evo-from-the-file", **environ)
        for first in ("sk-evo-of-omniedit", ""):
            omniedit("status", TASK, OMNIEDIT_API_KEY=first, **environ)
        omniedit("status", TASK, **(environ | {"EVOLINK_API_KEY": ""}))

    assert saved.status == 0, saved
    assert [
        request.headers["authorization"].removeprefix("Bearer ") for request in service.requests
    ] == [
        "sk-evo-of-omniedit",
        KEY,
        "sk-evo-from-the-file",
    ]


def test_a_saved_key_is_private_and_replaced_completely(omniedit: CommandLine, home: Path) -> None:
    for key in (KEY + "-first", KEY):
        ended = omniedit("config", "set-key", stdin=key + "\n")
        assert (ended.status, KEY in ended.stdout + ended.stderr) == (0, False), ended

    (path,) = home.rglob("credentials")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert (KEY in path.read_text(), "-first" in path.read_text()) == (True, False)
    assert [path.name for path in path.parent.iterdir()] == ["credentials"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
def test_a_key_file_others_can_read_is_refused(
    omniedit: CommandLine, home: Path, mode: int
) -> None:
    with scripted(lambda _: Reply(body=task("processing"))) as service:
        environ = service.environ("")
        omniedit("config", "set-key", stdin=KEY, **environ)
        (path,) = home.rglob("credentials")
        path.chmod(mode)
        ended = omniedit("status", TASK, **environ)

    assert ended.status in {3, 10}, ended
    assert str(path) in ended.stderr
    assert KEY not in ended.stderr
    assert not service.requests


def test_a_saved_key_goes_only_to_its_origin(omniedit: CommandLine) -> None:
    with (
        scripted(lambda _: Reply(body=task("processing"))) as home,
        scripted(lambda _: Reply(body=task("processing"))) as other,
    ):
        omniedit("config", "set-key", stdin=KEY, **home.environ(""))
        own = omniedit("status", TASK, **home.environ(""))
        foreign = omniedit("status", TASK, **other.environ(""))
        omniedit("config", "unset-key", **home.environ(""))
        unset = omniedit("status", TASK, **home.environ(""))

    assert own.status == 0, own
    check_failure(foreign, 3)
    check_failure(unset, 3)
    assert not other.requests


def test_set_key_takes_no_key_as_argument(omniedit: CommandLine, home: Path) -> None:
    ended = omniedit("config", "set-key", KEY)

    assert ended.status == 2, ended
    assert KEY not in ended.stdout
    assert not list(home.rglob("credentials"))


@pytest.mark.parametrize("argv", [[], ["--json"], ["-v"]], ids=str)
def test_config_show_masks_the_key(omniedit: CommandLine, argv: list[str]) -> None:
    for key in (KEY, ""):
        omniedit("config", "set-key", stdin=KEY)
        ended = omniedit("config", "show", *argv, EVOLINK_API_KEY=key)

        assert ended.status == 0, ended
        assert KEY not in ended.stdout + ended.stderr
        assert KEY[8:16] not in ended.stdout + ended.stderr
        assert ("EVOLINK_API_KEY" in ended.stdout) is bool(key), ended


def test_settings_are_shown_with_their_source(omniedit: CommandLine) -> None:
    ended = omniedit("config", "show", OMNIEDIT_BASE_URL="https://proxy.example.com")

    assert "https://proxy.example.com" in ended.stdout
    assert "OMNIEDIT_BASE_URL" in ended.stdout


@pytest.mark.parametrize("name", ["OMNIEDIT_BASE_URL", "OMNIEDIT_FILES_URL"])
@pytest.mark.parametrize(
    "url", ["http://api.example.com", "ftp://x", "nonsense", "https://u:p@x.example"]
)
def test_a_base_url_must_be_https_or_loopback(
    omniedit: CommandLine, recording_proxy: Scripted, name: str, url: str
) -> None:
    (omniedit.folder / "c.mp4").write_bytes(MP4)

    ended = omniedit("submit", "c.mp4", "x", **(proxy_environ(recording_proxy) | {name: url}))

    check_refusal(ended, 2, name)
    assert not recording_proxy.requests


def test_verbose_output_shows_no_key_and_no_query_of_other_hosts(omniedit: CommandLine) -> None:
    def answer(request: Request) -> Reply:
        if not request.path.startswith("/v1/"):
            return Reply(body=MP4)
        host = request.headers["host"].replace("127.0.0.1", "localhost")
        link = f"http://{host}/out.mp4?sig=LINKSECRET"
        return Reply(body=task(results=[link]))

    with scripted(answer) as service:
        clip = "https://example.com/clip.mp4?sig=CLIPSECRET"
        ended = omniedit("edit", clip, "x", "-o", "a.mp4", "-v", **service.environ())

    assert (ended.status, ended.stdout) == (0, "a.mp4\n"), ended
    for secret in (KEY, KEY[8:], "CLIPSECRET", "LINKSECRET"):
        assert secret not in ended.stderr, ended
    assert "/v1/videos/generations" in ended.stderr
    (fetched,) = [request for request in service.requests if request.path.startswith("/out.mp4")]
    assert "authorization" not in fetched.headers
    assert fetched.headers["user-agent"].startswith("omniedit/")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("command", ["submit", "status"])
def test_the_key_is_not_sent_to_a_redirect_target(
    omniedit: CommandLine, command: str, status: int
) -> None:
    with scripted(lambda _: Reply(body=task())) as other:
        away = Reply(status=status, headers={"Location": f"{other.url}/v1/elsewhere"})
        with scripted(lambda _: away) as service:
            argv = [CLIP, "x"] if command == "submit" else [TASK]
            # How long it retries is tested elsewhere.
            brief = replace(omniedit, policy=short_budget())
            brief(command, *argv, **service.environ())

    assert service.requests
    assert not [request for request in other.requests if "authorization" in request.headers]


def test_the_key_is_not_sent_when_a_result_redirects(omniedit: CommandLine) -> None:
    with scripted(lambda _: Reply(body=MP4)) as cdn:

        def answer(request: Request) -> Reply:
            if request.path.startswith("/v1/"):
                return Reply(body=task(results=[f"http://{request.headers['host']}/moved.mp4"]))
            return Reply(status=302, headers={"Location": f"{cdn.url}/out.mp4"})

        with scripted(answer) as service:
            ended = omniedit("download", TASK, "-o", "a.mp4", **service.environ())

    assert ended.status == 0, ended
    assert (omniedit.folder / "a.mp4").read_bytes() == MP4
    assert "authorization" not in cdn.requests[0].headers


@pytest.mark.parametrize(
    "target",
    [
        "file:///etc/hostname",
        "ftp://127.0.0.1/a.mp4",
        "http://user:pw@127.0.0.1:{port}/a",
        "/again",
    ],
)
def test_a_result_redirect_must_lead_to_a_web_url(omniedit: CommandLine, target: str) -> None:
    def answer(request: Request) -> Reply:
        if request.path.startswith("/v1/"):
            return Reply(body=task(results=[f"http://{request.headers['host']}/again"]))
        location = target.format(port=request.headers["host"].rpartition(":")[2])
        return Reply(status=302, headers={"Location": location})

    with scripted(answer) as service:
        ended = omniedit("download", TASK, "-o", "a.mp4", **service.environ())

    assert ended.status in {7, 8}, ended
    assert not list(omniedit.folder.iterdir())
    assert len([request for request in service.requests if request.path == "/again"]) <= 12


@pytest.mark.parametrize("environ", [{}, {"OMNIEDIT_CONFIG_DIR": "elsewhere"}], ids=str)
def test_config_path_shows_the_credentials_file(
    omniedit: CommandLine, environ: dict[str, Any]
) -> None:
    document = check_document(omniedit("config", "path", "--json", **environ))

    assert any(str(value).endswith("credentials") for value in document.values()), document
