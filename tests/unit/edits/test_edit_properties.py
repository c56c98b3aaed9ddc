"""In any order of events, an edit is paid for once, and the journal knows what was paid for."""

import os
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from omniedit.edits.edit import EditOptions, edit
from omniedit.edits.settling import resume
from omniedit.edits.submit import submit
from omniedit.edits.targets import Destination
from omniedit.errors import (
    IdempotencyConflictError,
    Interrupted,
    OmniEditError,
    OutcomeUnknownError,
)
from omniedit.models import AttemptState, EditRequest, Record
from tests.unit.edits.bench import video_of
from tests.unit.edits.model import (
    End,
    Killed,
    Mishap,
    ModelSession,
    clip_and_prompt,
)

CLIPS: Final = st.sampled_from(["https://example.com/a.mp4", "https://example.com/b.mp4"])
PROMPTS: Final = st.sampled_from(["warmer", "colder"])
OUTPUTS: Final = st.sampled_from(["one.mp4", "two.mp4", "three.mp4"])
MISHAPS: Final = st.lists(st.sampled_from(Mishap), max_size=4)
ENDS: Final = st.sampled_from(End)
REQUEST_IDS: Final = st.none() | st.sampled_from(["ci-run-1-of-the-first", "ci-run-2-of-the-next"])
FOREIGN_CONTENT: Final = b"a wedding video"


