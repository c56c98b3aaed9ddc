"""The tables of README and the manual, the help texts and the code agree."""

import re

import pytest

from omniedit.cli import exit_codes
from omniedit.cli.commands.help import TOPICS
from omniedit.cli.exit_codes import ExitStatus
from omniedit.edits.doctor import _CERTIFICATE_VARIABLES, _PROXY_VARIABLES
from omniedit.models import CREDITS_PER_DOLLAR, DEFAULT_MODEL, MODELS
from omniedit.sandbox.submissions import MARKERS
from omniedit.settings import Settings
from tests.commandline import CommandLine
from tests.contract.commands import GLOBAL_OPTIONS, every_command, options_of, root_options
from tests.contract.readme import MANUAL, README, ROOT, words_in_code

COMMANDS = every_command()
SOURCES = sorted((ROOT / "omniedit").rglob("*.py"))


def squeezed(text: str) -> str:
    return " ".join(text.split())


def test_the_exit_table_lists_every_status() -> None:
    rows = MANUAL["exit-codes"].table("code", "meaning", "what to do")

    codes = [int(code) for codes, _, _ in rows for code in codes.split(", ")]
    assert sorted(codes) == sorted(ExitStatus)
    assert all(meaning for _, meaning, _ in rows)


def test_readme_names_every_exit_status_of_an_error() -> None:
    section = README.text.partition("\n## Exit status\n")[2].partition("\n## ")[0]

    signals = {ExitStatus.HUNG_UP, ExitStatus.INTERRUPTED, ExitStatus.TERMINATED}
    named = {int(number) for number in re.findall(r"\b\d+\b", section)}
    assert named == {*ExitStatus} - signals - {ExitStatus.BUG}


def test_the_manual_gives_the_precedence_of_exit_statuses() -> None:
    [sentence] = re.findall(
        r"the exit status is the first that applies of ([\d,\s]+)\.", MANUAL["exit-codes"].text
    )

    signals = {ExitStatus.INTERRUPTED, ExitStatus.TERMINATED, ExitStatus.HUNG_UP}
    # A signal ends the command, whatever became of its tasks; the manual lists 130 for every one.
    assert [int(code) for code in sentence.split(",")] == [130, *exit_codes._PRECEDENCE]
    assert {*exit_codes._PRECEDENCE} == {*ExitStatus} - signals - {ExitStatus.DONE}


def test_the_variable_table_lists_every_variable_of_the_code() -> None:
    rows = MANUAL["environment"].table("variable", "meaning")

    named = {word for names, _ in rows for word in words_in_code(names)}
    code = "".join(path.read_text("utf-8") for path in SOURCES)
    own = {*re.findall(r"\b(?:OMNIEDIT|EVOLINK)_[A-Z_]*[A-Z]\b", code)}
    # Some variables are derived from the names of the settings.
    derived = {*re.findall(r'_find\(environ, "([a-z_]+)"', code)}
    assert derived <= {*Settings._fields}
    own |= {f"OMNIEDIT_{name.upper()}" for name in derived}
    assert {name for name in named if name.startswith(("OMNIEDIT", "EVOLINK"))} == own
    assert {*_PROXY_VARIABLES, *_CERTIFICATE_VARIABLES} < named


def test_the_marker_tables_match_the_code() -> None:
    page = MANUAL["sandbox"]
    rows = page.table("marker", "what it does", "exit status of `omniedit edit`")
    seen = page.table("marker", "what a client sees")

    usages = [marker.usage for marker in MARKERS]
    assert [usage.replace("`", "") for usage, _, _ in rows] == usages
    assert [usage.replace("`", "") for usage, _ in seen] == usages


def test_the_price_table_matches_the_estimates() -> None:
    for length, cost, dollars in README.table("clip", "credits", "dollars"):
        estimate = MODELS[DEFAULT_MODEL].estimated_credits(float(length.removesuffix(" s")))
        assert estimate is not None

        assert cost == f"{estimate:.1f}"
        assert dollars == f"${estimate / CREDITS_PER_DOLLAR:.2f}"


def usages(rows: list[list[str]]) -> dict[str, str]:
    """Return the cell that follows each command in a table."""
    return {
        " ".join(word for word in usage.split() if word[0].islower()): row[-1]
        for row in rows
        for usage in words_in_code(row[0])
    }


def test_every_command_and_option_is_in_the_table_of_commands() -> None:
    options = usages(MANUAL["scripting"].table("command", "what it does", "options"))

    documented = {name: words_in_code(cell) for name, cell in options.items()}
    assert documented == {name: options_of(command) for name, command in COMMANDS.items()}


