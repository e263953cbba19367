"""What other versions wrote and what other builds run: handles, records and executors are adopted."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.formats import v0_1_0
from tests.support.exits import assert_exited, assert_lost, assert_signaled
from tests.support.family import Counts, kill
from tests.support.host import REPOSITORY, Host, open_host
from tests.support.task import Task
from tests.support.waiting import until
from trio_driver._proto import driver_pb2
from trio_driver.linux import ProcessId, identify
from trio_driver.state import StateDirectory

pytestmark = pytest.mark.cgroup

HANDLE = driver_pb2.TaskHandle(
    version=1,
    config=driver_pb2.TaskConfig(
        id=v0_1_0.TASK_ID,
        name=v0_1_0.TASK_NAME,
        alloc_id=v0_1_0.ALLOC_ID,
        alloc_dir=f"/data/alloc/{v0_1_0.ALLOC_ID}",
    ),
    state=driver_pb2.RUNNING,
    driver_state=v0_1_0.DRIVER_STATE,
)


IDS = (v0_1_0.FENCE, v0_1_0.RUN, v0_1_0.TASK_ID, v0_1_0.ALLOC_ID, v0_1_0.TASK_NAME)


def stored(host: Host, **records: str) -> Task:
    """A run of 0.1.0 in the state directory, as a reboot or the end of everything left it."""
    run_path = host.state_dir / "runs" / v0_1_0.RUN
    for directory in (run_path, host.state_dir / "locks"):
        directory.mkdir(parents=True, mode=0o700, exist_ok=True)
    host.state_dir.chmod(0o700)
    for name, text in records.items():
        (run_path / f"{name}.json").write_text(text, encoding="utf-8")
    run = StateDirectory(host.state_dir).run_of(
        task_id=v0_1_0.TASK_ID, alloc_id=v0_1_0.ALLOC_ID, task_name=v0_1_0.TASK_NAME
    )
    assert run.path == run_path, "a run is where it was"
    task = Task(HANDLE.config, run)
    host.tasks.append(task)
    return task


@pytest.mark.parametrize("how", list(v0_1_0.EXITS))
async def test_an_ended_run_of_0_1_0_is_recovered_with_its_exit(how: str) -> None:
    async with open_host(launch=False) as host:
        task = stored(
            host,
            executor=v0_1_0.EXECUTOR,
            committed=v0_1_0.COMMITTED,
            exit=v0_1_0.EXITS[how],
        )
        await host.launch()
        await host.plugin.recover(HANDLE)
        answer = await host.plugin.wait(task)
        match how:
            case "exited":
                assert_exited(answer, 7)
            case "signaled":
                assert (answer.result.signal, answer.result.oom_killed) == (signal.SIGKILL, True)
            case _:
                assert_lost(answer, reason="the executor ended without telling")
        status = (await host.plugin.inspect(task)).task
        assert status.state == driver_pb2.EXITED
        assert status.completed_at.seconds == 1795518335


async def test_a_run_of_0_1_0_that_a_reboot_ended_is_lost() -> None:
    async with open_host(launch=False) as host:
        task = stored(host, executor=v0_1_0.EXECUTOR, committed=v0_1_0.COMMITTED)
        await host.launch()
        await host.plugin.recover(HANDLE)
        assert_lost(await host.plugin.wait(task))


async def test_a_run_of_0_1_0_that_was_never_committed_is_lost_too() -> None:
    async with open_host(launch=False) as host:
        task = stored(host, executor=v0_1_0.EXECUTOR)
        await host.launch()
        await host.plugin.recover(HANDLE)
        assert_lost(await host.plugin.wait(task))


@contextmanager
def old_executor(host: Host, *command: str) -> Generator[ProcessId]:
    """An executor of 0.1.0 that runs `command`, for the length of the block."""
    host.state_dir.mkdir(mode=0o700)
    script = REPOSITORY / "tests/formats/v0_1_0/executor.py"
    process = subprocess.Popen(
        [sys.executable, str(script), str(host.state_dir), *IDS, *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"serves\n"
        executor = identify(process.pid)
        assert executor is not None
        yield executor
    finally:
        process.kill()
        process.communicate()


async def test_a_task_of_a_running_0_1_0_executor_is_stopped_and_has_its_exit() -> None:
    async with open_host(launch=False) as host:
        with old_executor(
            host, "/bin/sh", "-c", 'trap "exit 5" TERM; while :; do sleep 0.02; done'
        ):
            task = stored(host)
            await host.launch()
            await host.plugin.recover(HANDLE)
            assert (await host.plugin.inspect(task)).task.state == driver_pb2.RUNNING
            await host.plugin.stop(task, grace_s=10, signal_name="SIGTERM")
            assert_exited(await host.plugin.wait(task), 5)


async def test_a_task_of_a_running_0_1_0_executor_is_signalled() -> None:
    async with open_host(launch=False) as host:
        with old_executor(host, "sleep", "1000"):
            task = stored(host)
            await host.launch()
            await host.plugin.recover(HANDLE)
            await host.plugin.signal(task, "SIGHUP")
            assert_signaled(await host.plugin.wait(task), signal.SIGHUP)


async def test_a_killed_0_1_0_executor_is_lost() -> None:
    async with open_host(launch=False) as host:
        with old_executor(host, "/bin/sh", "-c", "read until_stdin_ends") as executor:
            task = stored(host)
            await host.launch()
            await host.plugin.recover(HANDLE)
            await kill(executor)
            assert_lost(await host.plugin.wait(task))


def another_build(host: Host) -> dict[str, str]:
    """The environment of a plugin of a later build: the same program with a line more."""
    later = host.home / "later"
    shutil.copytree(
        REPOSITORY / "trio_driver",
        later / "trio_driver",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    with (later / "trio_driver/sdk/tasks.py").open("a", encoding="utf-8") as file:
        file.write("# a later build\n")
    return {"PYTHONPATH": f"{later}{os.pathsep}{REPOSITORY}"}


def spawner_names(host: Host) -> set[str]:
    return {path.name for path in Path(host.state_dir).glob("spawner-*.socket")}


async def test_a_plugin_of_another_build_adopts_what_runs_and_starts_with_its_own_spawner() -> None:
    async with open_host() as host:
        old = host.sh('echo ready; read go < "$GO"; exit 3', env=host.gate)
        handle = await host.start(old)
        await old.out.wait_for("ready")
        before = await host.plugin.inspect(old)
        first = spawner_names(host)
        await host.shut_down()
        await host.launch(env=another_build(host))
        await host.plugin.recover(handle)
        assert await host.plugin.inspect(old) == before
        new = host.sh('trap "exit 4" INT; echo ready; while :; do sleep 0.02; done')
        await host.start(new)
        await new.out.wait_for("ready")
        await host.family.becomes(Counts(plugins=1, spawners=2, executors=2, workloads=3))
        host.open_gate()
        assert_exited(await host.plugin.wait(old), 3)
        await until(lambda: not spawner_names(host) & first, "the old build's spawner has ended")
        await host.plugin.stop(new, grace_s=10)
        assert_exited(await host.plugin.wait(new), 4)


async def test_an_executor_of_another_build_that_is_killed_leaves_nothing() -> None:
    async with open_host() as host:
        task = host.sh("(setsid sleep 1000 &) ; echo ready; sleep 1000")
        handle = await host.start(task)
        await task.out.wait_for("ready")
        await host.plugin.kill()
        await host.launch(env=another_build(host))
        await host.plugin.recover(handle)
        await kill(task.executor)
        assert_lost(await host.plugin.wait(task))
        await host.family.becomes(Counts(plugins=1, spawners=1))


async def test_the_first_build_adopts_what_the_later_one_runs() -> None:
    async with open_host(launch=False) as host:
        await host.launch(env=another_build(host))
        task = host.sh('read go < "$GO"; exit 6', env=host.gate)
        handle = await host.start(task)
        await host.shut_down()
        await host.launch()
        await host.plugin.recover(handle)
        host.open_gate()
        assert_exited(await host.plugin.wait(task), 6)
