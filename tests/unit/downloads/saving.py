"""A download as a command starts it, with everything that a test does not care about."""

import random
from collections.abc import Callable
from pathlib import Path

from omniedit.downloads.placement import Placement
from omniedit.downloads.transfer import Transfer
from omniedit.http.client import HttpClient
from omniedit.http.links import Link
from omniedit.models import SavedFile
from omniedit.policy import Retry


def save(
    http: HttpClient,
    url: str,
    target: Path,
    *,
    sleep: Callable[[float], object] = lambda _: None,
    jitter: Callable[[], float] = random.random,
    placement: Placement | None = None,
    what: str = "result",
    task_id: str | None = None,
    overwrite: bool = False,
    allow_internal: bool = True,
    deadline: float | None = None,
    on_progress: Callable[[int, int | None], None] = lambda *_: None,
    on_retry: Callable[[str, float, int], None] = lambda *_: None,
    on_verified: Callable[[SavedFile], None] = lambda _: None,
) -> SavedFile:
    retry = Retry(
        sleep=sleep,
        jitter=jitter,
        clock=http.clock,
        policy=http.policy,
        deadline=deadline,
        on_retry=on_retry,
    )
    link = Link(http, url, what, deadline, allow_internal)
    placement = placement or Placement(sleep=sleep, budget_s=http.policy.busy_budget_s)
    return placement.write(
        target,
        task_id or what,
        lambda part: Transfer(link, part, retry, on_progress, task_id).complete(),
        overwrite=overwrite,
        on_verified=on_verified,
    )