def test_readme_has_a_line_for_every_command() -> None:
    assert {*usages(README.table("command", "what it does"))} == {*COMMANDS}


def test_the_manual_names_every_global_option() -> None:
    for option in {*GLOBAL_OPTIONS, *root_options()} - {"--version/-V"}:
        assert option.split("/")[0] in MANUAL["scripting"].text


def test_readme_is_short_and_links_every_page() -> None:
    assert len(README.text.splitlines()) <= 200
    for topic in TOPICS:
        assert f"/omniedit/manual/{topic}.md)" in README.text


@pytest.mark.parametrize("name", COMMANDS)
def test_help_describes_a_command_and_each_option(name: str) -> None:
    command = COMMANDS[name]

    assert command.help.strip()
    for param in command.params:
        lacks_help = param.param_type_name == "option" and not param.help
        assert not lacks_help, f"{param.name} has no help"
    if name in {"submit", "edit"}:
        assert "`-` reads it from stdin" in squeezed(
            " ".join(str(getattr(param, "help", "")) for param in command.params)
        )


def test_submit_help_has_the_services_two_tips() -> None:
    text = squeezed(COMMANDS["submit"].help)

    assert "name what must stay unchanged" in text
    assert "negative wishes into the prompt" in text


def test_every_page_of_the_manual_is_a_topic(omniedit: CommandLine) -> None:
    listed = omniedit("help")

    assert {*TOPICS} == {*MANUAL}
    assert (listed.status, listed.stderr) == (0, "")
    assert [line.split()[2] for line in listed.stdout.splitlines()] == [*TOPICS]


@pytest.mark.parametrize("topic", TOPICS)
def test_help_prints_a_page_verbatim_into_a_pipe(omniedit: CommandLine, topic: str) -> None:
    ended = omniedit("help", topic)

    assert (ended.status, ended.stderr) == (0, "")
    assert ended.stdout == MANUAL[topic].text


def test_the_document_of_help_contains_the_page(omniedit: CommandLine) -> None:
    document = omniedit("--json", "help", "ci").document

    assert (document["topic"], document["topics"]) == ("ci", [*TOPICS])
    assert document["text"] == MANUAL["ci"].text.rstrip("\n")


@pytest.mark.parametrize("topic", sorted({*TOPICS} & {name.split()[0] for name in COMMANDS}))
def test_a_topic_named_like_a_command_mentions_its_help(topic: str) -> None:
    assert f"`omniedit {topic} --help`" in MANUAL[topic].text


@pytest.mark.parametrize("name", MANUAL)
def test_links_between_pages_resolve(name: str) -> None:
    for page in re.findall(r"\]\(([^)]+)\)", MANUAL[name].text):
        assert page.removesuffix(".md") in {*MANUAL} - {name}


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


@pytest.mark.parametrize("columns", ["40", "60", "100"])
def test_help_fits_the_terminal(omniedit: CommandLine, columns: str) -> None:
    ended = omniedit("edit", "--help", COLUMNS=columns)

    page = ended.stdout.partition("\nExamples:\n")[0]
    assert max(map(len, page.splitlines())) <= int(columns)


@pytest.mark.parametrize("name", ["", "config", "journal", "sandbox"])
def test_no_summary_in_a_list_of_commands_is_cut_off(omniedit: CommandLine, name: str) -> None:
    page = omniedit(*name.split(), "--help").stdout

    assert "...\n" not in page.partition("\nCommands:\n")[2]


def test_help_on_a_command_is_its_help_page(omniedit: CommandLine) -> None:
    assert omniedit("help", "edit").stdout == omniedit("edit", "--help").stdout


def test_ls_is_an_alias_of_list(omniedit: CommandLine) -> None:
    listed, other = omniedit("list", "--limit", "0"), omniedit("ls", "--limit", "0")

    assert (other.status, other.stderr) == (listed.status, listed.stderr) != (0, "")


def test_the_agents_page_is_a_short_skill_whose_options_exist() -> None:
    text = MANUAL["agents"].text
    known = {*GLOBAL_OPTIONS, "--help"}
    for command in COMMANDS.values():
        known |= {name for option in options_of(command) for name in option.split("/")}

    assert len(text) < 6000
    assert re.match(r"---\nname: omniedit\ndescription: [^\n]+\n---\n\n# ", text)
    assert {*re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)} <= known
