"""README's tables, the help texts and the code say the same."""

import re

import pytest

from omniedit.cli import exit_codes
from omniedit.cli.commands.help import VARIABLES
from omniedit.cli.exit_codes import MEANINGS, ExitStatus
from omniedit.sandbox import MARKERS
from tests.commandline import CommandLine
from tests.contract import readme
from tests.contract.commands import GLOBAL_OPTIONS, every_command, options_of, root_options

COMMANDS = every_command()


def squeezed(text: str) -> str:
    return " ".join(text.split())


def test_the_exit_table() -> None:
    rows = readme.table("code", "meaning", "a script then")

    assert rows == [[code, *words] for code, words in MEANINGS.items()]
    codes = [int(code) for codes in MEANINGS for code in codes.split(", ")]
    assert sorted(codes) == sorted(ExitStatus)


def test_the_precedence_of_exit_statuses() -> None:
    [sentence] = re.findall(r"the first that applies of ([\d,\s]+) counts", readme.TEXT)

    signals = {ExitStatus.TERMINATED, ExitStatus.HUNG_UP}  # they end a command, as 130 does
    order = [status for status in exit_codes._PRECEDENCE if status not in signals]
    assert [int(code) for code in sentence.split(",")] == order
    assert {*order} == {*ExitStatus} - signals - {ExitStatus.DONE}


def test_the_table_of_variables() -> None:
    rows = readme.table("variable", "meaning")

    assert [(", ".join(readme.words_in_code(names)), meaning) for names, meaning in rows] == [
        *VARIABLES.items()
    ]


def test_the_table_of_markers() -> None:
    rows = readme.table("marker", "what it does", "`omniedit edit` then")

    assert [(usage.replace("`", ""), does) for usage, does, _ in rows] == [
        (marker.usage, marker.does) for marker in MARKERS
    ]


def test_every_command_and_option_is_in_the_table_of_commands() -> None:
    documented: dict[str, list[str]] = {}
    for names, _, options in readme.table("command", "does", "options"):
        for usage in readme.words_in_code(names):
            name = " ".join(word for word in usage.split() if word[0].islower())
            documented[name] = readme.words_in_code(options)

    assert documented == {name: options_of(command) for name, command in COMMANDS.items()}


def test_the_options_of_every_command_are_named() -> None:
    for option in {*GLOBAL_OPTIONS, *root_options()} - {"--version/-V"}:
        assert option.split("/")[0] in readme.TEXT


@pytest.mark.parametrize("name", COMMANDS)
def test_help_says_what_a_command_does_and_what_each_option_means(name: str) -> None:
    command = COMMANDS[name]

    assert command.help.strip()
    for param in command.params:
        is_mute = param.param_type_name == "option" and not param.help
        assert not is_mute, f"{param.name} has no help"
    if name in {"submit", "edit"}:
        assert "`-` reads it from stdin" in squeezed(
            " ".join(str(getattr(param, "help", "")) for param in command.params)
        )


def test_submit_carries_the_services_two_tips() -> None:
    text = squeezed(COMMANDS["submit"].help)

    assert "name what must stay unchanged" in text
    assert "negative wishes into the prompt" in text


@pytest.mark.parametrize("topic", ["exit-codes", "environment", "sandbox"])
def test_help_prints_the_tables(omniedit: CommandLine, topic: str) -> None:
    ended = omniedit("help", topic)

    shown = squeezed(ended.stdout)
    expected = {
        "exit-codes": [word for code, words in MEANINGS.items() for word in (code, *words)],
        "environment": [word for row in VARIABLES.items() for word in row],
        "sandbox": [word for marker in MARKERS for word in (marker.usage, marker.does)],
    }
    assert (ended.status, ended.stderr) == (0, "")
    for words in expected[topic]:
        assert squeezed(words) in shown


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_help_is_short_and_plain(omniedit: CommandLine, name: str) -> None:
    ended = omniedit(*name.split(), "--help", COLUMNS="80")

    assert (ended.status, ended.stderr) == (0, "")
    assert f"omniedit {name}".strip() in ended.stdout
    lines = ended.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) <= 60
    assert not re.search(r"\[default|<.* range>|\x1b", ended.stdout)


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_help_ends_with_examples_of_the_command(omniedit: CommandLine, name: str) -> None:
    ended = omniedit(*name.split(), "--help", COLUMNS="80")

    examples = ended.stdout.partition("\nExamples:\n")[2].splitlines()
    assert 1 <= len(examples) <= 2
    for example in examples:
        assert f"omniedit {name}".strip() in example


@pytest.mark.parametrize("columns", ["60", "100"])
def test_help_fits_the_terminal(omniedit: CommandLine, columns: str) -> None:
    ended = omniedit("edit", "--help", COLUMNS=columns)

    page = ended.stdout.partition("\nExamples:\n")[0]
    assert max(map(len, page.splitlines())) <= int(columns)


def test_help_on_a_command_is_its_help_page(omniedit: CommandLine) -> None:
    assert omniedit("help", "edit").stdout == omniedit("edit", "--help").stdout


def test_ls_is_list(omniedit: CommandLine) -> None:
    listed, other = omniedit("list", "--limit", "0"), omniedit("ls", "--limit", "0")

    assert (other.status, other.stderr) == (listed.status, listed.stderr) != (0, "")
