"""How a task runs and ends, as `nomad alloc status` tells it."""

from .footprint import Counts, Footprint, read_process
from .installation import ours_only
from .jobs import run_job, run_with
from .nomad import Agent
from .waiting import wait_ended


async def test_a_batch_task_runs_to_completion(agent: Agent) -> None:
    allocation = await run_with(agent, "run_to_completion")
    state = await allocation.when_dead()
    assert not state.failed
    assert len(state.of_type("Started")) == 1
    (terminated,) = state.of_type("Terminated")
    assert terminated.detail("exit_code") == "0"
    assert terminated.detail("signal") == "0"
    assert terminated.detail("oom_killed") == "false"
    assert await allocation.output(until=b"\n") == b"hello world\n"


async def test_a_non_zero_exit_code_is_the_tasks_own(agent: Agent) -> None:
    state = await (await run_with(agent, "non_zero_exit")).when_dead()
    assert state.failed
    (terminated,) = state.of_type("Terminated")
    assert terminated.detail("exit_code") == "3"
    assert terminated.detail("signal") == "0"


async def test_death_by_a_signal_names_the_signal(agent: Agent) -> None:
    state = await (await run_with(agent, "death_by_signal")).when_dead()
    assert state.failed
    (terminated,) = state.of_type("Terminated")
    assert terminated.detail("signal") == "10"
    assert terminated.detail("exit_code") in ("0", "138")


async def test_the_restart_policy_starts_a_failed_task_again(agent: Agent) -> None:
    allocation = await run_with(agent, "restart_policy")
    state = await allocation.when_dead()
    assert state.failed
    assert state.restarts == 2
    # Nomad keeps the last ten events, and each run has five with ours.
    assert {event.detail("exit_code") for event in state.of_type("Terminated")} == {"1"}
    assert await allocation.output(until=b"start\n" * 3) == b"start\n" * 3


async def test_what_the_main_process_leaves_behind_ends_with_the_task(agent: Agent) -> None:
    allocation = await run_with(agent, "children_remain")
    state = await allocation.when_dead()
    assert not state.failed
    stray = await allocation.first_pid()
    await wait_ended(stray, limit_s=5)


@ours_only
async def test_an_ended_task_leaves_plugin_and_spawner_alone(
    agent: Agent, footprint: Footprint
) -> None:
    await (await run_with(agent, "run_to_completion")).when_dead()
    await footprint.becomes(Counts(plugins=1, spawners=1, executors=0, workloads=0))


async def test_a_job_can_be_run_again_after_it_was_stopped(agent: Agent) -> None:
    for _ in range(3):
        job = await run_job(agent, "stays")
        allocation = await job.allocation()
        pid = await allocation.first_pid()
        await job.stop()
        assert read_process(pid) is None
