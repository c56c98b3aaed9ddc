"""Paid results are saved completely, under the requested name, and overwrite nothing."""

import re
import stat
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from omniedit.sandbox.server import RunningSandbox
from tests.commandline import COMMAND, CommandLine, sandbox_environ
from tests.e2e.test_contract_equipment import (
    CLIP,
    NOW,
    TASK,
    Reply,
    Request,
    check_document,
    check_failure,
    mp4,
    requests,
    scripted,
    task,
)

pytestmark = pytest.mark.e2e

HOSTILE_CLIPS = (
    *("https://example.com/..%2f..%2fetc%2fpasswd.mp4", "https://example.com/%1b%5b31m.mp4"),
    *("https://example.com/a%00b%0ac.mp4", "https://example.com/$(touch%20x)%60id%60;.mp4"),
    *("https://example.com/", "https://example.com/%2e%2e", "https://example.com/a.mp4?x=/../../y"),
    *("https://example.com/" + "n" * 400 + ".mp4", "https://example.com/%E2%80%AEgpj.mp4"),
    *("https://example.com/C:%5Cwindows%5Cx.mp4", "https://example.com/[red]a[/red].mp4"),
)


@pytest.fixture
def record(tmp_path: Path) -> Path:
    return tmp_path / "record.jsonl"


@pytest.fixture
def service(start_sandbox: Callable[..., RunningSandbox], record: Path) -> RunningSandbox:
    return start_sandbox(record=record)


def submit(served: CommandLine, prompt: str = "", clip: str = CLIP) -> str:
    return served(
        "submit", clip, f"x {prompt}{NOW if 'stall' not in prompt else ''}"
    ).stdout.strip()


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    "argv", [["wait", "-d", "a.mp4"], ["download", "-o", "a.mp4"]], ids=" ".join
)
def test_only_force_replaces_an_existing_file(served: CommandLine, argv: list[str]) -> None:
    submit(served)
    target = served.folder / "a.mp4"
    target.write_bytes(b"mine")

    plain = served(*argv)
    kept = target.read_bytes()
    forced = served(*argv, "--force")
    again = served(*argv)

    check_failure(plain, 10, "a.mp4", "--force")
    assert kept == b"mine"
    assert (forced.status, forced.stdout) == (0, "a.mp4\n"), forced
    assert target.read_bytes()[4:8] == b"ftyp"
    assert (again.status, again.stdout) == (0, "a.mp4\n"), "its own verified file is no conflict"
    assert files(served.folder) == ["a.mp4"]


@pytest.mark.parametrize("link", ["dangling", "to-a-file"])
def test_a_symbolic_link_is_not_written_through(served: CommandLine, link: str) -> None:
    submit(served)
    victim = served.folder / "victim"
    if link == "to-a-file":
        victim.write_bytes(b"mine")
    (served.folder / "a.mp4").symlink_to(victim)

    ended = served("download", "-o", "a.mp4")

    assert ended.status == 10, ended
    assert not victim.exists() or victim.read_bytes() == b"mine"


@pytest.mark.parametrize("path", ["out/", "deep/er/", "there"])
def test_a_file_saved_to_a_folder_is_named_after_clip_and_task_id(
    served: CommandLine, path: str
) -> None:
    (served.folder / "there").mkdir()
    task_id = submit(served)

    ended = served("wait", "-d", path)

    name = Path(ended.stdout.strip()).name
    assert re.fullmatch(r"clip-[A-Za-z0-9]{6,}\.mp4", name), ended
    assert task_id.endswith(name.removeprefix("clip-").removesuffix(".mp4"))
    assert (served.folder / path / name).read_bytes()[4:8] == b"ftyp"


@pytest.mark.parametrize("clip", HOSTILE_CLIPS, ids=range(len(HOSTILE_CLIPS)))
def test_a_file_named_after_a_url_stays_in_its_folder(served: CommandLine, clip: str) -> None:
    served("submit", clip, f"x {NOW}")
    (served.folder / "out").mkdir()

    ended = served("download", "-o", "out")
    edited = served("edit", clip, f"x {NOW}")

    assert (ended.status, edited.status) == (0, 0), (ended, edited)
    names = files(served.folder)
    assert len(names) == 2, names
    for name in names:
        assert re.fullmatch(r"(out/)?[\w.-]{1,200}", name), name
        assert name.endswith(".mp4")
        assert not Path(name).name.startswith("."), name


@pytest.mark.parametrize(("path", "suggested"), [("./my a.mp4", "'./my a/'"), ("-", "out/")])
def test_several_tasks_need_a_folder(
    served: CommandLine, record: Path, path: str, suggested: str
) -> None:
    tasks = [submit(served), submit(served)]
    request_count = len(requests(record))

    for argv in (["wait", *tasks, "-d", path], ["download", *tasks, "-o", path]):
        check_failure(served(*argv), 2, f"name a folder: `{suggested}`")

    assert len(requests(record)) == request_count
    assert files(served.folder) == []


