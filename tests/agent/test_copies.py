"""How many copies there are, whatever was restarted: a plugin, a spawner, an executor a task."""

import pytest

from .footprint import Counts, Footprint
from .installation import ours_only
from .jobs import run_job
from .nomad import Agent
from .waiting import kill_hard

pytestmark = ours_only

TASKS = 3


async def test_an_agent_that_has_had_no_task_has_one_plugin_and_nothing_else(
    own_footprint: Footprint,
) -> None:
    await own_footprint.becomes(Counts(plugins=1, spawners=0, executors=0, workloads=0))
    assert own_footprint.files_of_tasks() == []


async def test_no_copies_are_left_by_kills_and_restarts(
    own_agent: Agent, own_footprint: Footprint
) -> None:
    jobs = [await run_job(own_agent, "stays") for _ in range(TASKS)]
    allocations = [await job.allocation() for job in jobs]
    pids = [await allocation.first_pid() for allocation in allocations]
    running = Counts(plugins=1, spawners=1, executors=TASKS, workloads=TASKS)
    await own_footprint.becomes(running)

    for kills in range(1, 4):
        await kill_hard(own_footprint.plugin().pid)
        # An agent whose plugin dies again before it has answered gives the tasks up.
        await own_agent.wait_log("task successfully recovered on driver", count=kills * TASKS)
        await own_footprint.becomes(running)
    await own_agent.stop()
    await own_footprint.becomes(Counts(plugins=0, spawners=1, executors=TASKS, workloads=TASKS))
    await own_agent.start()
    await own_footprint.becomes(running)
    await own_agent.kill()
    await own_agent.start()
    await own_footprint.becomes(running)
    plugin = own_footprint.plugin()
    await own_agent.kill()
    await kill_hard(plugin.pid)
    await own_agent.start()
    await own_footprint.becomes(running)

    assert [await allocation.first_pid() for allocation in allocations] == pids
    for job in jobs:
        await job.stop()
    await own_footprint.becomes(Counts(plugins=1, spawners=1, executors=0, workloads=0))


@pytest.mark.parametrize("verb", ["stop", "kill"])
async def test_a_new_task_after_a_restart_uses_the_same_spawner(
    own_agent: Agent, own_footprint: Footprint, verb: str
) -> None:
    await (await (await run_job(own_agent, "stays")).allocation()).first_pid()
    spawner = own_footprint.spawner()
    await (own_agent.stop() if verb == "stop" else own_agent.kill())
    await own_agent.start()
    await (await (await run_job(own_agent, "stays")).allocation()).first_pid()
    assert own_footprint.spawner().identity == spawner.identity
    await own_footprint.becomes(Counts(plugins=1, spawners=1, executors=2, workloads=2))
