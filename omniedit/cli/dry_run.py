"""`submit --dry-run`: the exact request, as JSON and as a line for `curl`."""

import json
import shlex

from omniedit.cli.drafts import Typed, draft_of, read_prompt
from omniedit.cli.runtime import Runtime
from omniedit.cli.session import JournalUse

_KEY = "$EVOLINK_API_KEY"


def show_request(runtime: Runtime, typed: Typed) -> None:
    """Print what `submit` would send, and send nothing.

    Raises:
        InvalidInputError: The edit is wrong.
    """
    from omniedit.tasks.requests import clip_name, is_uploaded, parse_draft, render_body

    draft = draft_of(typed, read_prompt(typed.prompt, typed.prompt_file))
    with runtime.session(JournalUse.NONE, shows_progress=False) as session:
        request = parse_draft(session, draft)
        request_id = typed.request_id or session.new_request_id()
    clip_url = request.video
    if is_uploaded(request):
        clip_url = f"<URL of {clip_name(request.video)} once it is uploaded>"
    body = render_body(request, clip_url=clip_url)
    url = f"{runtime.settings.base_url.value}/v1/videos/generations"
    headers = {
        "Authorization": f"Bearer {_KEY}",
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
