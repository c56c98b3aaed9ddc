"""The model is a setting: what selects it, what depends on it, and what its end causes."""

import json
from pathlib import Path
from typing import Any

import pytest

from omniedit.models import DEFAULT_MODEL, MODELS, Model
from tests.commandline import CommandLine
from tests.unit.media.clips import make_clip

CLIP = "https://example.com/clip.mp4"
SISTER = "gemini-omni-1.1-flash-video-edit"
LATER = "gemini-omni-9-flash-video-edit"
NOW = "[sandbox:seconds=0]"


def set_in_file(home: Path, model: str) -> None:
    folder = home / "config" / "omniedit"
    folder.mkdir(exist_ok=True)
    (folder / "config.toml").write_text(f'model = "{model}"\n')


def sent(served: CommandLine, *options: str, variable: str = "") -> str:
    """Return the model that a submission would name."""
    argv = ["submit", CLIP, "warmer", "--dry-run", "--json", *options]
    model: str = served(*argv, OMNIEDIT_MODEL=variable).document["request"]["body"]["model"]
    return model


def write_manifest(served: CommandLine, *lines: dict[str, Any]) -> None:
    text = "".join(json.dumps({"video": CLIP} | line) + "\n" for line in lines)
    (served.folder / "edits.jsonl").write_text(text)


def test_the_option_comes_before_the_variable_and_that_before_the_file(
    served: CommandLine, home: Path
) -> None:
    assert sent(served) == DEFAULT_MODEL

    set_in_file(home, "from-file")

    assert sent(served) == "from-file"
    assert sent(served, variable=" ") == "from-file"
    assert sent(served, variable="from-variable") == "from-variable"
    assert sent(served, "--model", SISTER, variable="from-variable") == SISTER
    shown = served("config", "show", "--json", OMNIEDIT_MODEL=SISTER).document
    assert (shown["model"], shown["model_source"]) == (SISTER, "environment: OMNIEDIT_MODEL")


def test_a_column_of_the_manifest_comes_before_them_all(served: CommandLine) -> None:
    lines = [{"prompt": f"a {NOW}", "model": DEFAULT_MODEL}, {"prompt": f"b {NOW}"}]
    write_manifest(served, *lines)

    ended = served("batch", "edits.jsonl", "--model", SISTER, "--json")

    assert [task["model"] for task in ended.document["tasks"]] == [DEFAULT_MODEL, SISTER]


def test_another_model_is_another_edit_and_the_first_one_stays_known(served: CommandLine) -> None:
    def edited(model: str = "") -> dict[str, Any]:
        ended = served("edit", CLIP, f"warmer {NOW}", "--json", OMNIEDIT_MODEL=model)
        return dict(ended.document["tasks"][0])

    first, other, again = edited(), edited(SISTER), edited()

    assert (first["model"], other["model"]) == (DEFAULT_MODEL, SISTER)
    assert first["task_id"] == again["task_id"] != other["task_id"]
    listed = served("list", "--remote", "--json").document["tasks"]
    assert {task["model"] for task in listed} == {DEFAULT_MODEL, SISTER}


def test_a_model_that_is_not_known_passes_with_one_warning_and_has_no_price(
    served: CommandLine,
) -> None:
    make_clip(served.folder / "long.mp4", seconds=12)
    write_manifest(served, {"prompt": "a"}, {"prompt": "b"})

    ended = served("submit", "long.mp4", "x", "--dry-run", "--model", LATER)
    limited = served("edit", "long.mp4", "x", "--model", LATER, "--max-credits", "999")
    many = served("batch", "edits.jsonl", "--model", LATER)
    split = served("edit", "long.mp4", "x", "--split", "--model", LATER)

    assert (ended.status, ended.stderr.count(f"model {LATER} is not known here")) == (0, 1)
    assert (limited.status, "cannot be estimated" in limited.stderr) == (12, True)
    assert (many.status, many.stderr.count("is not known here")) == (3, 1)
    assert "2 pieces of 6.0 s: an unknown price\n" in split.stderr


@pytest.mark.parametrize("model", ["", " ", "a b", "-x", "ä", "x" * 129])
def test_what_cannot_be_the_id_of_a_model_is_refused_here(served: CommandLine, model: str) -> None:
    ended = served("submit", CLIP, "warmer", f"--model={model}", "--json")

    assert (ended.status, ended.document["error"]["code"]) == (2, "invalid_model")


