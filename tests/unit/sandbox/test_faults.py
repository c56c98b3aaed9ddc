"""Markers: what they parse to, and what a malformed one says."""

from __future__ import annotations

import pytest

from omniedit.sandbox.faults import MARKERS, Faults, Marker, MarkerError, parse_markers


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        pytest.param("warmer", Faults(), id="none"),
        pytest.param("a [b] [sand:box]", Faults(), id="other-brackets-are-text"),
        pytest.param(
            "[sandbox:fail=service_error]", Faults(fail_code="service_error"), id="fail-has-code"
        ),
        pytest.param("[sandbox:cancel]", Faults(is_cancelled=True), id="cancel"),
        pytest.param("[sandbox:http=429]", Faults(http_status=429), id="http-is-for-ever"),
        pytest.param(
            "[sandbox:http=503*2]", Faults(http_status=503, http_refusals=2), id="http-counted"
        ),
        pytest.param("[sandbox:seconds=0.5]", Faults(seconds=0.5), id="seconds-may-be-fractions"),
        pytest.param("[SANDBOX:Stall]", Faults(is_stalled=True), id="case-does-not-matter"),
        pytest.param("x[sandbox:expired]y", Faults(link_is_dead=True), id="inside-a-word"),
        pytest.param(
            "[sandbox:cut][sandbox:seconds=1] [sandbox:lost-reply]",
            Faults(download_is_cut=True, seconds=1.0, reply_is_lost=True),
            id="several-combine",
        ),
    ],
)
def test_markers_are_read(prompt: str, expected: Faults) -> None:
    assert parse_markers(prompt) == expected


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        pytest.param("[sandbox:boom]", "unknown marker `[sandbox:boom]`", id="unknown"),
        pytest.param("[sandbox:]", "unknown marker", id="empty"),
        pytest.param("[sandbox:stall", "unknown marker", id="unclosed"),
        pytest.param("[sandbox:fail]", "unknown marker", id="value-missing"),
        pytest.param("[sandbox:stall=1]", "unknown marker", id="value-too-many"),
        pytest.param("[sandbox:fail=a b]", "no error code", id="code-with-space"),
        pytest.param("[sandbox:http=200]", "no status", id="http-success"),
        pytest.param("[sandbox:http=429*0]", "no status", id="http-never"),
        pytest.param("[sandbox:seconds=-1]", "no number", id="seconds-negative"),
        pytest.param("[sandbox:seconds=nan]", "no number", id="seconds-nan"),
        pytest.param("[sandbox:seconds=soon]", "no number", id="seconds-words"),
        pytest.param("[sandbox:cut][sandbox:cut]", "given twice", id="twice"),
        pytest.param("[sandbox:stall][sandbox:cancel]", "exclude each other", id="two-ends"),
    ],
)
def test_a_marker_that_cannot_be_followed_is_named(prompt: str, said: str) -> None:
    with pytest.raises(MarkerError) as caught:
        parse_markers(prompt)

    assert said in str(caught.value)


def test_unknown_markers_are_answered_with_the_known_ones() -> None:
    with pytest.raises(MarkerError) as caught:
        parse_markers("[sandbox:boom]")

    assert all(marker.usage in str(caught.value) for marker in MARKERS)


@pytest.mark.parametrize("marker", MARKERS, ids=lambda marker: marker.name)
def test_every_listed_marker_is_understood_as_it_is_listed(marker: Marker) -> None:
    usage = marker.usage.partition(" or ")[0].replace("CODE", "service_error")

    assert parse_markers(usage) != Faults()
