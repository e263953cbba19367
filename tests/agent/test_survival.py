"""Who survives whom, with a real agent: restarts and SIGKILLs of agent, plugin and executor."""

import errno
import os
import signal
from pathlib import Path

from .footprint import Counts, Footprint, read_process
from .installation import ours_only
from .jobs import Allocation, run_job, run_with
from .nomad import Agent
from .waiting import eventually, kill_hard, wait_ended


async def _waiting_task(agent: Agent) -> tuple[Allocation, int]:
    """A task that waits for its `go` file, and its pid."""
    allocation = await run_with(agent, "waits_for_go")
    return allocation, await allocation.first_pid()


async def _go(allocation: Allocation, pid: int) -> None:
    """Let the task end by itself, with code 7."""
    pipe = allocation.local_file("go")
    await eventually(lambda: _is_opened(pipe), "the task to read its pipe", shown=pipe.exists)
    await wait_ended(pid)


def _is_opened(pipe: Path) -> bool:
    try:
        os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
    except OSError as error:
        if error.errno == errno.ENXIO:  # nobody reads it yet
            return False
        raise
    return True


async def _assert_undisturbed(allocation: Allocation, pid: int) -> None:
    """The task lives, and then ends with its own code, never signalled, with all its output."""
    process = read_process(pid)
    assert process is not None, "the task's process is gone"
    assert process.state != "Z"
    await _go(allocation, pid)
    await _assert_true_exit(allocation, pid)


async def _assert_true_exit(allocation: Allocation, pid: int) -> None:
    state = await allocation.when_dead()
    (terminated,) = state.of_type("Terminated")
    assert terminated.detail("exit_code") == "7"
    assert state.restarts == 0
    assert len(state.of_type("Started")) == 1
    assert await allocation.output(until=b"went\n") == b"%d\nwent\n" % pid


async def test_a_task_survives_the_agents_restart(own_agent: Agent) -> None:
    allocation, pid = await _waiting_task(own_agent)
    await own_agent.stop()
    await own_agent.start()
    await _assert_undisturbed(allocation, pid)


async def test_a_task_survives_the_agents_sigkill(own_agent: Agent) -> None:
    allocation, pid = await _waiting_task(own_agent)
    await own_agent.kill()
    await own_agent.start()
    await _assert_undisturbed(allocation, pid)


@ours_only
async def test_a_task_survives_the_plugins_sigkill(
    own_agent: Agent, own_footprint: Footprint
) -> None:
    allocation, pid = await _waiting_task(own_agent)
    await kill_hard(own_footprint.plugin().pid)
    await own_footprint.becomes(Counts(plugins=1, spawners=1, executors=1, workloads=1))
    await _assert_undisturbed(allocation, pid)


@ours_only
async def test_a_task_survives_sigkill_of_agent_and_plugin(
    own_agent: Agent, own_footprint: Footprint
) -> None:
    allocation, pid = await _waiting_task(own_agent)
    plugin = own_footprint.plugin()
    await own_agent.kill()
    await kill_hard(plugin.pid)
    await own_agent.start()
    await _assert_undisturbed(allocation, pid)


async def test_a_task_that_ended_while_the_agent_was_stopped_has_its_true_exit_code(
    own_agent: Agent,
) -> None:
    allocation, pid = await _waiting_task(own_agent)
    await own_agent.stop()
    await _go(allocation, pid)
    await own_agent.start()
    await _assert_true_exit(allocation, pid)


@ours_only
async def test_a_task_that_ended_while_agent_and_plugin_were_dead_has_its_true_exit_code(
    own_agent: Agent, own_footprint: Footprint
) -> None:
    allocation, pid = await _waiting_task(own_agent)
    plugin = own_footprint.plugin()
    await own_agent.kill()
    await kill_hard(plugin.pid)
    await _go(allocation, pid)
    await own_agent.start()
    await _assert_true_exit(allocation, pid)


@ours_only
async def test_the_executors_sigkill_ends_the_workload_and_the_policy_decides(
    agent: Agent, footprint: Footprint
) -> None:
    allocation = await run_with(agent, "restarts_after_loss")
    pid = await allocation.first_pid()
    await kill_hard(footprint.executor().pid)
    await wait_ended(pid, limit_s=5)
    state = await allocation.when_events("Started", 2)
    (terminated,) = state.of_type("Terminated")
    assert terminated.detail("exit_code") == "-1"
    assert terminated.detail("exit_message") != ""
    assert state.restarts == 1
    await footprint.becomes(Counts(plugins=1, spawners=1, executors=1, workloads=1))


@ours_only
async def test_the_executors_sigkill_while_agent_and_plugin_are_dead_ends_the_workload(
    own_agent: Agent, own_footprint: Footprint
) -> None:
    allocation = await run_with(own_agent, "restarts_after_loss")
    pid = await allocation.first_pid()
    plugin, executor = own_footprint.plugin(), own_footprint.executor()
    await own_agent.kill()
    await kill_hard(plugin.pid)
    await kill_hard(executor.pid)
    await wait_ended(pid, limit_s=5)
    await own_agent.start()
    state = await allocation.when_events("Started", 2)
    assert state.of_type("Terminated")[0].detail("exit_code") == "-1"


@ours_only
async def test_a_task_survives_the_spawners_sigkill(
    own_agent: Agent, own_footprint: Footprint
) -> None:
    allocation, pid = await _waiting_task(own_agent)
    await kill_hard(own_footprint.spawner().pid)
    await own_footprint.becomes(Counts(plugins=1, spawners=1, executors=1, workloads=1))
    await _assert_undisturbed(allocation, pid)


@ours_only
async def test_a_stopped_executor_does_not_keep_its_task_from_being_stopped(
    agent: Agent, footprint: Footprint
) -> None:
    job = await run_job(agent, "stays")
    pid = await (await job.allocation()).first_pid()
    os.kill(footprint.executor().pid, signal.SIGSTOP)
    await job.stop()
    await wait_ended(pid, limit_s=1)
