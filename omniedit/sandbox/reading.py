"""The endpoints that only read: one task, many tasks, the list, the credits."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING, cast

from omniedit.sandbox.exchange import json_reply
from omniedit.sandbox.lifecycle import Status, task_object, task_row
from omniedit.sandbox.refusals import Refusal
from omniedit.sandbox.results import link_to
from omniedit.sandbox.store import CREDITS_AT_START

if TYPE_CHECKING:
    from werkzeug.wrappers import Response

    from omniedit.sandbox.exchange import Context, Exchange
    from omniedit.sandbox.lifecycle import Edit

BATCH_LIMIT = 50
PAGE_LIMIT = 50
_PAGE_DEFAULT = 20
_TASK_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_PAGE_NUMBER = re.compile(r"[0-9]{1,9}")
_STATUS_FILTERS = (Status.PROCESSING, Status.COMPLETED, Status.FAILED, Status.CANCELLED)
_OUTPUT_TYPES = ("text", "image", "audio", "video")


def get_task(context: Context, exchange: Exchange, task_id: str) -> Response:
    """Return one task.

    Raises:
        Refusal: the ID is malformed or unknown.
    """
    if not _TASK_ID.fullmatch(task_id):
        raise Refusal(HTTPStatus.BAD_REQUEST, "The task ID is malformed", code="invalid_task_id")
    edit = context.store.task(task_id)
    if edit is None:
        raise Refusal(HTTPStatus.NOT_FOUND, "The task does not exist", code="task_not_found")
    exchange.task_id = task_id
    return json_reply(_shown(context, exchange, edit))


def get_tasks(context: Context, exchange: Exchange) -> Response:
    """Return up to 50 tasks by ID; unknown ones are absent.

    Raises:
        Refusal: the body holds no list of IDs.
    """
    given = exchange.read_json_object().get("task_ids")
    items = cast("list[object]", given) if isinstance(given, list) else [given]
    task_ids = [item for item in items if isinstance(item, str)]
    if not isinstance(given, list) or len(task_ids) != len(items):
        raise Refusal(
            HTTPStatus.BAD_REQUEST, "`task_ids` must be an array of strings", param="task_ids"
        )
    if not 1 <= len(task_ids) <= BATCH_LIMIT:
        message = f"`task_ids` must hold 1 to {BATCH_LIMIT} IDs"
        raise Refusal(HTTPStatus.BAD_REQUEST, message, param="task_ids")
    known = context.store.tasks_by_id(list(dict.fromkeys(task_ids)))
    return json_reply({"data": [_shown(context, exchange, edit) for edit in known]})


def list_tasks(context: Context, exchange: Exchange) -> Response:
    """Return one page of the account's tasks, newest first.

    Raises:
        Refusal: a filter or the page is none.
    """
    page = _number(exchange, "page", default=1, highest=10**9)
    page_size = _number(exchange, "page_size", default=_PAGE_DEFAULT, highest=PAGE_LIMIT)
    status = exchange.args.get("status") or None
    if status and status not in _STATUS_FILTERS:
        raise Refusal(HTTPStatus.BAD_REQUEST, "Unknown status", param="status")
    output_type = exchange.args.get("type") or "video"
    if output_type not in _OUTPUT_TYPES:
        raise Refusal(HTTPStatus.BAD_REQUEST, "Unknown type", param="type")
    now = context.clock()
    edits, total = context.store.tasks(
        now=now,
        status=status,
        model=exchange.args.get("model") or None,
        limit=page_size,
        offset=(page - 1) * page_size,
    )
    if output_type != "video":
        edits, total = [], 0
    rows = [task_row(edit, now=now) for edit in edits]
    return json_reply({"data": rows, "total": total, "page": page, "page_size": page_size})


def get_credits(context: Context, exchange: Exchange) -> Response:  # noqa: ARG001 - every endpoint is called alike
    """Return the account's balance; the key itself has no limit."""
    taken = round(context.store.credits_taken(context.clock()), 2)
    return json_reply(
        {
            "success": True,
            "message": "",
            "data": {
                "token": {
                    "remaining_credits": 0,
                    "unlimited_credits": True,
                    "used_credits": taken,
                },
                "user": {
                    "remaining_credits": round(CREDITS_AT_START - taken, 2),
                    "used_credits": taken,
                },
            },
        }
    )


def _shown(context: Context, exchange: Exchange, edit: Edit) -> dict[str, object]:
    link = link_to(edit, origin=exchange.link_origin, secret=context.secret)
    return task_object(edit, now=context.clock(), link=link)


def _number(exchange: Exchange, name: str, *, default: int, highest: int) -> int:
    text = exchange.args.get(name)
    if text is None:
        return default
    if not _PAGE_NUMBER.fullmatch(text) or not 1 <= int(text) <= highest:
        raise Refusal(
            HTTPStatus.BAD_REQUEST, f"`{name}` must be a number from 1 to {highest}", param=name
        )
    return int(text)
