"""Durations as Go writes them."""

from __future__ import annotations

import pytest

from trio_driver.hcl.duration import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("1h30m", 5400),
        ("1.5h", 5400),
        ("250ms", 0.25),
        ("1h1m1s1ms1us1ns", 3661.001001001),
        ("1µs", 1e-6),
        ("1μs", 1e-6),
        (".5s", 0.5),
        ("5.s", 5),
        ("+5s", 5),
        ("0", 0),
    ],
)
def test_a_duration_is_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds, rel=1e-12)


@pytest.mark.parametrize(
    "text",
    ["", "90", "s", "1", "-1s", "1 s", " 1s", "1s ", "1d", "1S", "1s-1s", "٣s", ".s", "1e3s"],
)
def test_what_is_not_a_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_duration(text)


def test_a_duration_that_no_float_holds_is_refused() -> None:
    with pytest.raises(ValueError):
        parse_duration(f"{'9' * 400}s")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (5, "5s"), (90.0, "90s"), (0.25, "0.25s"), (1e-9, "0.000000001s")],
)
def test_a_duration_is_written_with_the_unit_s(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text
    assert parse_duration(text) == seconds
