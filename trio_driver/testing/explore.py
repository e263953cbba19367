"""Exploring a model completely: every state that it can come to, and the shortest way to a bad one.

    for violation in explore(start, moves, invariants):
        print(violation)

A state is a frozen value. `moves` yields what can happen in it, each with a name and the state that
follows; `invariants` are functions of a state that say what is wrong, or nothing.
"""

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

StateT = TypeVar("StateT", bound=Hashable)

MOST_STATES = 2_000_000
"""A model with more has a counter that should not be in it."""


class TooManyStatesError(Exception):
    """The model has more than `MOST_STATES` states."""


@dataclass(frozen=True, slots=True)
class Violation(Generic[StateT]):
    """A state that must not be, and the shortest way to it."""

    what: str
    state: StateT
    steps: tuple[str, ...]

    def __str__(self) -> str:
        lines = [f"{number:3} {step}" for number, step in enumerate(self.steps, 1)]
        return "\n".join([f"{self.what}, after", *lines])


@dataclass(frozen=True, slots=True)
class Exploration(Generic[StateT]):
    """All that was found."""

    states: int
    """How many there are."""
    moves: int
    """How many ways from one to another."""
    violations: tuple[Violation[StateT], ...]
    """The first of each kind."""


def explore(
    start: StateT,
    moves: Callable[[StateT], Iterable[tuple[str, StateT]]],
    invariants: Sequence[Callable[[StateT], str | None]],
) -> Exploration[StateT]:
    """Visit every state that can be reached from `start`, nearest first.

    Raises:
        TooManyStatesError: the model has more than `MOST_STATES` states.
    """
    came_from: dict[StateT, tuple[StateT, str] | None] = {start: None}
    waiting = deque([start])
    found: dict[str, Violation[StateT]] = {}
    count = 0
    while waiting:
        state = waiting.popleft()
        for invariant in invariants:
            what = invariant(state)
            if what is not None and what not in found:
                found[what] = Violation(what, state, _way_to(state, came_from))
        for name, following in moves(state):
            count += 1
            if following not in came_from:
                came_from[following] = (state, name)
                waiting.append(following)
        if len(came_from) > MOST_STATES:
            raise TooManyStatesError(f"more than {MOST_STATES} states")
    return Exploration(len(came_from), count, tuple(found.values()))


def _way_to(state: StateT, came_from: dict[StateT, tuple[StateT, str] | None]) -> tuple[str, ...]:
    steps: list[str] = []
    while (origin := came_from[state]) is not None:
        state, name = origin
        steps.append(name)
    return tuple(reversed(steps))
