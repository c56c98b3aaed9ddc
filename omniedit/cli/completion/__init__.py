"""Shell completion: the answer to TAB, with tasks straight from the journal.

Answering a TAB takes hardly longer than starting Python, because nothing is imported that is not
essential, not even `typing` and `pathlib`.
"""

import os
import sys

try:
    # `sqlite3` wraps this module to add dates, which takes a quarter of the total time.
    import _sqlite3 as sqlite3
except ImportError:  # pragma: no cover - other Pythons
    import sqlite3  # type: ignore[no-redef]  # the same names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

LIMIT = 50
PROMPT_WIDTH = 40
_LOCKED_TIMEOUT_S = 0.3
_LONGEST_FILE_BYTES = 1024 * 1024
_MATCHES = """
        (substr(id, 1, length(:typed)) = :typed or substr(id, -length(:typed)) = :typed)
        and length(id) <= 128 and id glob '[A-Za-z0-9._]*' and id not glob '*[^A-Za-z0-9._-]*'
"""
# Each part is in the order of an index: a journal may hold a hundred thousand tasks.
_TASKS = f"""
        select id, status, video, prompt from (
            select * from (
                select t.task_id as id, t.status, a.video, a.prompt, a.created_at as begun_at
                from attempts a join tasks t using (task_id)
                where {{0}} and {_MATCHES} order by a.created_at desc limit :limit
            ) union all select * from (
                select t.task_id as id, t.status, '', '', coalesce(t.created_at, t.recorded_at) as at
                from tasks t where t.is_adopted = 1 and {{0}} and {_MATCHES}
                and not exists (select 1 from attempts a where a.task_id = t.task_id)
                order by at desc limit :limit
            )
        ) order by begun_at desc limit :limit
"""  # noqa: S608 - constants only
_QUERIES = {
    "tasks": _TASKS.format("true"),
    "unfinished": _TASKS.format("t.status not in ('completed', 'failed', 'cancelled')"),
    "finished": _TASKS.format("t.status = 'completed'"),
    # For `compare`, whose arguments may be files as well.
    "compared": _TASKS.format("t.status = 'completed'"),
    # What `submit --resume` takes.
    "requests": f"""
        select request_id as id, state, video, prompt from attempts
        where state in ('unknown', 'sending') and {_MATCHES}
        order by created_at desc limit :limit
    """,  # noqa: S608 - constants only
}
_FALSE = frozenset({"", "0", "false", "no", "off"})


def main(argv: "Sequence[str]", environ: "Mapping[str, str]") -> int:
    """Print a line for each candidate: ID, tab, state, clip and prompt.

    Args:
        argv: `tasks`, `unfinished`, `finished`, `compared` or `requests`, optionally `--sandbox`,
            then the beginning or end of the ID that was typed.
        environ: The process's environment.
    """
    kind, *rest = argv or ("",)
    is_sandbox = rest[:1] == ["--sandbox"]
    typed = "".join(rest[1:] if is_sandbox else rest)
    folder = journal_folder(environ, is_sandbox=is_sandbox)
    if folder is None or kind not in _QUERIES:
        return 0
    lines = "".join(f"{line}\n" for line in _candidates(folder, kind, typed))
    encoding = sys.stdout.encoding or "utf-8"
    os.write(sys.stdout.fileno(), lines.encode(encoding, "replace"))
    return 0


def journal_folder(environ: "Mapping[str, str]", *, is_sandbox: bool) -> str | None:
    """Return the folder of the journal in force; None if the settings cannot be read."""
    folder = _plain_folder(environ, is_sandbox=is_sandbox)
    if folder is not None:
        return folder
    from omniedit.errors import OmniEditError
    from omniedit.settings import load_settings

    try:
        return str(load_settings(environ, sandbox=is_sandbox).journal_folder)
    except OmniEditError:
        return None


