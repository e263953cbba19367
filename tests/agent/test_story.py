"""What the driver tells of a task, in `nomad alloc status`."""

from .api import TaskEvent, TaskState
from .footprint import Footprint
from .installation import ours_only
from .jobs import run_job, run_with
from .nomad import Agent
from .waiting import kill_hard

pytestmark = ours_only


def of_driver(state: TaskState, event: str) -> TaskEvent:
    """The only line of that kind."""
    (told,) = (each for each in state.of_type("Driver") if each.detail("event") == event)
    return told


async def test_the_start_and_the_end_are_told_with_their_evidence(agent: Agent) -> None:
    state = await (await run_with(agent, "non_zero_exit")).when_dead()
    pid = of_driver(state, "started").detail("pid")
    assert f"pid {pid}, containment" in of_driver(state, "started").display_message
    ended = of_driver(state, "ended")
    assert ended.display_message == (f"Exited with code 3 (main process {pid}, status from wait)")
    assert ended.detail("exit_code") == "3"


async def test_a_death_by_a_signal_is_told_by_its_name(agent: Agent) -> None:
    state = await (await run_with(agent, "death_by_signal")).when_dead()
    assert of_driver(state, "ended").display_message.startswith("Was ended by SIGUSR1 (")


async def test_who_was_killed_for_memory_is_told(agent: Agent) -> None:
    state = await (await run_with(agent, "out_of_memory")).when_dead()
    assert of_driver(state, "out_of_memory").display_message.startswith(
        "Out of memory: the kernel killed "
    )
    assert of_driver(state, "ended").detail("oom_killed") == "true"


async def test_a_stop_is_told_step_by_step(agent: Agent) -> None:
    job = await run_job(agent, "stop_with_signal")
    await (await job.allocation()).first_pid()
    (allocation,) = await job.stop()
    state = allocation.task("task")
    assert state is not None
    assert of_driver(state, "stopping").detail("asked").startswith("SIG")
    assert of_driver(state, "ended").detail("event") == "ended"


async def test_a_task_that_outlived_its_plugin_is_told_as_adopted(
    own_agent: Agent, own_footprint: Footprint
) -> None:
    allocation = await run_with(own_agent, "stays")
    await allocation.first_pid()
    await kill_hard(own_footprint.plugin().pid)
    state = await allocation.when_events("Driver", 2)
    adopted = of_driver(state, "adopted")
    assert adopted.display_message.startswith("Adopted after a restart of the plugin: pid ")
