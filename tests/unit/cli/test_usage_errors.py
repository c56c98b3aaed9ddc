"""Usage errors, and the hints at what was meant."""

from pathlib import Path

import pytest

from omniedit.cli import main


@pytest.mark.parametrize(
    ("argv", "hint"),
    [
        pytest.param(
            ["submit", "-o", "x"],
            "`omniedit submit` sends an edit and does not wait;"
            " `omniedit edit VIDEO PROMPT --output PATH` also saves the result",
            id="submit-does-not-save",
        ),
        pytest.param(
            ["edit", "-i", "a.mp4", "x"],
            "VIDEO needs no option: `omniedit edit a.mp4 x`",
            id="video-as-an-option",
        ),
        pytest.param(
            ["probe", "-i", "a.mp4"],
            "VIDEO needs no option: `omniedit probe VIDEO`",
            id="video-as-an-option-of-probe",
        ),
        pytest.param(
            ["list", "-i", "a.mp4"],
            "`omniedit list --help` lists all",
            id="command-without-a-video",
        ),
        pytest.param(
            ["edit", "a.mp4", "-p", "x"],
            "PROMPT needs no option: `omniedit edit a.mp4 x`",
            id="prompt-as-an-option",
        ),
        pytest.param(
            ["edit", "a.mp4", "x", "--out", "y"],
            "did you mean `--output`? `omniedit edit --help` lists all",
            id="typo",
        ),
        pytest.param(
            ["edit", "a.mp4", "x", "-y"],
            "did you mean `--yes`? `omniedit edit --help` lists all",
            id="short-option-of-other-tools",
        ),
        pytest.param(
            ["edit", "a.mp4", "x", "--duration", "5"],
            "a result is as long as its clip; `--end T` cuts the clip",
            id="no-length",
        ),
        pytest.param(
            ["--force", "edit", "a.mp4", "x"],
            "options go after the command: `omniedit COMMAND … --force`",
            id="option-before-the-command",
        ),
        pytest.param(
            ["download", "--overwrite"],
            "did you mean `--force`? `omniedit download --help` lists all",
            id="long-option-of-other-tools",
        ),
        pytest.param(
            ["list", "-n", "5"],
            "did you mean `--limit`? `omniedit list --help` lists all",
            id="limit-of-other-tools",
        ),
        pytest.param(
            ["edit", "a.mp4", "x", "--dry-run"],
            "`omniedit submit a.mp4 x --dry-run` shows what an edit would send",
            id="dry-run-of-another-command",
        ),
        pytest.param(
            ["credits", "--api-key", "sk-evo-1"],
            "a key is never an option: `omniedit config set-key` asks for it",
            id="key-as-an-option",
        ),
        pytest.param(
            ["--sandbox", "balance"],
            "did you mean `omniedit --sandbox credits`? `omniedit --sandbox --help` lists all",
            id="command-of-other-tools",
        ),
        pytest.param(
            ["config", "set", "key"],
            "did you mean `omniedit config set-key`? `omniedit config --help` lists all",
            id="command-of-a-group",
        ),
        pytest.param(
            ["sandbox", "edit", "a.mp4", "warmer"],
            "did you mean `omniedit --sandbox edit`? `omniedit sandbox --help` lists all",
            id="command-after-sandbox",
        ),
        pytest.param(
            ["downlod"],
            "did you mean `omniedit download`? `omniedit --help` lists all",
            id="typo-in-a-command",
        ),
        pytest.param(
            ["cancel", "t-1"],
            "the service cannot cancel a task; one that fails is not charged",
            id="cancel",
        ),
        pytest.param(
            ["edit", "a.mp4", "make", "it", "night"],
            "put the whole PROMPT in quotes: `omniedit edit a.mp4 'make it night'`",
            id="prompt-without-quotes",
        ),
        pytest.param(
            ["edit", "a.mp4", "make", "it", "night", "-o", "night.mp4"],
            'put the whole PROMPT in quotes: `omniedit edit VIDEO "PROMPT"`',
            id="prompt-without-quotes-before-an-output",
        ),
        pytest.param(
            ["edit", "a.mp4", "--rain and wind"],
            "a PROMPT that begins with `-` goes last, after `--`:"
            ' `omniedit edit VIDEO -- "PROMPT"`, or into a file: `--prompt-file FILE`',
            id="prompt-like-an-option",
        ),
        *[
            pytest.param(
                [command, "a.mp4", prompt],
                "a PROMPT that begins with `-` goes last, after `--`:"
                f' `omniedit {command} VIDEO -- "PROMPT"`, or into a file: `--prompt-file FILE`',
                id=f"{command}-{prompt}",
            )
            for command, prompt in (
                ("edit", "-hot summer"),
                ("edit", "-make it night"),
                ("submit", "-night please"),
                ("submit", "-oil painting"),
                ("edit", "--rain"),
            )
        ],
        pytest.param(
            ["edit", "a.mp4", "x", "--time-scale", "3"],
            "`omniedit edit --help` lists all",
            id="no-such-option",
        ),
        pytest.param(["list", "--bogus"], "`omniedit list --help` lists all", id="nothing-similar"),
        pytest.param(
            ["edit", "--resume", "X"],
            "`omniedit submit --resume REQUEST_ID` settles a submission whose outcome is unknown",
            id="resume-of-another-command",
        ),
        pytest.param(
            ["edit", "--", "a.mp4", "-x", "--max-credits", "1"],
            "options go before `--`: what follows it is VIDEO and PROMPT",
            id="option-after-the-dashes",
        ),
        pytest.param(
            ["edit", "a.mp4", "x", "-o", ""], "a shell variable may be unset", id="empty-value"
        ),
        pytest.param(
            ["edit", "no", "clip.mp4", "make it night"],
            "put the file name in quotes: `omniedit edit 'no clip.mp4' 'make it night'`",
            id="missing-file-with-spaces",
        ),
        pytest.param(
            ["wait", "--output", "x.mp4"],
            "did you mean `--download`? `omniedit wait --help` lists all",
            id="twin-option-of-download",
        ),
        pytest.param(
            ["download", "-d", "x.mp4"],
            "did you mean `--output`? `omniedit download --help` lists all",
            id="twin-option-of-wait",
        ),
        pytest.param(
            ["download", "--download", "x.mp4"],
            "did you mean `--output`? `omniedit download --help` lists all",
            id="long-twin-option-of-wait",
        ),
        pytest.param(
            ["batch", "m.csv", "--output", "x"],
            "did you mean `--dir`? `omniedit batch --help` lists all",
            id="twin-option-of-edit",
        ),
    ],
)
def test_a_usage_mistake_gets_a_hint_at_what_was_meant(
    capsys: pytest.CaptureFixture[str], argv: list[str], hint: str
) -> None:
    status = main.run(argv, {})

    assert (status, capsys.readouterr().err.splitlines()[-1]) == (2, f"hint: {hint}")


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("estimate a.mp4", "omniedit probe"),
        ("setup", "omniedit config set-key"),
        ("set-key", "omniedit config set-key"),
        ("logout", "omniedit config unset-key"),
        ("quota", "omniedit credits"),
        ("skills", "omniedit help agents"),
        ("tasks", "omniedit list"),
        ("tasks get t-1", "omniedit status"),
        ("tasks wait t-1", "omniedit wait"),
        ("edit a.mp4 x --idempotency-key k", "--request-id"),
        ("edit a.mp4 x --max-cost-usd 1", "--max-credits"),
        ("batch m.csv --budget 9", "--max-credits"),
        ("batch m.csv --format json", "--json"),
        ("batch m.csv --output-dir x", "--dir"),
        ("batch m.csv --out x", "--dir"),
        ("edit a.mp4 x --out y", "--output"),
        ("wait t-1 --out y", "--download"),
        ("batch m.csv --promt x", "--prompt"),
    ],
)
def test_a_word_of_another_tool_gets_a_hint_at_ours(
    capsys: pytest.CaptureFixture[str], line: str, meant: str
) -> None:
    status = main.run(line.split(), {})

    last_line = capsys.readouterr().err.splitlines()[-1]
    assert (status, last_line.startswith(f"hint: did you mean `{meant}`?")) == (2, True), last_line


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("models", "`--model ID` chooses a model; `omniedit config show` shows which is set"),
        ("upload a.mp4", '`omniedit edit a.mp4 "PROMPT"` uploads a local clip itself'),
        ("split", '`omniedit edit VIDEO "PROMPT" --split` edits a long clip in pieces'),
        ("split a.mp4 warm", "`omniedit edit a.mp4 warm --split` edits a long clip in pieces"),
        ("edit a.mp4 edit it", "put the whole PROMPT in quotes: `omniedit edit a.mp4 'edit it'`"),
        ("help split", '`omniedit edit VIDEO "PROMPT" --split` edits a long clip in pieces'),
        ("resume", "run the same `omniedit edit` again: it continues where it stopped"),
        ("retry t-1", "run the same `omniedit edit` again: it continues where it stopped"),
        ("edit a.mp4 x --no-wait", "`omniedit submit` sends an edit and does not wait"),
        ("edit a.mp4 x --negative-prompt y", "write negative wishes into the prompt"),
        ("batch m.csv --seed 1", "the service has no such setting"),
        ("edit a.mp4 --prompts x", "PROMPT needs no option: `omniedit edit a.mp4 x`"),
        ("edit --prompts x a.mp4", 'PROMPT needs no option: `omniedit edit VIDEO "PROMPT"`'),
        ("edit --input-file a.mp4", 'VIDEO needs no option: `omniedit edit a.mp4 "PROMPT"`'),
        ("edit a.mp4 x --output-dir y", "a folder ends in `/`: `-o FOLDER/`"),
    ],
)
def test_what_only_other_tools_have_gets_a_hint_at_what_replaces_it(
    capsys: pytest.CaptureFixture[str], line: str, hint: str
) -> None:
    status = main.run(line.split(), {})

    assert (status, capsys.readouterr().err.splitlines()[-1]) == (2, f"hint: {hint}")


