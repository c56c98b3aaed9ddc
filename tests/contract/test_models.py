"""The model is a setting: what selects it, what depends on it, and what its retirement causes."""

import json
from pathlib import Path
from typing import Any

import pytest

from omniedit.models import DEFAULT_MODEL, MODELS, Model
from tests.commandline import CommandLine
from tests.unit.media.clips import make_clip

CLIP = "https://example.com/clip.mp4"
OTHER_MODEL = "gemini-omni-1.1-flash-video-edit"
FUTURE_MODEL = "gemini-omni-9-flash-video-edit"
NOW = "[sandbox:seconds=0]"


def set_in_file(home: Path, model: str) -> None:
    folder = home / "config" / "omniedit"
    folder.mkdir(exist_ok=True)
    (folder / "config.toml").write_text(f'model = "{model}"\n')


def submitted_model(served: CommandLine, *options: str, variable: str = "") -> str:
    """Return the model that a submission would name."""
    argv = ["submit", CLIP, "warmer", "--dry-run", "--json", *options]
    model: str = served(*argv, OMNIEDIT_MODEL=variable).document["request"]["body"]["model"]
    return model


@pytest.mark.parametrize(
    ("submitted_with", "variable", "named"),
    [
        pytest.param("", OTHER_MODEL, f"--model {DEFAULT_MODEL} ", id="default"),
        pytest.param(OTHER_MODEL, "", f"--model {OTHER_MODEL} ", id="other"),
        pytest.param(OTHER_MODEL, OTHER_MODEL, "", id="in-force"),
    ],
)
def test_the_command_that_makes_an_edit_again_names_a_model_that_is_not_in_force(
    served: CommandLine, submitted_with: str, variable: str, named: str
) -> None:
    served("submit", CLIP, "x [sandbox:cancel]", OMNIEDIT_MODEL=submitted_with)

    ended = served("wait", OMNIEDIT_MODEL=variable)

    assert f"`omniedit edit {CLIP} 'x [sandbox:cancel]' {named}--again`" in ended.stderr


def write_manifest(served: CommandLine, *lines: dict[str, Any]) -> None:
    text = "".join(json.dumps({"video": CLIP} | line) + "\n" for line in lines)
    (served.folder / "edits.jsonl").write_text(text)


def test_model_precedence_is_option_variable_file(served: CommandLine, home: Path) -> None:
    assert submitted_model(served) == DEFAULT_MODEL

    set_in_file(home, "from-file")

    assert submitted_model(served) == "from-file"
    assert submitted_model(served, variable=" ") == "from-file"
    assert submitted_model(served, variable="from-variable") == "from-variable"
    assert submitted_model(served, "--model", OTHER_MODEL, variable="from-variable") == OTHER_MODEL
    shown = served("config", "show", "--json", OMNIEDIT_MODEL=OTHER_MODEL).document
    assert (shown["model"], shown["model_source"]) == (OTHER_MODEL, "environment: OMNIEDIT_MODEL")


def test_the_model_of_a_manifest_line_takes_precedence(served: CommandLine) -> None:
    lines = [{"prompt": f"a {NOW}", "model": DEFAULT_MODEL}, {"prompt": f"b {NOW}"}]
    write_manifest(served, *lines)

    ended = served("batch", "edits.jsonl", "--model", OTHER_MODEL, "--json")

    assert [task["model"] for task in ended.document["tasks"]] == [DEFAULT_MODEL, OTHER_MODEL]


def test_another_model_is_another_edit_and_keeps_the_first(served: CommandLine) -> None:
    def edited(model: str = "") -> dict[str, Any]:
        ended = served("edit", CLIP, f"warmer {NOW}", "--json", OMNIEDIT_MODEL=model)
        return dict(ended.document["tasks"][0])

    first, other, again = edited(), edited(OTHER_MODEL), edited()

    assert (first["model"], other["model"]) == (DEFAULT_MODEL, OTHER_MODEL)
    assert first["task_id"] == again["task_id"] != other["task_id"]
    listed = served("list", "--remote", "--json").document["tasks"]
    assert {task["model"] for task in listed} == {DEFAULT_MODEL, OTHER_MODEL}


def test_an_unknown_model_gets_one_warning_and_no_price(
    served: CommandLine,
) -> None:
    make_clip(served.folder / "long.mp4", seconds=12)
    write_manifest(served, {"prompt": "a"}, {"prompt": "b"})

    ended = served("submit", "long.mp4", "x", "--dry-run", "--model", FUTURE_MODEL)
    limited = served("edit", "long.mp4", "x", "--model", FUTURE_MODEL, "--max-credits", "999")
    many = served("batch", "edits.jsonl", "--model", FUTURE_MODEL)
    split = served("edit", "long.mp4", "x", "--split", "--model", FUTURE_MODEL)

    assert (ended.status, ended.stderr.count(f"model {FUTURE_MODEL} is not known here")) == (0, 1)
    assert (limited.status, "cannot be estimated" in limited.stderr) == (12, True)
    assert (many.status, many.stderr.count("is not known here")) == (3, 1)
    assert "2 pieces of 6.0 s: an unknown price\n" in split.stderr


