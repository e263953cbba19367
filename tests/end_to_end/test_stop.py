"""StopTask: signal, grace, containment; one state machine with one absolute deadline (design §3)."""

import signal

import pytest
import trio

from tests.support.exits import assert_exited, assert_signaled
from tests.support.host import SCRIPTED, open_host
from tests.support.scripts import DEAF, FAMILY, FAMILY_SIZE, SLEEP
from trio_driver._proto import driver_pb2
from trio_driver.rpc import RpcError, StatusCode

pytestmark = pytest.mark.cgroup


def polite(name: str, code: int) -> str:
    """A script that ends with `code` when it gets the signal."""
    return f"trap 'exit {code}' {name}; echo ready; while :; do sleep 0.05; done"


async def test_the_default_signal_is_sigint() -> None:
    async with open_host() as host:
        task = host.sh(SLEEP)
        await host.start(task)
        await task.out.wait_for("ready")
        await host.plugin.stop(task, grace_s=10)
        assert_signaled(await host.plugin.wait(task), signal.SIGINT)


@pytest.mark.parametrize("name", ["SIGUSR1", "usr1", "10"])
async def test_the_signal_is_the_jobs_and_its_task_may_end_by_itself(name: str) -> None:
    async with open_host() as host:
        task = host.sh(polite("USR1", 7))
        await host.start(task)
        await task.out.wait_for("ready")
        await host.plugin.stop(task, grace_s=10, signal_name=name)
        assert_exited(await host.plugin.wait(task), 7)


@pytest.mark.parametrize("name", ["SIGNULL", "SIGRTMIN+3", "SIGSTOP"])
async def test_a_signal_that_ends_nobody_or_has_no_name_of_its_own_stops_too(name: str) -> None:
    async with open_host() as host:
        task = host.sh(SLEEP)
        await host.start(task)
        await task.out.wait_for("ready")
        await host.plugin.stop(task, grace_s=0.2, signal_name=name)
        assert (await host.plugin.wait(task)).result.signal


async def test_a_deaf_task_is_killed_after_its_grace_time() -> None:
    async with open_host() as host:
        task = host.sh(DEAF)
        await host.start(task)
        await task.out.wait_for("ready")
        begin_s = trio.current_time()
        await host.plugin.stop(task, grace_s=0.5)
        assert 0.5 <= trio.current_time() - begin_s < 5
        assert_signaled(await host.plugin.wait(task), signal.SIGKILL)


async def test_no_grace_kills_at_once_without_asking() -> None:
    async with open_host() as host:
        task = host.sh(polite("INT", 0))
        await host.start(task)
        await task.out.wait_for("ready")
        await host.plugin.stop(task, grace_s=0)
        assert_signaled(await host.plugin.wait(task), signal.SIGKILL)


async def test_stop_returns_when_every_process_is_gone() -> None:
    async with open_host() as host:
        task = host.sh(FAMILY)
        await host.start(task)
        await task.out.wait_for("ready")
        await host.becomes(executors=1, workloads=FAMILY_SIZE)
        await host.plugin.stop(task, grace_s=10)
        assert host.family.counts().workloads == 0
        assert_signaled(await host.plugin.wait(task), signal.SIGINT)


async def test_an_unknown_signal_name_stops_with_sigint_and_tells_so() -> None:
    async with open_host() as host:
        task = host.sh(polite("INT", 5))
        await host.start(task)
        await task.out.wait_for("ready")
        async with host.plugin.events() as events:
            await host.plugin.stop(task, grace_s=10, signal_name="SIGNONSENSE")
            async for event in events:
                if "SIGNONSENSE" in event.message:
                    break
        assert_exited(await host.plugin.wait(task), 5)


async def test_stopping_an_unknown_or_an_ended_task_is_no_error() -> None:
    async with open_host() as host:
        never = host.task("true")
        await host.plugin.stop(never)
        task = host.sh("exit 0")
        await host.start(task)
        await host.plugin.wait(task)
        await host.plugin.stop(task)
        await host.plugin.destroy(task)
        await host.plugin.stop(task)
        assert host.family.counts().spawners == 1


async def test_a_second_stop_can_only_shorten_the_grace() -> None:
    async with open_host() as host:
        task = host.sh(DEAF)
        await host.start(task)
        await task.out.wait_for("ready")
        begin_s = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: host.plugin.stop(task, grace_s=60))
            await host.plugin.stop(task, grace_s=0.3)
            nursery.start_soon(lambda: host.plugin.stop(task, grace_s=60))
        assert trio.current_time() - begin_s < 10
        assert_signaled(await host.plugin.wait(task), signal.SIGKILL)


async def test_a_stop_goes_on_when_who_asked_for_it_goes_away() -> None:
    async with open_host() as host:
        task = host.sh(DEAF)
        await host.start(task)
        await task.out.wait_for("ready")
        with trio.move_on_after(0.2):
            await host.plugin.stop(task, grace_s=0.5)
        assert_signaled(await host.plugin.wait(task), signal.SIGKILL)


