import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omniedit.terminal.sanitize import sanitize
from omniedit.terminal.text import Colour, Span, cell_width, plain_text, truncate, wrapped

_NASTY = st.sampled_from(
    "\x00\x07\x1b\x7f\x85\x9b\u061c\u200b\u200d\u200e\u202e\u2028\u2066\ufeff\udc9b\ud800\U000e0041\n"
)


@given(st.text(st.one_of(_NASTY, st.characters())))
def test_nothing_that_acts_on_a_terminal_survives(text: str) -> None:
    harmless = sanitize(text)

    assert not {unicodedata.category(c) for c in harmless} & {"Cc", "Cf", "Cs", "Zl", "Zp"}


@given(st.text(st.one_of(_NASTY, st.characters())))
def test_harmless_text_stays_as_it_is(text: str) -> None:
    once = sanitize(text)

    assert sanitize(once) == once


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("把天空变成傍晚, café", "把天空变成傍晚, café", id="letters-stay"),
        pytest.param("[bold]x[/bold]", "[bold]x[/bold]", id="markup-is-text"),
        pytest.param("\x1b[31mred", "\\x1b[31mred", id="escape-is-shown-not-obeyed"),
        pytest.param("\x9b31mred", "\\x9b31mred", id="c1-control-too"),
        pytest.param("one\r\n  two\u2028three\n", "one two three", id="lines-are-folded"),
        pytest.param("a\tb", "a b", id="tab-is-a-space"),
        pytest.param("ab\u202ecd\u2069", "abcd", id="bidi-controls-go"),
        pytest.param("ab\u200b\u200d\ufeffcd", "abcd", id="zero-width-goes"),
        pytest.param("caf\udce9.mp4", "caf\\xe9.mp4", id="undecodable-byte-is-shown"),
        pytest.param("x\ud800y", "x\N{REPLACEMENT CHARACTER}y", id="lone-surrogate"),
    ],
)
def test_made_harmless(text: str, expected: str) -> None:
    assert sanitize(text) == expected


@given(st.text(st.characters(categories=["L", "N"])), st.integers(0, 30))
def test_cut_text_fits(text: str, width: int) -> None:
    assert cell_width(truncate(text, width)) <= width
    assert cell_width(truncate(text, width, keeps_end=True)) <= width


def test_cutting_counts_cells_not_characters() -> None:
    assert truncate("把天空变成傍晚", 7) == "把天空…"
    assert truncate("把天空变成傍晚", 7, keeps_end=True) == "…成傍晚"


@given(st.text(st.characters(categories=["L", "N", "Zs"])), st.integers(4, 30))
def test_wrapped_text_loses_nothing_but_spaces(text: str, width: int) -> None:
    line = [Span("note:", Colour.CYAN), Span(" "), Span(text)]

    lines = [plain_text(each) for each in wrapped(line, width)]

    assert "".join("".join(lines).split()) == "".join(f"note: {text}".split())
    assert all(cell_width(each.rstrip()) <= width or len(each.split()) == 1 for each in lines)