@pytest.mark.parametrize("model", ["", " ", "a b", "-x", "ä", "x" * 129])
def test_an_invalid_model_id_is_refused_before_sending(served: CommandLine, model: str) -> None:
    ended = served("submit", CLIP, "warmer", f"--model={model}", "--json")

    assert (ended.status, ended.document["error"]["code"]) == (2, "invalid_model")


def test_a_new_model_needs_only_an_entry_in_the_table(
    served: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_clip(served.folder / "clip.mp4", seconds=12)
    make_clip(served.folder / "long.mp4", seconds=16)
    too_long = served("submit", "clip.mp4", "x", "--dry-run")

    monkeypatch.setitem(MODELS, FUTURE_MODEL, Model(model_id=FUTURE_MODEL, longest_clip_s=15))

    probed = served("probe", "clip.mp4", "--model", FUTURE_MODEL, "--json").document
    fits = served(
        "submit", "clip.mp4", "x", "--dry-run", "--model", FUTURE_MODEL, "--max-credits", "80"
    )
    refused = served("submit", "long.mp4", "x", "--dry-run", "--model", FUTURE_MODEL)
    split = served("edit", "long.mp4", "x", "--split", "--model", FUTURE_MODEL)

    assert (too_long.status, "the model takes 10 s at most" in too_long.stderr) == (2, True)
    assert (probed["fits"], probed["estimated_credits"]) == (True, 76.3)
    assert (fits.status, "about 76.3 credits" in fits.stderr) == (0, True)
    assert (refused.status, "the model takes 15 s at most" in refused.stderr) == (2, True)
    assert "2 pieces of 8.0 s: about 101.8 credits ($1.50), plus thinking tokens" in split.stderr


@pytest.mark.parametrize(
    ("options", "variable", "source"),
    [
        pytest.param([], "", "omniedit's default", id="default"),
        pytest.param(["--model", OTHER_MODEL], "", "--model", id="option"),
        pytest.param([], OTHER_MODEL, "OMNIEDIT_MODEL", id="variable"),
    ],
)
def test_a_retired_model_names_its_setting_and_a_replacement(
    served: CommandLine, options: list[str], variable: str, source: str
) -> None:
    chosen, other = (
        (OTHER_MODEL, DEFAULT_MODEL) if options or variable else (DEFAULT_MODEL, OTHER_MODEL)
    )

    ended = served("edit", CLIP, "x [sandbox:retired]", *options, "--json", OMNIEDIT_MODEL=variable)

    error = ended.document["error"]
    assert (ended.status, error["code"]) == (3, "model_retired")
    assert error["hint"] == (
        f"{chosen} was chosen by {source}; the service suggests {other};"
        " choose another with `--model ID`"
    )


def test_a_batch_sends_no_more_lines_of_a_refused_model(served: CommandLine) -> None:
    known = {"prompt": f"known {NOW}", "output": "known.mp4"}
    write_manifest(served, known)
    served("batch", "edits.jsonl")
    (served.folder / "known.mp4").unlink()
    lines: list[dict[str, Any]] = [
        {"prompt": "a [sandbox:retired]"},
        {"prompt": f"b {NOW}"},
        {"prompt": f"c {NOW}", "model": OTHER_MODEL},
        known,
    ]
    write_manifest(served, *lines)

    ended = served("batch", "edits.jsonl", "--concurrency", "1", "--json")

    assert ended.status == 3
    states = [task["status"] for task in ended.document["tasks"]]
    assert states == ["refused", "unsent", "completed", "completed"]


def test_probe_dry_run_and_edit_agree_on_the_estimate(
    served: CommandLine,
) -> None:
    make_clip(served.folder / "clip.mp4", seconds=5)
    estimate = "about 31.8 credits ($0.47), plus thinking tokens"

    probed = served("probe", "clip.mp4")
    dry = served("submit", "clip.mp4", "x", "--dry-run")
    edited = served("edit", "clip.mp4", f"x {NOW}")

    assert f"estimate   {estimate}\n" in probed.stdout
    assert f"estimated cost: {estimate}\n" in dry.stderr
    assert "submitted, 31.8 credits ($0.47) reserved, as estimated\n" in edited.stderr


def test_doctor_says_whether_the_account_has_used_the_model(served: CommandLine) -> None:
    before = served("doctor").stdout
    served("edit", CLIP, f"warmer {NOW}")
    after = served("doctor").stdout

    assert f"{DEFAULT_MODEL} (default); only an edit can tell" in before
    assert f"{DEFAULT_MODEL} (default), which this account has used" in after
