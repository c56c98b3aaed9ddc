"""`submit --dry-run`: the exact request, as JSON and as a line for `curl`."""

import json
import shlex

from omniedit.cli.context import Runtime
from omniedit.cli.drafts import Typed, read_prompt, request_of
from omniedit.cli.session import JournalUse

_KEY = "$EVOLINK_API_KEY"
# Of the sandbox inside a command, which nobody can call: where `sandbox serve` answers, and what it
# takes. Pasted, the line must not pay.
_SANDBOX_KEY = "sk-sandbox-dry-run"
_SANDBOX_PORT = 8123


def show_request(runtime: Runtime, typed: Typed) -> None:
    """Print what `submit` would send, and send nothing.

    Raises:
        InvalidInputError: The edit is wrong.
    """
    from omniedit.edits.clips import clip_name
    from omniedit.edits.requests import prepare

    request = request_of(typed, read_prompt(typed.prompt, typed.prompt_file))
    with runtime.session(JournalUse.NONE, shows_progress=False) as session:
        edit = prepare(session, request)
        request_id = typed.request_id or session.new_request_id()
    clip_url = request.video
    if edit.is_uploaded:
        clip_url = f"<URL of {clip_name(request.video)} once it is uploaded>"
    body = edit.body(clip_url=clip_url)
    settings = runtime.settings
    base_url, key = settings.base_url.value, _KEY
    if settings.is_embedded:
        base_url, key = f"http://127.0.0.1:{_SANDBOX_PORT}", _SANDBOX_KEY
        runtime.printer.note(f"`omniedit sandbox serve --port {_SANDBOX_PORT}` takes this request")
    url = f"{base_url}/v1/videos/generations"
    headers = {
        "Authorization": f"Bearer {key}",
        "Content-Type": "application/json",
        "Idempotency-Key": request_id,
    }
    shown = {"method": "POST", "url": url, "headers": headers, "body": json.loads(body)}
    curl = _render_curl(url, headers, body.decode())
    runtime.fields = {"request": shown, "curl": curl}
    for line in json.dumps(shown, indent=2).splitlines():
        runtime.printer.line(line)
    runtime.printer.line(curl)


def _render_curl(url: str, headers: dict[str, str], body: str) -> str:
    words = ["curl", "--silent", "--show-error", "--request", "POST", shlex.quote(url)]
    for name, value in headers.items():
        # In double quotes, so that the shell puts the key in, and not before.
        quoted = f'"{name}: {value}"' if _KEY in value else shlex.quote(f"{name}: {value}")
        words += ["--header", quoted]
    return " ".join([*words, "--data", shlex.quote(body)])