def test_a_line_in_the_table_is_all_that_a_new_model_needs(
    served: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_clip(served.folder / "clip.mp4", seconds=12)
    make_clip(served.folder / "long.mp4", seconds=16)
    too_long = served("submit", "clip.mp4", "x", "--dry-run")

    monkeypatch.setitem(MODELS, LATER, Model(model_id=LATER, longest_clip_s=15))

    probed = served("probe", "clip.mp4", "--model", LATER, "--json").document
    fits = served("submit", "clip.mp4", "x", "--dry-run", "--model", LATER, "--max-credits", "80")
    refused = served("submit", "long.mp4", "x", "--dry-run", "--model", LATER)
    split = served("edit", "long.mp4", "x", "--split", "--model", LATER)

    assert (too_long.status, "the model takes 10 s at most" in too_long.stderr) == (2, True)
    assert (probed["fits"], probed["estimated_credits"]) == (True, 76.3)
    assert (fits.status, "about 76.3 credits" in fits.stderr) == (0, True)
    assert (refused.status, "the model takes 15 s at most" in refused.stderr) == (2, True)
    assert "2 pieces of 8.0 s: about 101.8 credits ($1.50) at least, " in split.stderr


@pytest.mark.parametrize(
    ("options", "variable", "source"),
    [
        pytest.param([], "", "omniedit's default", id="default"),
        pytest.param(["--model", SISTER], "", "--model", id="option"),
        pytest.param([], SISTER, "OMNIEDIT_MODEL", id="variable"),
    ],
)
def test_a_retired_model_is_3_and_names_the_setting_and_the_one_to_take(
    served: CommandLine, options: list[str], variable: str, source: str
) -> None:
    chosen, other = (SISTER, DEFAULT_MODEL) if options or variable else (DEFAULT_MODEL, SISTER)

    ended = served("edit", CLIP, "x [sandbox:retired]", *options, "--json", OMNIEDIT_MODEL=variable)

    error = ended.document["error"]
    assert (ended.status, error["code"]) == (3, "model_retired")
    assert error["hint"] == (
        f"{chosen} was chosen by {source}; the service suggests {other};"
        " choose another with `--model ID`"
    )


def test_a_batch_sends_no_further_line_of_a_model_that_was_refused(served: CommandLine) -> None:
    known = {"prompt": f"known {NOW}", "output": "known.mp4"}
    write_manifest(served, known)
    served("batch", "edits.jsonl")
    (served.folder / "known.mp4").unlink()
    lines: list[dict[str, Any]] = [
        {"prompt": "a [sandbox:retired]"},
        {"prompt": f"b {NOW}"},
        {"prompt": f"c {NOW}", "model": SISTER},
        known,
    ]
    write_manifest(served, *lines)

    ended = served("batch", "edits.jsonl", "--concurrency", "1", "--json")

    assert ended.status == 3
    states = [task["status"] for task in ended.document["tasks"]]
    assert states == ["refused", "unsent", "completed", "completed"]


def test_probe_a_dry_run_and_the_edit_agree_on_what_it_costs_at_least(
    served: CommandLine,
) -> None:
    make_clip(served.folder / "clip.mp4", seconds=5)
    estimate = "about 31.8 credits ($0.47) at least, without thinking tokens"

    probed = served("probe", "clip.mp4")
    dry = served("submit", "clip.mp4", "x", "--dry-run")
    edited = served("edit", "clip.mp4", f"x {NOW}")

    assert f"estimate   {estimate}\n" in probed.stdout
    assert f"estimated cost: {estimate}\n" in dry.stderr
    assert "submitted, 31.8 credits ($0.47) reserved, as estimated\n" in edited.stderr


def test_doctor_tells_of_the_model_what_can_be_told_for_nothing(served: CommandLine) -> None:
    before = served("doctor").stdout
    served("edit", CLIP, f"warmer {NOW}")
    after = served("doctor").stdout

    assert f"{DEFAULT_MODEL} (default); only an edit can tell" in before
    assert f"{DEFAULT_MODEL} (default), which this account has used" in after
