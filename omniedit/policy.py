"""Every time-out, budget, interval and bound, in one value that tests replace."""

from typing import Final, NamedTuple


class Policy(NamedTuple):
    """How long to wait, how often to try again, and where to stop.

    A NamedTuple, since a frozen dataclass of this size takes a millisecond of every start.
    """

    # One request.
    connect_timeout_s: float = 10.0
    read_timeout_s: float = 30.0
    submit_timeout_s: float = 60.0
    upload_timeout_s: float = 60.0
    """For the reply after an upload's last byte."""
    clip_timeout_s: float = 3.0
    """For a look at a clip behind a URL, all range requests together."""
    max_reply_bytes: int = 16 * 1024**2

    # Trying again.
    first_backoff_s: float = 1.0
    longest_backoff_s: float = 30.0
    look_s: float = 2.0
    """For all that a listing asks the service."""
    looks: int = 5
    """How many tasks it asks for one by one, where they cannot be read at once."""
    read_budget_s: float = 30.0
    """How long one read of the service is tried again, in all."""
    offline_budget_s: float = 5.0
    """How long to try again, in all, as long as this machine seems to have no network."""
    submit_budget_s: float = 120.0
    """How long a submission that certainly was not accepted is tried again, in all."""
    duplicates_budget_s: float = 5.0
    """How long to look for a task that was paid twice; the task itself is known by then."""

    # Submissions.
    replay_window_s: float = 3600.0
    """How long after an attempt the service is trusted to remember its request ID."""
    clock_skew_s: float = 120.0
    """How far this machine's clock and the service's may be apart."""
    unknown_clock_skew_s: float = 24 * 3600.0
    """How far they may have been apart at an attempt to which the service never answered."""
    grace_s: float = 5.0
    """How long a first signal waits for the reply to a submission."""
    upload_margin_s: float = 3600.0
    """How long an uploaded clip must still live to be used again."""
    submissions_at_once: int = 32
    """How many edits are being submitted at a time; each takes a thread and a connection."""

    # Polling; `python -m tests.benchmarks polling` simulates it.
    early_poll_s: float = 3.0
    shortest_poll_s: float = 2.0
    steady_poll_s: float = 8.0
    longest_watched_poll_s: float = 8.0
    longest_unwatched_poll_s: float = 15.0
    stalled_after_s: float = 180.0
    last_reply_s: float = 2.0
    """How long the reply to a poll at the deadline may take."""

    # Transfers.
    transfers_at_once: int = 4
    """How many results are saved at a time, and how many clips uploaded."""
    fruitless_attempts: int = 5
    """How many attempts in a row may bring no byte."""
    download_attempts: int = 200
    longest_retry_after_s: float = 120.0
    stall_s: float = 60.0
    """How long a transfer may stay below `stall_bytes_per_s` before it is broken off."""
    stall_bytes_per_s: int = 1000
    max_result_bytes: int = 8 * 1024**3
    busy_budget_s: float = 600.0
    """How long to wait for another process that saves to the same target."""

    # Files of this machine.
    max_settings_bytes: int = 1024**2
    """The longest `config.toml` or `credentials`."""
    max_prompt_bytes: int = 1024**2
    max_manifest_bytes: int = 64 * 1024**2

    # The journal.
    journal_timeout_s: float = 30.0
    """How long to wait for another process that writes to the journal."""

    # Lists.
    max_list_pages: int = 2000
    list_budget_s: float = 120.0


DEFAULT: Final = Policy()
