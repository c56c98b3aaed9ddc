"""Markers are parsed, and malformed ones are reported."""

from __future__ import annotations

import pytest

from omniedit.sandbox.faults import (
    MARKERS,
    Faults,
    Marker,
    MarkerError,
    parse_markers,
    refused_status,
)


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        pytest.param("warmer", {}, id="no-marker"),
        pytest.param("a [b] [sand:box]", {}, id="other-brackets-are-text"),
        pytest.param("[sandbox:fail=service_error]", {"fail": "service_error"}, id="fail-has-code"),
        pytest.param("[sandbox:cancel]", {"cancel": ""}, id="cancel"),
        pytest.param("[sandbox:empty]", {"empty": ""}, id="empty"),
        pytest.param("[sandbox:retired]", {"retired": ""}, id="retired"),
        pytest.param("[sandbox:as-served]", {"as-served": ""}, id="as-served"),
        pytest.param("[sandbox:http=503*2]", {"http": "503*2"}, id="http-counted"),
        pytest.param("[sandbox:seconds=0.5]", {"seconds": "0.5"}, id="seconds-may-be-fractions"),
        pytest.param("[SANDBOX:Stall]", {"stall": ""}, id="case-does-not-matter"),
        pytest.param("x[sandbox:expired]y", {"expired": ""}, id="inside-a-word"),
        pytest.param(
            "[sandbox:cut][sandbox:seconds=1] [sandbox:lost-reply]",
            {"cut": "", "seconds": "1", "lost-reply": ""},
            id="several-combine",
        ),
    ],
)
def test_markers_are_parsed(prompt: str, expected: Faults) -> None:
    assert parse_markers(prompt) == expected


@pytest.mark.parametrize(
    ("prompt", "refusals"),
    [
        pytest.param("warmer", [None, None, None], id="no-marker"),
        pytest.param("[sandbox:http=429]", [429, 429, 429], id="no-count-refuses-always"),
        pytest.param("[sandbox:http=503*2]", [503, 503, None], id="count-of-two"),
    ],
)
def test_the_http_marker_refuses_by_attempt(prompt: str, refusals: list[int | None]) -> None:
    faults = parse_markers(prompt)

    assert [refused_status(faults, attempt=attempt) for attempt in (1, 2, 3)] == refusals


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        pytest.param("[sandbox:boom]", "unknown marker `[sandbox:boom]`", id="unknown"),
        pytest.param("[sandbox:]", "unknown marker", id="empty"),
        pytest.param("[sandbox:stall", "unknown marker", id="unclosed"),
        pytest.param("[sandbox:fail]", "unknown marker", id="missing-value"),
        pytest.param("[sandbox:stall=1]", "unknown marker", id="unexpected-value"),
        pytest.param("[sandbox:fail=a b]", "invalid value in", id="code-with-space"),
        pytest.param("[sandbox:http=200]", "invalid value in", id="http-success"),
        pytest.param("[sandbox:http=429*0]", "invalid value in", id="http-zero-times"),
        pytest.param("[sandbox:seconds=-1]", "invalid value in", id="seconds-negative"),
        pytest.param("[sandbox:seconds=nan]", "invalid value in", id="seconds-nan"),
        pytest.param("[sandbox:seconds=soon]", "invalid value in", id="seconds-words"),
        pytest.param("[sandbox:cut][sandbox:cut]", "given twice", id="twice"),
        pytest.param("[sandbox:stall][sandbox:cancel]", "exclude each other", id="two-outcomes"),
        pytest.param(
            "[sandbox:empty][sandbox:fail=x]", "exclude each other", id="empty-and-failed"
        ),
    ],
)
def test_an_invalid_marker_is_named(prompt: str, message: str) -> None:
    with pytest.raises(MarkerError) as caught:
        parse_markers(prompt)

    assert message in str(caught.value)


def test_the_error_for_an_unknown_marker_lists_the_known_ones() -> None:
    with pytest.raises(MarkerError) as caught:
        parse_markers("[sandbox:boom]")

    assert all(marker.usage in str(caught.value) for marker in MARKERS)


@pytest.mark.parametrize("marker", MARKERS, ids=lambda marker: marker.name)
def test_every_marker_is_parsed_as_its_usage_shows(marker: Marker) -> None:
    usage = marker.usage.partition(" or ")[0].replace("CODE", "service_error")

    assert [*parse_markers(usage)] == [marker.name]
