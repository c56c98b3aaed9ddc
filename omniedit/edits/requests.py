"""Turning a request into what is sent (checks, identity, exact body), and back into a command."""

import hashlib
import json
import re
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from omniedit.edits.session import Session
from omniedit.errors import (
    Hint,
    MissingFileError,
    NotFinishedError,
    OmniEditError,
    ResultGoneError,
    refuse,
)
from omniedit.http.urls import check_callback_url, check_clip_url, check_no_video_page
from omniedit.media import is_available
from omniedit.models import (
    DEFAULT_MODEL,
    LAST,
    MODELS,
    TASK_PREFIX,
    ClipPlan,
    EditRequest,
    Record,
    compared_prompt,
    is_local,
    is_video_name,
)
from omniedit.sanitize import is_valid_unicode, quoted
from omniedit.system import error_reason, exists
from omniedit.system.files import is_file

EXAMPLE_HINT: Final = (
    'say what to change and what to keep: "warmer lighting, keep everything else unchanged"'
)
_LONGEST_COMMAND: Final = 500
"""In characters. A longer one would bury the hint that names it."""
_SHA256: Final = "sha256:"
_MODEL_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}")
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{16,96}")
_SANDBOX_MARKER: Final = re.compile(r"\[sandbox:", re.IGNORECASE)
_SCHEMELESS: Final = re.compile(r"[\w-]+(?:\.[\w-]+)*\.[A-Za-z]{2,}/")
"""A host followed by a slash: a URL as copied from a browser that hides the scheme."""


class PreparedEdit(NamedTuple):
    """An edit that was checked and is ready to be submitted."""

    request: EditRequest
    clip_id: str  # what identifies its content: the URL, or `sha256:…` of a local file
    plan: ClipPlan
    identity: str
    """A hash of clip, prompt, cut marks, take and model; never of output, callback or folder."""
    has_clip: bool = True  # False if only the digest is known of a clip that is a task's result

    @property
    def digest(self) -> str:
        """A hash of the identity and the callback: one request ID stands for one digest.

        Unlike the body it does not depend on the URL that a local clip was uploaded to.
        """
        return digest_of([self.identity, self.request.callback_url])

    @property
    def clip_sha256(self) -> str | None:
        """The SHA-256 of a local clip; None for a URL."""
        return self.clip_id.removeprefix(_SHA256) if self.clip_id.startswith(_SHA256) else None

    @property
    def is_uploaded(self) -> bool:
        """Whether a file is uploaded, rather than sending the clip's own URL."""
        return self.plan.is_reencoded or self.clip_id.startswith(_SHA256)

    def body(self, *, clip_url: str) -> bytes:
        """Return the exact JSON of the submission (API reference, GeminiOmniFlashVideoEditRequest)."""
        body: dict[str, object] = {
            "model": self.request.model,
            "prompt": self.request.prompt,
            "video_urls": [clip_url],
        }
        if self.request.callback_url is not None:
            body["callback_url"] = self.request.callback_url
        return json.dumps(body).encode()


def prepare(
    session: Session,
    request: EditRequest,
    *,
    deadline: float | None = None,
    may_be_known: bool = False,
) -> PreparedEdit:
    """Check a request and return the edit it asks for, without uploading or submitting anything.

    If VIDEO is `task:TASK`, the task's result is fetched unless it is on this machine, or the edit
    is known here and `may_be_known`.

    Raises:
        TooExpensiveError: If the estimate exceeds the request's limit, or cannot be made.
    """
    if request.request_id is not None:
        check_request_id(request.request_id)
    _check_model(session, request)
    _check_prompt(session, request.prompt)
    if request.callback_url is not None:
        check_callback_url(request.callback_url, allow_loopback=session.is_sandbox)
    if request.video.startswith(TASK_PREFIX):
        known = _known_edit_of_result(session, request) if may_be_known else None
        if known is not None:
            return known
        request = with_parent_result(session, request, deadline=deadline)
    is_local_clip = is_local(request.video)
    if is_local_clip:
        _check_local_clip(session, request)
    else:
        check_clip_url(request.video, allow_internal=session.allows_internal_clips)
        if request.check is not False:
            check_no_video_page(request.video)
    plan = ClipPlan()
    if request.is_checked or request.is_cut or request.max_credits is not None:
        from omniedit.edits.clips import plan_clip  # noqa: PLC0415 - a URL rarely needs it

        # Look at the clip before hashing all of it: a film of hours is refused at once.
        plan = plan_clip(session, request)
    clip_id = _digest_of_clip(session, request) if is_local_clip else request.video
    identity = _identity_of(request, clip_id, plan)
    plan = plan._replace(start_s=plan.start_s or None)
    return PreparedEdit(request=request, clip_id=clip_id, plan=plan, identity=identity)