@pytest.mark.parametrize(
    ("argv", "suggested"),
    [
        (["download", "--all", "-o", "one.mp4"], "one/"),
        (["download", "--expiring", "1h", "-o", "my clips/one.MOV"], "'my clips/one/'"),
        (["batch", "edits.jsonl", "--dir", "one.mp4"], "one/"),
    ],
)
def test_the_name_of_a_video_is_refused_where_a_folder_is_needed(
    served: CommandLine, record: Path, argv: list[str], suggested: str
) -> None:
    submit(served)
    before = len(requests(record))

    ended = served(*argv)

    check_failure(ended, 2, f"name a folder: `{suggested}`")
    assert (len(requests(record)), files(served.folder)) == (before, [])


@pytest.mark.parametrize("path", ["one.mp4", "new.mp4/"])
def test_a_folder_may_have_the_suffix_of_a_video(served: CommandLine, path: str) -> None:
    (served.folder / "one.mp4").mkdir()
    task_id = submit(served)

    ended = served("download", "--all", "-o", path)

    assert ended.status == 0, ended
    assert files(served.folder) == [f"{path.rstrip('/')}/clip-{task_id[-8:]}.mp4"]


def test_several_tasks_are_saved_in_one_folder(served: CommandLine) -> None:
    tasks = [submit(served), submit(served)]

    ended = served("wait", *tasks, "-d", "out/")

    paths = ended.stdout.splitlines()
    assert ended.status == 0, ended
    assert sorted(paths) == files(served.folder)
    assert len(paths) == 2


def test_a_task_named_twice_is_saved_once(served: CommandLine) -> None:
    task_id = submit(served)

    ended = served("wait", task_id, task_id[-8:], "-d", "out/")

    assert ended.status == 0, ended
    assert len(files(served.folder)) == 1


def test_a_second_result_is_numbered(omniedit: CommandLine) -> None:
    def answer(request: Request) -> Reply:
        if request.path.startswith("/v1/"):
            host = f"http://{request.headers['host']}"
            return Reply(body=task(results=[f"{host}/1.mp4", f"{host}/2.mp4"]))
        return Reply(body=mp4(request.path.encode()))

    with scripted(answer) as service:
        ended = omniedit("download", TASK, "-o", "out.mp4", **service.environ())

    assert (ended.status, ended.stdout) == (0, "out.mp4\nout-2.mp4\n"), ended
    assert (omniedit.folder / "out.mp4").read_bytes() == mp4(b"/1.mp4")
    assert (omniedit.folder / "out-2.mp4").read_bytes() == mp4(b"/2.mp4")


@pytest.mark.parametrize(
    "results", [[], ["file:///etc/hostname"], ["javascript:alert(1)"], [7], None]
)
def test_a_task_without_a_usable_result_is_status_7(omniedit: CommandLine, results: object) -> None:
    with scripted(lambda _: Reply(body=task(results=results))) as service:
        ended = omniedit("wait", TASK, "-d", "a.mp4", **service.environ())

    check_failure(ended, 7)
    assert files(omniedit.folder) == []


@pytest.mark.parametrize(("umask", "mode"), [("022", 0o644), ("077", 0o600), ("002", 0o664)])
def test_a_saved_file_gets_its_mode_from_the_umask(
    served: CommandLine, umask: str, mode: int
) -> None:
    submit(served)

    script = f"umask {umask}; exec {COMMAND} wait -q -d new/a.mp4"
    subprocess.run(
        ["bash", "-euc", script],  # noqa: S607 - any bash will do
        cwd=served.folder,
        env=environ_of(served),
        check=True,
        timeout=60,
    )

    assert stat.S_IMODE((served.folder / "new/a.mp4").stat().st_mode) == mode


def environ_of(served: CommandLine) -> dict[str, str]:
    import os  # noqa: PLC0415 - reads the environment that the fixtures have set

    return {**os.environ, **served.environ}


@pytest.mark.parametrize("argv", [["wait", "-d", "-"], ["download", "-o", "-"]], ids=" ".join)
def test_a_result_can_be_written_to_stdout(served: CommandLine, argv: list[str]) -> None:
    submit(served)
    served("download", "-o", "a.mp4")
    whole = (served.folder / "a.mp4").read_bytes()
    (served.folder / "a.mp4").unlink()

    ended = served(*argv)

    assert ended.status == 0, ended.stderr
    assert ended.stdout.encode(errors="surrogateescape") == whole
    assert files(served.folder) == []