def _plain_folder(environ: "Mapping[str, str]", *, is_sandbox: bool) -> str | None:
    """Return the journal's folder if environment and XDG rules alone determine it, else None."""
    if sys.platform in {"darwin", "win32"} or "ANDROID_ROOT" in environ:
        return None
    config = _xdg_folder(environ, "OMNIEDIT_CONFIG_DIR", "XDG_CONFIG_HOME", "~/.config")
    state = _xdg_folder(environ, "OMNIEDIT_STATE_DIR", "XDG_STATE_HOME", "~/.local/state")
    if config is None or state is None or os.path.lexists(f"{config}/config.toml"):
        return None
    if environ.get("OMNIEDIT_SANDBOX", "").strip().lower() not in _FALSE:
        is_sandbox = True
    if not is_sandbox and _may_have_sandbox_key(environ, f"{config}/credentials"):
        return None
    return f"{state}/sandbox" if is_sandbox else state


def _may_have_sandbox_key(environ: "Mapping[str, str]", path: str) -> bool:
    """Return whether the key in force may be one of the sandbox's."""
    keys = environ.get("OMNIEDIT_API_KEY", "") + environ.get("EVOLINK_API_KEY", "")
    try:
        # Opening a named pipe would block.
        if os.path.isfile(path):  # noqa: PTH113 - pathlib is slow to import
            with open(path, "rb") as file:  # noqa: PTH123 - as above
                keys += file.read(_LONGEST_FILE_BYTES).decode("latin-1")
    except OSError:
        pass
    return "sk-sandbox" in keys


def _xdg_folder(
    environ: "Mapping[str, str]", variable: str, xdg_variable: str, default: str
) -> str | None:
    if named := environ.get(variable, "").strip():
        return named if named.startswith("/") else None
    if parent := environ.get(xdg_variable, "").strip():
        return f"{parent}/omniedit" if parent.startswith("/") else None
    parent = os.path.expanduser(default)  # noqa: PTH111 - pathlib is slow to import
    return f"{parent}/omniedit" if parent.startswith("/") else None


def _candidates(folder: str, kind: str, typed: str) -> "Iterator[str]":
    if not os.path.isfile(f"{folder}/journal.db"):  # noqa: PTH113 - pathlib is slow to import
        # There is no journal yet, or a named pipe in its place, which would block.
        return
    for suffix in ("-journal", "-wal", "-shm"):
        # SQLite opens these as well.
        beside = os.path.realpath(f"{folder}/journal.db") + suffix
        if os.path.lexists(beside) and not os.path.isfile(beside):  # noqa: PTH113 - as above
            return
    path = f"{folder}/journal.db".replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    try:
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=_LOCKED_TIMEOUT_S)
        try:
            found = connection.execute(_QUERIES[kind], {"typed": typed, "limit": LIMIT}).fetchall()
        finally:
            connection.close()
    except sqlite3.Error:
        # Completion reports no errors.
        return
    for task_id, state, video, prompt in found:
        shown = ": ".join(filter(None, (_shown(_clip_name(video)), _shown(prompt))))
        yield f"{task_id}\t{_shown(state)} {shown}".rstrip()


def _clip_name(video: "str | bytes") -> str:
    """Return the last part of a path or URL, like `models.clip_name`, which is slow to import."""
    text = video.decode("utf-8", "replace") if isinstance(video, bytes) else video
    if "://" in text:
        text = text.partition("?")[0].partition("#")[0]
    return text.replace("\\", "/").rstrip("/").rpartition("/")[2]


def _shown(text: str) -> str:
    """Return one line of at most 40 columns, without control, bidi and invisible characters."""
    text = "".join(filter(str.isprintable, " ".join(text.split())))
    if text[:PROMPT_WIDTH].isascii():
        return text if len(text) <= PROMPT_WIDTH else f"{text[: PROMPT_WIDTH - 1]}…"
    from unicodedata import combining, east_asian_width

    from omniedit.sanitize import sanitize

    shown = ""
    width = 0
    for character in sanitize(text):
        if not combining(character):
            width += 2 if east_asian_width(character) in {"W", "F"} else 1
        if width >= PROMPT_WIDTH:
            return f"{shown}…"
        shown += character
    return shown