def unseen_edit(request: EditRequest, start_s: float | None, end_s: float | None) -> PreparedEdit:
    """Return the edit of a URL's clip, or of a part of it, without looking at the clip."""
    plan = ClipPlan(start_s=start_s or None, end_s=end_s, is_reencoded=request.is_cut)
    identity = _identity_of(request, request.video, plan)
    return PreparedEdit(request=request, clip_id=request.video, plan=plan, identity=identity)


def with_parent_result(
    session: Session, request: EditRequest, *, deadline: float | None = None
) -> EditRequest:
    """Replace a VIDEO of the form `task:TASK` with the file of that task's result.

    Raises:
        InvalidInputError: If VIDEO is `task:last`, which may be another task next time.
    """
    reference = request.video.removeprefix(TASK_PREFIX)
    if reference == LAST:
        accepted = session.journal.last_accepted(session.context or "")
        shown = accepted.task_id if accepted else "TASK"
        msg = f"`task:last` may be another task in the next run: write `task:{shown}`"
        refuse(msg, code="unstable_reference", hint=f"VIDEO is `task:{shown}`")
    path, parent = find_result(session, reference, command="edit task:TASK", deadline=deadline)
    session.note(
        "the clip is a result: each further edit means another encoding by the service",
        is_general=True,
    )
    return request._replace(video=str(path), parent=parent)


def find_result(
    session: Session, reference: str, *, command: str, deadline: float | None = None
) -> tuple[Path, str]:
    """Return the file of a task's first result, fetched if necessary, and the task's ID."""
    from omniedit.edits.records import find_records  # noqa: PLC0415 - few clips are results
    from omniedit.edits.save import result_file  # noqa: PLC0415 - as above

    [record] = find_records(session, [reference], command=command)
    try:
        return result_file(session, record, deadline=deadline), str(record.task_id)
    except NotFinishedError as error:
        # The usual hint would save the result to this command's target, but it is only the clip.
        error.hint = Hint("it continues: {}", f"wait {record.task_id}")
        raise
    except ResultGoneError as error:
        error.hint = "give a saved copy of that result as VIDEO instead"
        raise


def digest_of(parts: Sequence[object]) -> str:
    """Return the SHA-256 of JSON-serialisable values, as 64 hex digits."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def command_line(command: str, request: EditRequest, *options: str) -> str:
    """Return a command for this VIDEO, PROMPT and model, quoted for a shell, without `omniedit`."""
    video = request.shown_video
    prompt = request.prompt
    if request.model_source != "default":
        options = ("--model", request.model, *options)
    if prompt.startswith("-"):
        return quoted(command, *options, "--", video, prompt)
    return quoted(command, video, prompt, *options)


def cut_options(request: EditRequest) -> list[str]:
    """Return the options for the cut marks of a request, as typed."""
    marks = {"--start": request.start, "--end": request.end}
    return [word for name, mark in marks.items() if mark is not None for word in (name, mark)]


def suggested_command(command: str, request: EditRequest | None, *options: str) -> str:
    """Return a command for a hint, with placeholders if the edit is unknown or its text too long."""
    if request is not None and request.prompt:
        typed = cut_options(request)
        if request.max_credits is not None:
            typed += ["--max-credits", f"{request.max_credits:g}"]
        line = command_line(command, request, *typed, *options)
        if len(line) <= _LONGEST_COMMAND:
            return line
    return " ".join([command, 'VIDEO "PROMPT"', *options])


def known_command(record: Record, *, model: str | None) -> str | None:
    """Return the command that makes the same edit again; None if it is not known, or too long.

    The journal drops the query of a URL, and keeps the path of a clip as it was typed.

    It names the model unless that is `model`, the one in force.
    """
    video = record.shown_video or ""
    own_model = record.model or DEFAULT_MODEL
    is_url = not is_local(video)
    is_result = record.parent is not None
    clip_id = video if is_url else f"{_SHA256}{record.clip_sha256}"
    source = "default" if own_model == model else "journal"
    request = EditRequest(video, record.prompt or "", model=own_model, model_source=source)
    # Another identity means that the edit was cut, was a take, or that the query is missing.
    if record.identity != _identity_of(request, clip_id, ClipPlan()):
        return None
    if not (is_url or is_result or _is_clip_at(Path(video), record.clip_sha256)):
        return None
    command = command_line("edit", request, "--again")
    return command if len(command) <= _LONGEST_COMMAND else None


def digest_of_key(key: str, *, salt: str | None = None) -> str:
    """Return a digest that tells whether two submissions used the same key, with a new salt if None."""
    salt = secrets.token_hex(16) if salt is None else salt
    return f"{salt}:{hashlib.sha256(f'{salt}{key}'.encode()).hexdigest()}"


def is_own_attempt(session: Session, request_id: str | None) -> bool:
    """Return whether an attempt was sent with the key in force; True if that is unknown."""
    known = session.journal.key_digest(request_id or "")
    salt = (known or "").partition(":")[0]
    return known is None or digest_of_key(session.connection.key, salt=salt) == known


def check_request_id(text: str) -> None:
    """Refuse a request ID that cannot be sent as `Idempotency-Key`."""
    if not _REQUEST_ID.fullmatch(text):
        msg = f"invalid request ID {text!r}; write 16 to 96 characters of `A-Z a-z 0-9 . _ -`"
        hint = "for example `--request-id clip-7-night-take-1`"
        refuse(msg, code="invalid_request_id", hint=hint)


def _identity_of(request: EditRequest, clip_id: str, plan: ClipPlan) -> str:
    # `--start 0` is the same as no `--start`.
    marks = [repr(mark) if mark else None for mark in (plan.start_s, plan.end_s)]
    parts = [clip_id, compared_prompt(request.prompt), *marks, request.model]
    if request.take is not None and request.take != 1:
        parts.append(str(request.take))
    return digest_of(parts)


def _known_edit_of_result(session: Session, request: EditRequest) -> PreparedEdit | None:
    """Return the edit of a task's result if the journal knows it, without the result itself."""
    from omniedit.edits.records import find_records  # noqa: PLC0415 - few clips are results

    reference = request.video.removeprefix(TASK_PREFIX)
    if request.is_cut or reference == LAST:
        return None
    [parent] = find_records(session, [reference], command="edit task:TASK")
    sha256 = session.journal.digest_of_result(str(parent.task_id))
    if sha256 is None:
        return None
    clip_id = f"{_SHA256}{sha256}"
    plan = ClipPlan()
    edit = PreparedEdit(
        request=request._replace(parent=parent.task_id),
        clip_id=clip_id,
        plan=plan,
        identity=_identity_of(request, clip_id, plan),
        has_clip=False,
    )
    is_known = session.journal.find_edit(edit.identity, origin=session.origin) is not None
    return edit if is_known else None


