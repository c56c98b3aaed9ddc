"""Policies for tests: the real policy with much shorter rests and timeouts."""

from typing import Final

from omniedit.policy import DEFAULT, Policy

HURRIED: Final = DEFAULT._replace(
    grace_s=20.0,  # a busy machine may be slow to reply
    first_backoff_s=0.02,
    longest_backoff_s=0.1,
    read_budget_s=1.6,
    offline_budget_s=0.8,
    submit_budget_s=1.6,
    early_poll_s=0.02,
    shortest_poll_s=0.02,
    longest_watched_poll_s=0.2,
    longest_unwatched_poll_s=0.2,
)


def impatient(policy: Policy = HURRIED, *, timeout_s: float = 0.4) -> Policy:
    """Return a policy with short timeouts, for replies that never come."""
    return policy._replace(
        read_timeout_s=timeout_s, submit_timeout_s=timeout_s, upload_timeout_s=timeout_s
    )


def short_budget(policy: Policy = HURRIED, *, budget_s: float = 0.3) -> Policy:
    """Return a policy with a short budget, for retries that never succeed."""
    return policy._replace(read_budget_s=budget_s, submit_budget_s=budget_s)
