"""Commands in any order, under faults and kills: no edit is paid twice, and none is lost.

Sequences are drawn at random, with a seed. After each step the journal is checked against the
service's ledger. At the end, without faults, the recovery commands from hints are followed until
each edit has its file.
"""

import json
import os
import random
import re
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest

from omniedit.journal import Journal
from omniedit.models import Record
from omniedit.sandbox.clips import BUNDLED_CLIP
from omniedit.sandbox.store import RequestKeys
from tests.commandline import Ended
from tests.e2e.equipment import CLIP_URL, Bench
from tests.e2e.faulty import (
    Endpoint,
    Fault,
    answered,
    cut_body,
    marked,
    refusal,
    reset_after,
    reset_before,
)
from tests.policies import HURRIED, short_budget

pytestmark = pytest.mark.e2e

STEPS: Final = 8
PLAIN: Final = 12
ALL: Final = 200
RESULT_BYTES: Final = BUNDLED_CLIP.read_bytes()
EFFECTS: Final = 120
"""The approximate number of effects of the longest command (`effects.py`)."""
LATER: Final = short_budget()._replace(replay_window_s=0.0)
"""A policy under which every attempt is past the replay window."""

JUMPS_S: Final = (300.0, 3500.0, 7200.0)
"""By how much this machine's clock may be set back; the service's clock never jumps."""

EditOf = tuple[str, str]
EDITS: Final[Sequence[EditOf]] = (
    (CLIP_URL, "warmer"),
    (CLIP_URL, "colder"),
    ("../clip.mp4", "warmer"),
)
FAULTS: Final[Mapping[str, tuple[Endpoint, Fault]]] = {
    "submit, lost before": (Endpoint.SUBMIT, reset_before),
    "submit, lost after": (Endpoint.SUBMIT, reset_after),
    "submit, cut": (Endpoint.SUBMIT, cut_body),
    "submit, 500 after": (Endpoint.SUBMIT, answered(500, after=True)),
    "submit, 503": (Endpoint.SUBMIT, answered(503)),
    "submit, HTML after": (Endpoint.SUBMIT, answered(200, b"<html>", after=True)),
    "submit, 429": (Endpoint.SUBMIT, answered(429)),
    "submit, 402": (Endpoint.SUBMIT, refusal(402, "insufficient_quota")),
    "submit, 409": (Endpoint.SUBMIT, refusal(409, "idempotency_conflict")),
    "submit, fails later": (Endpoint.SUBMIT, marked("[sandbox:fail=service_unavailable]")),
    "poll, 503": (Endpoint.POLL, answered(503)),
    "poll, 404": (Endpoint.POLL, answered(404)),
    "poll, cut": (Endpoint.POLL, cut_body),
    "batch, 501": (Endpoint.BATCH, answered(501)),
    "batch, lost": (Endpoint.BATCH, reset_after),
    "list, 500": (Endpoint.LIST, answered(500)),
    "list, 404": (Endpoint.LIST, answered(404)),
    "upload, 500": (Endpoint.UPLOAD, answered(500)),
    "upload, lost after": (Endpoint.UPLOAD, reset_after),
    "result, cut": (Endpoint.RESULT, cut_body),
    "result, 403": (Endpoint.RESULT, answered(403)),
    "credits, 500": (Endpoint.OTHER, answered(500)),
}
COMMANDS: Final[Mapping[str, int]] = {
    "edit": 6,
    "again": 2,
    "submit": 4,
    "submit-by-id": 3,
    "batch": 3,
    "wait": 2,
    "download": 1,
    "adopt": 2,
    "resume": 3,
    "resume-yes": 2,
    "resume-as": 1,
    "forget": 1,
    "recover": 1,
    "clock": 2,
}
"""The possible steps and their weights."""


@dataclass(slots=True)
class Allowance:
    """What a step may pay for: a number of new keys per edit, or certain keys."""

    new: dict[EditOf, int] = field(default_factory=dict[EditOf, int])
    keys: set[str] = field(default_factory=set[str])


@dataclass(slots=True)
class Clock:
    """The service's clock, and this machine's, which is sometimes wrong."""

    ahead_s: float

    def __call__(self) -> float:
        return time.time() + self.ahead_s