async def test_a_stop_goes_on_when_the_plugin_dies() -> None:
    async with open_host() as host:
        task = host.sh(DEAF)
        handle = await host.start(task)
        await task.out.wait_for("ready")
        with trio.move_on_after(0.3):
            await host.plugin.stop(task, grace_s=1)
        await host.plugin.kill()
        await host.launch()
        await host.plugin.recover(handle)
        assert_signaled(await host.plugin.wait(task), signal.SIGKILL)


async def test_three_waits_before_and_one_after_the_end_tell_the_same() -> None:
    async with open_host() as host:
        task = host.sh('read go < "$GO"; exit 11', env=host.gate)
        await host.start(task)
        answers: list[driver_pb2.WaitTaskResponse] = []

        async def wait() -> None:
            answers.append(await host.plugin.wait(task))

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(wait)
            await host.plugin.inspect(task)
            host.open_gate()
        await wait()
        assert len(answers) == 4
        for answer in answers:
            assert_exited(answer, 11)


async def test_a_cancelled_wait_disturbs_nothing() -> None:
    async with open_host() as host:
        task = host.sh('read go < "$GO"; exit 1', env=host.gate)
        await host.start(task)
        with trio.move_on_after(0.1):
            await host.plugin.wait(task)
        await host.becomes(executors=1, workloads=1)
        host.open_gate()
        assert_exited(await host.plugin.wait(task), 1)


async def test_a_signal_reaches_main_and_its_task_may_live_on() -> None:
    async with open_host() as host:
        script = "trap 'echo got' HUP; echo ready; while :; do sleep 0.05; done"
        task = host.sh(script)
        await host.start(task)
        await task.out.wait_for("ready")
        await host.plugin.signal(task, "SIGHUP")
        await task.out.wait_for("got")
        await host.plugin.signal(task, "kill")
        assert_signaled(await host.plugin.wait(task), signal.SIGKILL)


async def test_unknown_signals_and_tasks_are_errors_of_signal_task() -> None:
    async with open_host() as host:
        task = host.sh(SLEEP)
        await host.start(task)
        with pytest.raises(RpcError, match='unknown signal "SIGNONSENSE"') as raised:
            await host.plugin.signal(task, "SIGNONSENSE")
        assert raised.value.code is StatusCode.INVALID_ARGUMENT
        with pytest.raises(RpcError, match="no record of"):
            await host.plugin.signal(host.task("true"), "SIGHUP")
        await host.plugin.stop(task)
        with pytest.raises(RpcError, match="has ended"):
            await host.plugin.signal(task, "SIGHUP")


async def test_inspect_tells_the_state_the_times_and_the_pids() -> None:
    async with open_host() as host:
        task = host.sh('read go < "$GO"; exit 4', env=host.gate)
        await host.start(task)
        running = await host.plugin.inspect(task)
        assert (running.task.id, running.task.name) == (task.id, "web")
        assert running.task.state == driver_pb2.RUNNING
        assert running.task.HasField("started_at")
        assert running.task.completed_at.seconds == -62135596800, "Go's zero time"
        assert running.driver.attributes["pid"] == str(task.workload.pid)
        assert running.driver.attributes["executor_pid"] == str(task.executor.pid)
        host.open_gate()
        await host.plugin.wait(task)
        ended = await host.plugin.inspect(task)
        assert (ended.task.state, ended.task.result.exit_code) == (driver_pb2.EXITED, 4)
        assert ended.task.started_at == running.task.started_at
        assert ended.task.completed_at.ToNanoseconds() >= ended.task.started_at.ToNanoseconds()


async def test_a_task_without_a_workload_is_stopped_by_cancelling_it() -> None:
    async with open_host(SCRIPTED) as host:
        task = host.task(config={"mode": "no-workload"})
        await host.start(task)
        await host.becomes(executors=1)
        await host.plugin.signal(task, "SIGHUP")  # there is nobody to take it, which is no error
        await host.plugin.stop(task, grace_s=5)
        assert (await host.plugin.wait(task)).err == "the task ended itself"


@pytest.mark.parametrize(("mode", "code"), [("returns", 7), ("returns-at-once", 8)])
async def test_the_exit_of_a_task_is_what_its_run_returns(mode: str, code: int) -> None:
    async with open_host(SCRIPTED) as host:
        task = host.task(config={"mode": mode})
        await host.start(task)
        assert_exited(await host.plugin.wait(task), code)


async def test_a_run_that_fails_later_is_a_failed_task_with_its_text() -> None:
    async with open_host(SCRIPTED) as host:
        task = host.task(config={"mode": "raises-late"})
        await host.start(task)
        assert "the author's later mistake" in (await host.plugin.wait(task)).err
