"""The model of a task's lifetime: sound as it is, and unsound without any one of its mechanisms."""

import subprocess
import sys

import pytest

from trio_driver.testing.explore import explore
from trio_driver.testing.lifecycle import INVARIANTS, check, moves
from trio_driver.testing.lifecycle_state import ALL, Mechanism, State

HOSTS = pytest.mark.parametrize("has_cgroups", [True, False], ids=["cgroups", "no-cgroups"])


@HOSTS
def test_with_all_mechanisms_the_promise_is_kept_in_every_state(has_cgroups: bool) -> None:
    found = check(has_cgroups=has_cgroups)
    assert found.violations == ()
    assert found.states > 5_000, "the model has lost its faults"


@pytest.mark.parametrize("mechanism", list(Mechanism), ids=lambda each: each.value)
def test_without_any_one_mechanism_there_is_a_way_to_break_it(mechanism: Mechanism) -> None:
    found = [
        violation
        for has_cgroups in (True, False)
        for violation in check(ALL - {mechanism}, has_cgroups=has_cgroups).violations
    ]
    assert found, mechanism
    for violation in found:
        state = State(violation.state.has_cgroups, ALL - {mechanism})
        for step in violation.steps:
            state = dict(moves(state))[step]
        assert state == violation.state, "the way that is told leads there"
        assert violation.what in {invariant(state) for invariant in INVARIANTS}


def a_stray_is_left(state: State) -> str | None:
    """What the notes call the one limit: nobody that could find a stray lives, or will."""
    for index, run in enumerate(state.runs):
        if run.stray and not run.executor_lives and not state.can_find_workload(index):
            return "a stray is left"
    return None


def test_without_cgroups_a_stray_is_left_when_its_spawner_and_its_executor_are_killed() -> None:
    (limit,) = explore(State(False, ALL), moves, [a_stray_is_left]).violations
    kills = [step for step in limit.steps if step.startswith("SIGKILL")]
    assert kills == ["SIGKILL: the spawner", "SIGKILL: executor 0"]


def test_with_cgroups_no_stray_is_left() -> None:
    assert explore(State(True, ALL), moves, [a_stray_is_left]).violations == ()


def test_the_command_prints_the_way_and_fails() -> None:
    command = [sys.executable, "-m", "trio_driver.testing.lifecycle", "--without", "fence"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "two runs of the task live, after" in done.stdout
    assert "takes the fence" in done.stdout