@pytest.mark.parametrize("line", ["probe --vdeo a.mp4", "batch --source x", "submit a x --compt"])
def test_the_name_of_an_argument_is_never_suggested_as_an_option(
    capsys: pytest.CaptureFixture[str], line: str
) -> None:
    main.run(line.split(), {})

    assert "did you mean" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "argv",
    [
        pytest.param(["--model", "-x y"], id="value-of-an-option"),
        pytest.param(["--", "-x y"], id="after-the-dashes"),
    ],
)
def test_only_words_in_option_position_are_taken_for_a_prompt(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, argv: list[str]
) -> None:
    main.run(["--sandbox", "edit", "no.mp4", *argv], {"OMNIEDIT_STATE_DIR": str(tmp_path)})

    assert "no such option" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "pasteable"),
    [
        pytest.param(
            ["edit", "my", "clip.mp4", "make it night"],
            "edit 'my clip.mp4' 'make it night'",
            id="with-a-prompt",
        ),
        pytest.param(["probe", "my", "clip.mp4"], "probe 'my clip.mp4'", id="without-a-prompt"),
        pytest.param(
            ["submit", "my", "clip.mp4", "x" * 5000],
            f"submit 'my clip.mp4' {'x' * 5000}",
            id="with-a-prompt-too-long-for-a-file-name",
        ),
        pytest.param(
            ["edit", "my", "clip.mp4", "warm", "--max-credits", "5"], None, id="with-an-option"
        ),
    ],
)
def test_a_file_name_with_spaces_gets_a_hint_to_quote_it(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    argv: list[str],
    pasteable: str | None,
) -> None:
    (tmp_path / "my clip.mp4").touch()
    monkeypatch.chdir(tmp_path)

    status = main.run(argv, {})

    last_line = capsys.readouterr().err.splitlines()[-1]
    assert status == 2
    # A hint must not spell out a command that drops the limit.
    shown = "'my clip.mp4'" if pasteable is None else f"`omniedit {pasteable}`"
    assert last_line == f"hint: put the file name in quotes: {shown}"


