"""The start window: SIGKILL of the plugin at random while tasks start.

No task may run twice, and nothing may be left. Two runs of one task would be found by the task
itself: each run holds a lock for as long as a process of it lives.
TRIO_DRIVER_START_KILLS is the number of kills; TRIO_DRIVER_SEED repeats the moments of a run.
"""

import os
import random
import time
from functools import partial

import pytest
import trio

from .footprint import Counts, Footprint, Role
from .installation import ours_only
from .jobs import Allocation, Job, run_job
from .nomad import Agent
from .waiting import (
    LOOK_AGAIN_S,
    eventually,
    file_holds,
    kill_hard,
    wait_ended,
    wait_first,
    within,
)

pytestmark = ours_only

KILLS = int(os.environ.get("TRIO_DRIVER_START_KILLS", "10"))

KILLS_A_ROUND = 10

WINDOW_TASKS = 3

STORM_S = 6.0

STORM_TASKS = 25

STORM_ENDS_S = 120.0
"""Nomad waits 10 s before it replaces a failed allocation, and delays restarts."""


@pytest.fixture
def chance() -> random.Random:
    """Random numbers whose seed is in the output of a failed test."""
    seed = int(os.environ.get("TRIO_DRIVER_SEED", time.time_ns() & 0xFFFFFF))
    print(f"TRIO_DRIVER_SEED={seed}")
    return random.Random(seed)


def _assert_none_ran_twice(agent: Agent) -> None:
    twice = agent.marks_dir / "twice"
    assert not twice.exists(), f"two runs at the same time: {twice.read_text()}"


async def _kill_plugin(footprint: Footprint) -> None:
    plugins = await eventually(
        lambda: footprint.look()[Role.PLUGIN], "a plugin", shown=footprint.listing
    )
    for plugin in plugins:
        await kill_hard(plugin.pid)


async def test_no_task_runs_twice_while_the_plugin_is_killed_all_the_time(
    own_agent: Agent, own_footprint: Footprint, chance: random.Random
) -> None:
    own_footprint.records_may_stay = True
    job = await run_job(own_agent, "never_twice", marks=str(own_agent.marks_dir), count=STORM_TASKS)
    # An agent whose plugin is dead when it is given an allocation tells the server that it failed,
    # and starts it later all the same: Nomad then never stops it. So all are given first.
    await own_agent.wait_log("type=Received", count=STORM_TASKS)
    with trio.move_on_after(STORM_S):
        while True:
            # The one wait for a length of time: the moment of the kill is what is tried.
            await trio.sleep(chance.uniform(0.05, 0.8))
            await _kill_plugin(own_footprint)
    _assert_none_ran_twice(own_agent)
    # Nomad gives tasks up whose plugin dies twice, and replaces them when the storm is over.
    await _wait_settled(own_footprint, job)
    print(f"{len(_starts(own_agent))} starts of {STORM_TASKS} tasks")
    _assert_none_ran_twice(own_agent)


async def _wait_settled(footprint: Footprint, job: Job) -> None:
    """Wait until all tasks run, and there is one executor for each that Nomad has as running."""
    running = 0

    def shown() -> str:
        return f"{running} running for Nomad, {footprint.counts()}\n{footprint.listing()}"

    async with within(STORM_ENDS_S, f"{STORM_TASKS} tasks of one run each", shown):
        while True:
            running = await job.running()
            if running >= STORM_TASKS and footprint.counts() == Counts(1, 1, running, running):
                if running == await job.running():
                    return
            await trio.sleep(LOOK_AGAIN_S * 10)


@pytest.mark.parametrize("first", range(0, KILLS, KILLS_A_ROUND))
async def test_a_plugin_killed_during_start_task_leaves_one_run_of_each_task(
    own_agent: Agent, own_footprint: Footprint, chance: random.Random, first: int
) -> None:
    job = await run_job(
        own_agent, "never_twice", marks=str(own_agent.marks_dir), count=WINDOW_TASKS
    )
    allocations = await job.allocations(WINDOW_TASKS)
    for each in allocations:
        await each.when_running()
    window_s = 1.5 * await _restart_all(own_agent, own_footprint, allocations)
    for kills in range(1, 1 + min(KILLS_A_ROUND, KILLS - first)):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_restart_all, own_agent, own_footprint, allocations)
            await _first_end(own_footprint)
            await trio.sleep(chance.uniform(0, window_s))
            await _kill_plugin(own_footprint)
            nursery.cancel_scope.cancel()
        await own_agent.wait_log("using plugin: driver=trio", count=kills + 1)
        await own_agent.wait_log_lines(partial(_all_are_owned, allocations))
        await own_footprint.becomes(Counts(1, 1, executors=WINDOW_TASKS, workloads=WINDOW_TASKS))
        _assert_none_ran_twice(own_agent)
    print(f"{len(_starts(own_agent))} starts, window {window_s:.3f} s")


def _all_are_owned(allocations: list[Allocation], lines: list[str]) -> bool:
    """Whether the last that the agent wrote of each task is that it runs, and that it is watched.

    A task that is restarted before its agent has recovered it from a plugin's death is not started.
    """
    ends = ("type=Started", "successfully recovered")
    words = (*ends, "type=Terminated", "type=Restarting", "attempting to recover")
    for each in allocations:
        mine = [line for line in lines if each.id in line and any(word in line for word in words)]
        if not mine or not any(word in mine[-1] for word in ends):
            return False
    return True


def _starts(agent: Agent) -> list[str]:
    path = agent.marks_dir / "starts"
    return path.read_text().splitlines() if path.exists() else []


async def _first_end(footprint: Footprint) -> None:
    """Wait until the first workload has ended: its next StartTask follows."""
    async with trio.open_nursery() as nursery:
        for workload in footprint.look()[Role.WORKLOAD]:
            nursery.start_soon(wait_first, partial(wait_ended, workload.pid), nursery.cancel_scope)


async def _restart_all(agent: Agent, footprint: Footprint, allocations: list[Allocation]) -> float:
    """Have Nomad restart all tasks at once.

    Returns:
        The seconds from the first task's end to the last one's next start.
    """
    before = len(_starts(agent))
    async with trio.open_nursery() as nursery:
        for each in allocations:
            nursery.start_soon(each.restart)
        await _first_end(footprint)
        ended_at_s = trio.current_time()
        await file_holds(
            agent.marks_dir / "starts",
            lambda _: len(_starts(agent)) >= before + len(allocations),
            "all started",
        )
        started_at_s = trio.current_time()
    return started_at_s - ended_at_s