class EditMachine(RuleBasedStateMachine):
    """A sequence of commands by one user, some of them killed."""

    @initialize(honours_keys=st.booleans())
    def begin(self, honours_keys: bool) -> None:  # noqa: FBT001 - hypothesis draws it
        self.honours_keys = honours_keys
        self.folder = tempfile.TemporaryDirectory()
        self.previous_cwd = Path.cwd()
        os.chdir(self.folder.name)
        self.session = ModelSession(Path(self.folder.name), honours_keys=honours_keys)
        self.paid_on_purpose: Counter[tuple[str, str]] = Counter()

    def teardown(self) -> None:
        self.session.close()
        os.chdir(self.previous_cwd)
        self.folder.cleanup()

    @rule(
        clip=CLIPS,
        prompt=PROMPTS,
        output=OUTPUTS,
        request_id=REQUEST_IDS,
        again=st.booleans(),
        force=st.booleans(),
        mishaps=MISHAPS,
        end=ENDS,
    )
    def edit(
        self,
        *,
        clip: str,
        prompt: str,
        output: str,
        request_id: str | None,
        again: bool,
        force: bool,
        mishaps: list[Mishap],
        end: End,
    ) -> None:
        self._prepare(mishaps, end)
        self.paid_on_purpose[clip, prompt] += again
        before = self._files()
        request = EditRequest(video=clip, prompt=prompt, request_id=request_id)
        options = EditOptions(
            destination=Destination(output, overwrite=force), again=again, timeout_s=1800.0
        )

        record = self._run_command(lambda: edit(self.session, request, options))

        if not force:
            after = self._files()
            assert {name: after.get(name) for name in before} == before, "nothing is overwritten"
        if record is not None:
            content = Path(output).read_bytes()
            task_ids = [
                accepted.task_id
                for accepted in self.session.web.accepted
                if clip_and_prompt(accepted.body) == (clip, prompt)
            ]
            assert content in map(video_of, task_ids), "the saved file is a result of this edit"

    @rule(clip=CLIPS, prompt=PROMPTS, request_id=REQUEST_IDS, mishaps=MISHAPS, end=ENDS)
    def submit(
        self, clip: str, prompt: str, request_id: str | None, mishaps: list[Mishap], end: End
    ) -> None:
        self._prepare(mishaps, end)
        self.paid_on_purpose[clip, prompt] += 1
        request = EditRequest(video=clip, prompt=prompt, request_id=request_id)
        self._run_command(lambda: submit(self.session, request))

    @precondition(lambda self: self._unknown_records())
    @rule(data=st.data(), mishaps=MISHAPS, end=ENDS, accepts_old=st.booleans())
    def resume(
        self,
        data: st.DataObject,
        mishaps: list[Mishap],
        end: End,
        accepts_old: bool,  # noqa: FBT001 - hypothesis draws it
    ) -> None:
        self._prepare(mishaps, end)
        record = data.draw(st.sampled_from(self._unknown_records()))
        if accepts_old:
            # Requested explicitly: this pays again if the service has forgotten the request ID.
            self.paid_on_purpose[record.video or "", record.prompt or ""] += 1
        request_id = record.request_id or ""
        self._run_command(lambda: resume(self.session, request_id, accepts_old=accepts_old))

    @rule(seconds=st.sampled_from([1.0, 60.0, 3500.0, 3700.0, 90_000.0]))
    def let_time_pass(self, seconds: float) -> None:
        self.session.sleep(seconds)

    @rule(are_dead=st.booleans())
    def change_links(self, are_dead: bool) -> None:  # noqa: FBT001 - hypothesis draws it
        self.session.web.has_dead_links = are_dead

    @rule(output=OUTPUTS, content=st.sampled_from([FOREIGN_CONTENT, None]))
    def change_by_hand(self, output: str, content: bytes | None) -> None:
        if content is None:
            Path(output).unlink(missing_ok=True)
        else:
            Path(output).write_bytes(content)

    @invariant()
    def an_edit_is_paid_for_once(self) -> None:
        """An edit is paid for under one request ID, plus one for each deliberate repeat."""
        now = self.session.now()
        paid: dict[tuple[str, str], set[str]] = {}
        tasks: Counter[tuple[str, str]] = Counter()
        for accepted in self.session.web.accepted:
            if not accepted.task_at(now).has_failed or accepted.end is not End.FAILED_RETRYABLE:
                edit_of = clip_and_prompt(accepted.body)
                paid.setdefault(edit_of, set()).add(accepted.key)
                tasks[edit_of] += 1
        for edit_of, keys in paid.items():
            assert len(keys) <= 1 + self.paid_on_purpose[edit_of]
            if self.honours_keys:
                assert tasks[edit_of] <= 1 + self.paid_on_purpose[edit_of]

    @invariant()
    def the_journal_knows_every_task(self) -> None:
        for accepted in self.session.web.accepted:
            if self.session.journal.find_task(accepted.task_id) is not None:
                continue
            attempt = self.session.journal.find_attempt(accepted.key)
            assert attempt is not None
            if attempt.status in {AttemptState.UNKNOWN, AttemptState.SENDING}:
                assert attempt.body == accepted.body
            else:
                # A service that ignores the key made two tasks, and the user was warned.
                assert attempt.task is not None
                assert any(accepted.task_id in warning for warning in self.session.warnings)

    @invariant()
    def a_request_id_has_one_body(self) -> None:
        assert all(len(sent.bodies) == 1 for sent in self.session.web.sent.values())

    @invariant()
    def each_attempt_state_matches_its_replies(self) -> None:
        for request_id, sent in self.session.web.sent.items():
            attempt = self.session.journal.find_attempt(request_id)
            assert attempt is not None
            if sent.was_answered:
                assert attempt.task is not None
            elif sent.was_lost:
                assert attempt.status == AttemptState.UNKNOWN
            else:
                assert attempt.status == AttemptState.REFUSED

    def _prepare(self, mishaps: list[Mishap], end: End) -> None:
        self.session.forget_process_state()
        self.session.web.mishaps.clear()
        self.session.web.mishaps.extend(mishaps)
        self.session.web.next_end = end

    def _run_command(self, command: Callable[[], Record]) -> Record | None:
        """Run a command; return its record, or None if it ended in an expected error."""
        posts_before = {key: sent.posts for key, sent in self.session.web.sent.items()}
        failure: OmniEditError | None = None
        try:
            return command()
        except (Killed, Interrupted):
            return None
        except OmniEditError as error:
            failure = error
        for key, sent in self.session.web.sent.items():
            is_unsettled = sent.was_lost and not sent.was_answered
            if is_unsettled and sent.posts > posts_before.get(key, 0):
                assert isinstance(failure, OutcomeUnknownError | IdempotencyConflictError)
        return None

    def _files(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in Path().glob("*.mp4")}

    def _unknown_records(self) -> list[Record]:
        session = getattr(self, "session", None)
        if session is None:
            return []
        return [r for r in session.journal.recent() if r.status == AttemptState.UNKNOWN]


def test_an_edit_is_paid_for_once_whatever_happens() -> None:
    run_state_machine_as_test(
        EditMachine,
        settings=settings(
            max_examples=300 if os.environ.get("OMNIEDIT_FULL") else 60,
            stateful_step_count=20,
            deadline=None,
            derandomize=True,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
