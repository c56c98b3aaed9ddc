"""Sanitized, quoted, truncated and wrapped text is safe to show and loses nothing needlessly."""

import io
import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omniedit.sanitize import quoted, sanitize

_NASTY = st.sampled_from(
    "\x00\x07\x1b\x7f\x85\x9b\u061c\u200b\u200d\u200e\u202e\u2028\u2066\ufeff\udc9b\ud800\U000e0041\n"
)


@given(st.text(st.one_of(_NASTY, st.characters())))
def test_no_control_character_survives(text: str) -> None:
    sanitized = sanitize(text)

    assert not {unicodedata.category(c) for c in sanitized} & {"Cc", "Cf", "Cs", "Zl", "Zp"}


@given(st.text(st.one_of(_NASTY, st.characters())))
def test_sanitizing_twice_changes_nothing(text: str) -> None:
    once = sanitize(text)

    assert sanitize(once) == once


@given(st.text(st.one_of(_NASTY, st.sampled_from("`'\\"), st.characters())))
def test_quoted_words_are_sanitized_and_free_of_backquotes(text: str) -> None:
    word = quoted(text)

    assert sanitize(word) == word
    assert "`" not in word


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("把天空变成傍晚, café", "把天空变成傍晚, café", id="letters-are-kept"),
        pytest.param("[bold]x[/bold]", "[bold]x[/bold]", id="markup-is-text"),
        pytest.param("\x1b[31mred", "\\x1b[31mred", id="escape-is-shown-not-obeyed"),
        pytest.param("\x9b31mred", "\\x9b31mred", id="c1-control-too"),
        pytest.param("one\r\n  two\u2028three\n", "one two three", id="lines-are-folded"),
        pytest.param("a\tb", "a b", id="tab-is-a-space"),
        pytest.param("ab\u202ecd\u2069", "abcd", id="bidi-controls-are-removed"),
        pytest.param("ab\u200b\u200d\ufeffcd", "abcd", id="zero-width-is-removed"),
        pytest.param("caf\udce9.mp4", "caf\\xe9.mp4", id="undecodable-byte-is-shown"),
        pytest.param("x\ud800y", "x\N{REPLACEMENT CHARACTER}y", id="lone-surrogate"),
    ],
)
def test_text_is_sanitized(text: str, expected: str) -> None:
    assert sanitize(text) == expected


def test_sanitizing_takes_linear_time() -> None:
    began = time.process_time()

    sanitize("\t" * 20_000 + "\x1b")

    assert time.process_time() - began < 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("plain", "plain", id="plain-word"),
        pytest.param("it's é", """'it'"'"'s é'""", id="printable-text"),
        pytest.param("a\nb\tc\r", r"$'a\nb\tc\r'", id="line-breaks-and-tabs"),
        pytest.param("\x1b[31m", r"$'\033[31m'", id="controls"),
        pytest.param("é\u202e\ufe0f", r"$'é\342\200\256\357\270\217'", id="bidi-and-invisible"),
        pytest.param("it's `x\\n`", r"$'it\047s \140x\\n\140'", id="backquotes"),
        pytest.param("caf\udce9.mp4", r"$'caf\351.mp4'", id="undecodable-byte"),
    ],
)
def test_quoted_words_are_printable(text: str, expected: str) -> None:
    assert quoted(text) == expected


def test_characters_missing_from_the_encoding_are_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))

    assert quoted("café") == r"$'caf\303\251'"