def test_a_cut_download_is_resumed_in_the_same_run(served: CommandLine, record: Path) -> None:
    submit(served, "[sandbox:cut]")

    ended = served("download", "-o", "a.mp4")

    assert (ended.status, ended.stdout) == (0, "a.mp4\n"), ended
    first, *later = requests(record, "GET", "/results/")
    assert (first["fault"], "range" in first["headers"]) == ("cut", False)
    assert [request["status"] for request in later] == [206]
    assert later[0]["headers"]["if-range"].startswith('"')
    assert files(served.folder) == ["a.mp4"]


def test_a_saved_file_is_reported_with_path_size_and_digest(served: CommandLine) -> None:
    submit(served)

    document = check_document(served("download", "-o", "a.mp4", "--json"))

    (saved,) = document["tasks"][0]["saved"]
    target = served.folder / "a.mp4"
    assert saved["path"] == str(target)
    assert saved["bytes"] == target.stat().st_size
    digest = subprocess.run(["sha256sum", target], capture_output=True, check=True).stdout  # noqa: S607
    assert saved["sha256"] == digest.decode().split()[0]


def test_download_all_saves_finished_tasks_and_skips_the_rest(served: CommandLine) -> None:
    good = [submit(served), submit(served)]
    submit(served, "[sandbox:fail=service_error]")
    submit(served, "[sandbox:stall]")
    served("submit", CLIP, "x [sandbox:http=402]")

    first = served("download", "--all", "-o", "out/")
    second = served("download", "--all", "-o", "out/")

    assert first.status == 0, first
    assert len(first.stdout.splitlines()) == len(files(served.folder)) == len(good)
    assert (second.status, second.stdout) == (0, ""), second


def test_download_all_continues_past_an_expired_link_and_then_skips_it(
    served: CommandLine, record: Path
) -> None:
    submit(served)
    submit(served, "[sandbox:expired]")
    submit(served)

    first = served("download", "--all", "-o", "out/")
    request_count = len(requests(record))
    second = served("download", "--all", "-o", "out/")

    assert first.status == 7, first
    assert len(first.stdout.splitlines()) == 2
    assert (second.status, second.stdout) == (0, ""), second
    assert len(requests(record)) == request_count


def test_download_all_fetches_a_deleted_file_again(served: CommandLine) -> None:
    submit(served)
    served("download", "--all", "-o", "out/")
    (path,) = files(served.folder)
    (served.folder / path).unlink()

    unsaved = check_document(served("list", "--unsaved", "--json"))
    ended = served("download", "--all", "-o", "out/")

    assert len(unsaved["tasks"]) == 1
    assert (ended.status, ended.stdout) == (0, f"{path}\n"), ended


def test_download_expiring_saves_results_about_to_expire(served: CommandLine) -> None:
    task_id = submit(served)
    served("status")

    later = served("download", "--expiring", "6h", "-o", "out/")
    listed_later = check_document(served("list", "--expiring", "6h", "--json"))
    listed = check_document(served("list", "--expiring", "25h", "--json"))
    soon = served("download", "--expiring", "25h", "-o", "out/")

    assert (later.status, later.stdout, listed_later["tasks"]) == (0, "", []), later
    assert [task["task_id"] for task in listed["tasks"]] == [task_id]
    assert (soon.status, len(files(served.folder))) == (0, 1), soon


def test_a_link_that_has_expired_since_wait_is_status_7(
    start_sandbox: Callable[..., RunningSandbox], omniedit: CommandLine
) -> None:
    passed = [0.0]
    service = start_sandbox(link_ttl_s=60, clock=lambda: time.time() + passed[0])
    environ: dict[str, Any] = sandbox_environ(service.url)
    omniedit("submit", CLIP, f"x {NOW}", **environ)
    url = omniedit("wait", **environ).stdout.strip()
    passed[0] = 120.0

    ended = omniedit("download", "-o", "a.mp4", **environ)

    assert url.startswith("http://")
    check_failure(ended, 7)
    assert files(omniedit.folder) == []


def test_an_unfinished_task_does_not_stop_the_other_download(served: CommandLine) -> None:
    tasks = [submit(served, "[sandbox:stall]"), submit(served)]

    ended = served("download", *tasks, "-o", "out/")

    assert ended.status == 6, ended
    assert len(files(served.folder)) == 1


def test_concurrent_downloads_to_one_target_all_succeed(
    served: CommandLine, commands: Path
) -> None:
    submit(served)
    forked = replace(served, command=commands / "omniedit")

    running = [forked.start("download", "-o", "a.mp4", "-q") for _ in range(3)]
    ended = [(process.communicate(timeout=60), process.returncode) for process in running]

    assert [status for _, status in ended] == [0, 0, 0], ended
    assert files(served.folder) == ["a.mp4"]


def test_a_saved_path_is_shown_as_typed(served: CommandLine) -> None:
    submit(served)

    assert served("download", "-o", "./x/../a b.mp4").stdout == "./x/../a b.mp4\n"
