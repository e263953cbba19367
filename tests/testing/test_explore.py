"""Exploring a small model whose states can be counted by hand."""

from collections.abc import Iterator

import pytest

from trio_driver.testing import explore as module
from trio_driver.testing.explore import TooManyStatesError, explore


def two_counters(state: tuple[int, int]) -> Iterator[tuple[str, tuple[int, int]]]:
    """Each of two counters goes up to 3."""
    left, right = state
    if left < 3:
        yield "left", (left + 1, right)
    if right < 3:
        yield "right", (left, right + 1)


def is_square(state: tuple[int, int]) -> str | None:
    return "both are two" if state == (2, 2) else None


def is_far(state: tuple[int, int]) -> str | None:
    return "one is three" if 3 in state else None


def test_every_state_is_visited_once() -> None:
    found = explore((0, 0), two_counters, [])
    assert (found.states, found.moves, found.violations) == (16, 24, ())


def test_a_bad_state_is_told_with_a_shortest_way_to_it() -> None:
    found = explore((0, 0), two_counters, [is_square, is_far])
    far, square = found.violations
    assert (far.what, len(far.steps)) == ("one is three", 3)
    assert (square.what, len(square.steps)) == ("both are two", 4)
    assert str(far).startswith("one is three, after\n  1 ")


def test_a_model_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_STATES", 100)
    with pytest.raises(TooManyStatesError, match="100"):
        explore(0, lambda state: [("on", state + 1)], [])