def test_yes_is_never_suggested_for_a_typo(capsys: pytest.CaptureFixture[str]) -> None:
    main.run(["edit", "a.mp4", "x", "--takes", "3"], {})

    assert "--yes" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "pasteable"),
    [
        pytest.param("a.mp4 b.mp4 warm", "batch a.mp4 b.mp4 --prompt warm", id="one-word-prompt"),
        pytest.param(
            "a.mp4 b.mp4 c.mp4", 'batch a.mp4 b.mp4 c.mp4 --prompt "PROMPT"', id="no-prompt"
        ),
        pytest.param("a.mp4 b.mp4 warm light", 'batch CLIP… --prompt "PROMPT"', id="several-words"),
        pytest.param(
            "--again a.mp4 b.mp4 warm --max-credits 5",
            'batch CLIP… --prompt "PROMPT"',
            id="with-options",
        ),
    ],
)
def test_several_clips_get_a_hint_to_use_batch(
    capsys: pytest.CaptureFixture[str], line: str, pasteable: str
) -> None:
    status = main.run(["edit", *line.split()], {})

    last_line = capsys.readouterr().err.splitlines()[-1]
    assert (status, last_line) == (
        2,
        f"hint: to edit several clips with the same prompt: `omniedit {pasteable}`",
    )