@dataclass(slots=True)
class Player:
    """Plays one sequence, and checks the journal against the account."""

    bench: Bench
    folder: Path
    draw: random.Random
    request_keys: RequestKeys
    clock: Clock
    outputs: list[str] = field(default_factory=list[str])
    played: list[str] = field(default_factory=list[str])
    forgotten: set[str] = field(default_factory=set[str])

    # The current state.

    @property
    def bodies(self) -> dict[str, set[bytes]]:
        """The bodies that reached the service under each key."""
        found: dict[str, set[bytes]] = {}
        for request in self.bench.faulty.requests_to(Endpoint.SUBMIT):
            if request.body:
                found.setdefault(request.key, set()).add(request.body)
        return found

    def edit_of(self, body: bytes) -> EditOf:
        """Return the edit that a body requests."""
        value = json.loads(body)
        video = value["video_urls"][0]
        return (CLIP_URL if video == CLIP_URL else "../clip.mp4", value["prompt"])

    @property
    def tasks(self) -> dict[str, tuple[str, EditOf]]:
        """The key and the edit of each task that the service has accepted."""
        bodies = self.bodies
        return {
            task_id: (key, self.edit_of(next(iter(bodies[key]))))
            for task_id, key in self.bench.keys.items()
        }

    def journal(self) -> list[Record]:
        """Return all records of the journal."""
        folder = Path(os.environ["XDG_STATE_HOME"]) / "omniedit" / "sandbox"
        with closing(Journal(folder)) as journal:
            return journal.recent()

    def unsettled(self) -> list[Record]:
        """Return the attempts whose outcome is unknown."""
        return [record for record in self.journal() if record.is_unsettled]

    def accepted_keys(self, edit: EditOf) -> set[str]:
        """Return the keys under which an edit was accepted and did not fail."""
        failed = {r.request_id for r in self.journal() if r.task is not None and r.has_failed}
        failed_ids = {r.task_id for r in self.journal() if r.has_failed}
        return {
            key
            for task_id, (key, of) in self.tasks.items()
            if of == edit
            and key not in failed | self.forgotten
            and task_id not in failed_ids
            and not self.has_failed(task_id)
        }

    def has_failed(self, task_id: str) -> bool:
        edit = self.bench.service.store.task(task_id)
        return edit is not None and edit.fail_code is not None

    # One step.

    def step(self) -> None:
        """Play one command, possibly with a fault or a kill, and check its effects."""
        name = self.draw.choices([*COMMANDS], [*COMMANDS.values()])[0]
        if name == "clock":
            self.clock.ahead_s += self.draw.choice(JUMPS_S)
            self.played.append(f"the service's clock is {self.clock.ahead_s:g} s ahead")
            return
        argv, allowed = self.command(name) or self.command_of_edit("edit")
        self.allow_late(allowed)
        before = self.tasks
        ended = self.run(argv)
        if name == "forget" and ended.status in {0, -9}:
            known = {record.request_id for record in self.journal()}
            self.forgotten |= {argv[-1]} - known
        self.check(ended, before, allowed)

    def run(self, argv: list[str]) -> Ended:
        """Run a command line: with faults, with a kill, or undisturbed."""
        policy = LATER if self.draw.random() < 0.2 else short_budget()
        bench = self.bench.with_policy(policy)
        chance = self.draw.random()
        if chance < 0.35:
            faults = [self.draw.choice([*FAULTS]) for _ in range(self.draw.choice([1, 1, 2]))]
            times = self.draw.choice([1, 2, 3])
            for endpoint, fault in map(FAULTS.__getitem__, faults):
                self.bench.faulty.script(endpoint, *[fault] * times)
            self.log(argv, f"{faults} {times} times", policy)
            ended = bench.run(*argv)
            self.bench.faulty.clear_faults()
            return ended
        if chance < 0.6:
            effect = self.draw.randint(1, EFFECTS)
            self.log(argv, f"killed before effect {effect}", policy)
            bench.begin(*argv, dies_before=effect)
            return bench.end()
        self.log(argv, "", policy)
        return bench.run(*argv)

    def log(self, argv: Sequence[str], what: str, policy: object) -> None:
        later = " an hour later" if policy is LATER else ""
        self.played.append(f"{shlex.join(argv)}{later} {what}")

    def command(self, name: str) -> tuple[list[str], Allowance] | None:
        """Return a command line and what it may pay for; None if it makes no sense now."""
        match name:
            case "download":
                return ["download", "--all", "-o", "all/"], Allowance()
            case "adopt":
                return ["list", "--remote", "--adopt"], Allowance()
            case "recover":
                return ["journal", "recover"], Allowance()
            case "wait":
                known = [record.task_id for record in self.journal() if record.task_id]
                choice = [self.draw.choice(known)] if known else []
                return (["wait", *choice, "-d", "waited/"], Allowance()) if choice else None
            case "resume" | "resume-yes" | "resume-as" | "forget":
                return self.command_of_attempt(name)
            case _:
                return self.command_of_edit(name)

    def command_of_edit(self, name: str) -> tuple[list[str], Allowance]:
        """Return a command line for one or more edits, and what it may pay for."""
        edit = self.draw.choice(EDITS)
        output = f"{EDITS.index(edit)}.mp4"
        allowed = Allowance()
        match name:
            case "again":
                allowed.new[edit] = 1
                return ["edit", *edit, "-o", output, "--again", "--force"], allowed
            case "submit":
                allowed.new[edit] = 1
                return ["submit", *edit], allowed
            case "submit-by-id":
                request_id = f"job-{self.draw.choice('ab')}-of-edit-{EDITS.index(edit):04}"
                allowed.keys.add(request_id)
                return ["submit", *edit, "--request-id", request_id], allowed
            case "batch":
                edits = self.draw.sample(EDITS, 2)
                for each in edits:
                    self.allow_edit(allowed, each)
                lines = [f"{video},{prompt}\n" for video, prompt in edits]
                (self.folder / "edits.csv").write_text("".join(["video,prompt\n", *lines]))
                return ["batch", "edits.csv", "--dir", "batch"], allowed
            case _:
                self.allow_edit(allowed, edit)
                return ["edit", *edit, "-o", output], allowed

    def command_of_attempt(self, name: str) -> tuple[list[str], Allowance] | None:
        """Return a command line about an attempt whose outcome is unknown."""
        unsettled = [str(record.request_id) for record in self.unsettled()]
        if not unsettled:
            return None
        request_id = self.draw.choice(unsettled)
        argv = ["submit", "--resume", request_id]
        match name:
            case "forget":
                return ["list", "--forget", request_id], Allowance()
            case "resume-as":
                own = [task_id for task_id, (key, _) in self.tasks.items() if key == request_id]
                return ([*argv, "--as", own[0]], Allowance()) if own else None
            case _:
                yes = ["--yes"] if name == "resume-yes" else []
                return [*argv, *yes], Allowance(keys={request_id})

    def allow_edit(self, allowed: Allowance, edit: EditOf) -> None:
        """Allow one payment for an edit not paid yet; unsettled attempts must keep their keys."""
        own = {
            record.request_id
            for record in self.unsettled()
            if (record.video, record.prompt) == edit
            or (record.body is not None and self.edit_of(record.body) == edit)
        }
        allowed.keys |= {key for key in own if key}
        if not own and not self.accepted_keys(edit):
            allowed.new[edit] = 1

    def allow_late(self, allowed: Allowance) -> None:
        """Allow the service to accept requests of commands that have been killed."""
        allowed.keys |= {str(record.request_id) for record in self.unsettled()}

    # Checks.

    def check(
        self, ended: Ended, before: Mapping[str, tuple[str, EditOf]], allowed: Allowance
    ) -> None:
        """Check the journal against the account."""
        self.outputs.append(ended.stdout + ended.stderr)
        assert ended.status != 1, self.history(ended)
        assert "Traceback" not in ended.stderr, self.history(ended)
        self.check_payments(ended, before, allowed)
        self.check_journal(ended)

    def check_payments(
        self, ended: Ended, before: Mapping[str, tuple[str, EditOf]], allowed: Allowance
    ) -> None:
        known = {key for key, _ in before.values()}
        now = self.tasks
        fresh = {key: of for key, of in now.values() if key not in known}
        for key, edit in fresh.items():
            if key in allowed.keys:
                continue
            allowed.new[edit] = allowed.new.get(edit, 0) - 1
            assert allowed.new[edit] >= 0, self.history(ended, f"{edit} was paid again as {key}")
        if self.request_keys is not RequestKeys.IGNORED:
            keys = [key for key, _ in now.values()]
            assert len(keys) == len({*keys}), self.history(ended, "a key has two tasks")
        for key, bodies in self.bodies.items():
            assert len(bodies) == 1, self.history(ended, f"{key} was sent with two bodies")

    def check_journal(self, ended: Ended) -> None:
        records = self.journal()
        known = {record.task_id for record in records}
        attempts = {record.request_id: record for record in records}
        output = "".join(self.outputs)
        for task_id, (key, _) in self.tasks.items():
            if task_id in known or task_id in output or key in self.forgotten:
                continue
            attempt = attempts.get(key)
            assert attempt is not None, self.history(ended, f"{task_id} is lost")
            if attempt.is_unsettled:
                assert {attempt.body} == self.bodies[key], self.history(ended, "another body")
                continue
            was_reported = "a second task may have been paid for" in output
            assert was_reported, self.history(
                ended, f"{task_id} of {key} is lost: {attempt.status}"
            )

    def history(self, ended: Ended, what: str = "") -> str:
        """Return all steps so far, for the message of a failure."""
        lines = [what, f"keys are {self.request_keys}", *self.played, f"{ended.status}"]
        return "\n".join([*lines, ended.stdout, ended.stderr])

    # The end.

    def finish(self) -> None:
        """Follow hints until each edit has its file."""
        policy = HURRIED._replace(replay_window_s=self.draw.choice([0.0, 3600.0]))
        self.bench = self.bench.with_policy(policy)
        for edit in EDITS:
            for _ in range(6):
                if self.advance(edit):
                    break
            else:
                pytest.fail(self.history(Ended(0, "", ""), f"{edit} never completes"))

    def advance(self, edit: EditOf) -> bool:
        """Run an edit and return whether it succeeded; if not, follow its hint."""
        output = f"end-{EDITS.index(edit)}.mp4"
        allowed = Allowance()
        self.allow_edit(allowed, edit)
        ended = self.run_undisturbed(["edit", *edit, "-o", output], allowed)
        if ended.status == 5:
            # As far as known, the edit has failed permanently: only `--again` may pay again.
            again = ["edit", *edit, "-o", output, "--again"]
            ended = self.run_undisturbed(again, Allowance(new={edit: 1}))
        if ended.status == 0:
            (content,) = {(self.folder / output).read_bytes()}
            assert content == RESULT_BYTES, self.history(ended, "not the result")
            self.check_saved_is_own(edit, output, ended)
            return True
        assert ended.status == 9, self.history(ended)
        commands = [
            command
            for command in map(self.completed, _recovery_commands(ended))
            if command is not None
        ]
        assert commands, self.history(ended, "no recovery command")
        command = self.draw.choice(commands)
        if "--resume" in command:
            allowed = Allowance(keys={command[command.index("--resume") + 1]})
        back = self.run_undisturbed(command, allowed)
        assert back.status in {0, 9}, self.history(back, "the recovery command fails")
        return False

    def run_undisturbed(self, argv: list[str], allowed: Allowance) -> Ended:
        self.allow_late(allowed)
        before = self.tasks
        self.log(argv, "(at the end)", None)
        ended = self.bench.run(*argv)
        self.check(ended, before, allowed)
        return ended

    def completed(self, command: list[str]) -> list[str] | None:
        """Return a recovery command as a user would run it; None if it is about another attempt."""
        if command[:2] != ["submit", "--resume"]:
            return None
        if command[-1] == "TASK":
            own = [task_id for task_id, (key, _) in self.tasks.items() if key == command[2]]
            return [*command[:-1], own[0]] if own else None
        return command

    def check_saved_is_own(self, edit: EditOf, output: str, ended: Ended) -> None:
        """Check that the file belongs to a task of this edit."""
        path = str(self.folder / output)
        saved = [r for r in self.journal() if path in [file.path for file in r.saved]]
        tasks = self.tasks
        assert {tasks[str(r.task_id)][1] for r in saved} == {edit}, self.history(ended, "another's")


def _recovery_commands(ended: Ended) -> list[list[str]]:
    hints = [line for line in ended.stderr.splitlines() if line.startswith("hint:")]
    return [shlex.split(command) for command in re.findall(r"`omniedit ([^`]+)`", "\n".join(hints))]


@pytest.mark.parametrize(
    "seed",
    [pytest.param(seed, marks=() if seed < PLAIN else (pytest.mark.full,)) for seed in range(ALL)],
)
def test_no_sequence_pays_twice_or_loses_a_paid_task(
    make_bench: Callable[..., Bench], folder: Path, seed: int
) -> None:
    request_keys = [*RequestKeys][seed % 3]
    (folder.parent / "clip.mp4").write_bytes(RESULT_BYTES)
    draw = random.Random(seed)  # noqa: S311 - not for secrets
    clock = Clock(draw.choice((-7200.0, -300.0, 0.0)))
    bench = make_bench(request_keys=request_keys, clock=clock)
    player = Player(bench, folder, draw, request_keys, clock)

    for _ in range(STEPS):
        player.step()
    player.finish()