def _is_clip_at(path: Path, sha256: str | None) -> bool:
    """Return whether a file, which may be another one of the same name, is this clip."""
    from omniedit.evolink.uploads import digest_clip  # noqa: PLC0415 - hints rarely need it

    try:
        return is_file(path) and digest_clip(path, check=False).sha256 == sha256
    except OmniEditError:
        return False


def _check_model(session: Session, request: EditRequest) -> None:
    """Refuse an invalid model ID; an unknown one passes with a warning."""
    if request.model in MODELS:
        return
    if not _MODEL_ID.fullmatch(request.model):
        refuse(
            f"`{request.model}` is not a model ID ({request.model_source})", code="invalid_model"
        )
    session.warn(
        f"model {request.model} is not known here: its longest clip and its prices are not checked",
        is_once=True,
    )


def _check_prompt(session: Session, prompt: str) -> None:
    if not prompt.strip():
        refuse("the prompt is empty", code="empty_prompt", hint=EXAMPLE_HINT)
    if not is_valid_unicode(prompt):
        refuse("the prompt is not valid UTF-8 text", code="invalid_prompt")
    most = session.policy.max_prompt_bytes
    if len(prompt) > most:
        refuse(f"the prompt has more than {most:,} characters", code="invalid_prompt")
    if not session.is_sandbox and _SANDBOX_MARKER.search(prompt):
        msg = "the prompt has a `[sandbox:…]` marker, which the real service would treat as text"
        refuse(msg, code="sandbox_marker", hint="add `--sandbox`, or remove the marker")


def _check_local_clip(session: Session, request: EditRequest) -> None:
    if not request.video:
        refuse("VIDEO is empty", code="invalid_url", hint="give the URL or path of a clip")
    if not _exists(Path(request.video)):
        msg = f"no such file: {request.video}"
        hint = "VIDEO is an http(s) URL or the path of a local clip"
        if _looks_like_clip(request.prompt):
            hint = "VIDEO comes first, then PROMPT: these two look swapped"
        elif _SCHEMELESS.match(request.video):
            hint = f"a URL begins with its scheme: https://{request.video}"
        raise MissingFileError(msg, hint=hint)
    if not is_available():
        # Without the extra `media`, only the size and the first bytes can be checked.
        _digest_of_clip(session, request)


def _looks_like_clip(prompt: str) -> bool:
    """Return whether a prompt looks like the URL or the file name of a clip."""
    return len(prompt.split()) == 1 and (not is_local(prompt) or is_video_name(prompt))


def _digest_of_clip(session: Session, request: EditRequest) -> str:
    from omniedit.edits.clips import digest_of_clip  # noqa: PLC0415 - URLs are not hashed

    # With the extra `media`, other formats are converted to MP4 rather than refused.
    check = request.check is not False and not is_available()
    return f"{_SHA256}{digest_of_clip(session, Path(request.video), check=check).sha256}"


def _exists(path: Path) -> bool:
    try:
        return exists(path)
    except OSError as error:
        # The name is not valid for a file, or a folder on the path cannot be entered.
        msg = f"cannot read {str(path)[:80]}: {error_reason(error)}"
        raise MissingFileError(msg) from None
