"""The option `stop`: a job's own ladder, below the job's kill timeout (design §3, stop)."""

import signal

import pytest
import trio

from tests.end_to_end.test_start_errors import fails
from tests.support.exits import assert_exited, assert_signaled
from tests.support.host import Host, open_host
from tests.support.scripts import DEAF
from tests.support.task import Task

pytestmark = pytest.mark.cgroup

PARENT = (
    "trap '' TERM; (trap 'echo child; exit' TERM; echo ready; while :; do sleep 0.05; done) & wait"
)


async def started(host: Host, script: str, stop: list[str]) -> Task:
    task = host.task("/bin/sh", "-c", script, logs=True, config={"stop": stop})
    await host.start(task)
    await task.out.wait_for("ready")
    return task


async def stop_and_listen(host: Host, task: Task, *, grace_s: float, last: str) -> list[str]:
    """Stop the task; the lines that its history gets, to the one with `last`."""
    told: list[str] = []
    async with host.plugin.events() as events:
        await host.plugin.stop(task, grace_s=grace_s)
        async for event in events:
            told.append(event.message)
            if last in event.message:
                break
    return told


async def test_rung_after_rung_is_tried_and_each_tells_what_it_did() -> None:
    async with open_host() as host:
        script = "trap '' TERM; trap 'exit 6' INT; echo ready; while :; do sleep 0.05; done"
        task = await started(host, script, ["SIGTERM group 300ms", "SIGINT main 60s"])
        told = await stop_and_listen(host, task, grace_s=60, last="rung 2")
        assert_exited(await host.plugin.wait(task), 6)
        assert "Stopping: SIGTERM group 300ms, SIGINT main 60s, then SIGKILL after 60 s" in told
        assert "Stop, rung 1 of 2, SIGTERM to its group: still running after 0.3 s" in told
        assert told[-1].startswith("Stop, rung 2 of 2, SIGINT to its main process: ended after")


async def test_a_signal_to_the_group_reaches_the_children() -> None:
    async with open_host() as host:
        task = await started(host, PARENT, ["SIGTERM group 60s"])
        await host.plugin.stop(task, grace_s=60)
        assert "child" in task.out.text


async def test_after_the_last_rung_the_containment_is_killed_at_once() -> None:
    async with open_host() as host:
        task = await started(host, DEAF, ["SIGTERM 100ms", "SIGINT group 100ms"])
        began_s = trio.current_time()
        told = await stop_and_listen(host, task, grace_s=60, last="Killed")
        assert trio.current_time() - began_s < 30
        assert told[-1] == "Killed: no rung of its ladder ended it"
        assert_signaled(await host.plugin.wait(task), signal.SIGKILL)


async def test_a_ladder_is_never_longer_than_the_kill_timeout() -> None:
    async with open_host() as host:
        task = await started(host, DEAF, ["SIGTERM 1h", "SIGINT 1h"])
        told = await stop_and_listen(host, task, grace_s=0.5, last="Killed")
        assert (
            "Stop, rung 1 of 2, SIGTERM to its main process: cut short, the grace time is over"
            in told
        )
        assert told[-1] == "Killed: the grace time is over"
        assert_signaled(await host.plugin.wait(task), signal.SIGKILL)


async def test_no_grace_climbs_no_ladder() -> None:
    async with open_host() as host:
        task = await started(host, DEAF, ["SIGTERM 1h"])
        await host.plugin.stop(task)
        assert_signaled(await host.plugin.wait(task), signal.SIGKILL)


async def test_a_wrong_ladder_is_refused_by_name_and_value() -> None:
    async with open_host() as host:
        text = 'stop "SIGTERM soon" is not accepted; expected a signal, "main" or "group", and'
        await fails(host, host.task("true", config={"stop": ["SIGTERM soon"]}), text)
