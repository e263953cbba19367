"""What must hold when things run out: descriptors, disk space, log readers, patience."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

from tests.support.allocation import reading
from tests.support.exits import assert_exited, assert_lost, assert_signaled
from tests.support.family import gone, kill, send
from tests.support.host import SCRIPTED, open_host
from tests.support.scripts import FAMILY, REFORKING, SLEEP
from tests.support.waiting import until

pytestmark = pytest.mark.cgroup


async def test_an_executor_without_descriptors_still_tells_the_exit_code() -> None:
    async with open_host(SCRIPTED) as host:
        words = ("/bin/sh", "-c", 'read go < "$GO"; exit 7')
        mode = {"mode": "exhausts-descriptors"}
        task = host.task(*words, logs=True, env=host.gate, config=mode)
        await host.start(task)
        await task.out.wait_for("no descriptor is left")
        host.open_gate()
        assert_exited(await host.plugin.wait(task), 7)


async def test_an_executor_without_descriptors_can_be_stopped() -> None:
    async with open_host(SCRIPTED) as host:
        mode = {"mode": "exhausts-descriptors"}
        task = host.task("/bin/sh", "-c", FAMILY, logs=True, config=mode)
        await host.start(task)
        await task.out.wait_for("no descriptor is left")
        await host.plugin.stop(task)
        await host.plugin.wait(task)
        await host.becomes()


@contextmanager
def small_disk(path: Path) -> Generator[None]:
    """A file system of its own at `path`, small enough to be filled."""
    path.mkdir(mode=0o700)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k,mode=700", "td", path], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)
        path.rmdir()
        path.mkdir(mode=0o700)
        for name in ("runs", "locks"):
            (path / name).mkdir(mode=0o700)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount")
async def test_a_full_disk_cannot_stop_an_exit_code_from_being_recorded() -> None:
    async with open_host(launch=False) as host:
        with small_disk(host.state_dir):
            plugin = await host.launch()
            task = host.sh('echo ready; read go < "$GO"; exit 9', env=host.gate)
            handle = await host.start(task)
            await task.out.wait_for("ready")
            fill(host.state_dir / "full")
            host.open_gate()
            assert_exited(await host.plugin.wait(task), 9)
            await host.plugin.kill()
            (host.state_dir / "full").unlink()
            await host.launch()
            await host.plugin.recover(handle)
            assert_exited(await host.plugin.wait(task), 9)
            await host.plugin.destroy(task)
            await host.nothing_is_left()
            await host.shut_down()
            await gone(plugin.process)
            await host.becomes(plugins=0, spawners=0)


def fill(path: Path) -> None:
    """Leave no room for a byte on the disk of `path`."""
    with path.open("wb", buffering=0) as file:
        for size in (4096, 1):
            with contextlib.suppress(OSError):
                while file.write(bytes(size)):
                    pass


async def test_the_output_of_a_task_is_complete_however_fast_it_ends() -> None:
    async with open_host() as host:
        task = host.sh("exec seq 1 100000")
        await host.start(task)
        assert_exited(await host.plugin.wait(task), 0)
        assert (await task.out.wait_end()).split() == [str(n) for n in range(1, 100001)]


async def test_a_task_outlives_its_log_reader_and_goes_on_with_the_next() -> None:
    async with open_host() as host:
        task = host.task("/bin/sh", "-c", 'echo one; read go < "$GO"; echo two', env=host.gate)
        path = Path(task.config.alloc_dir, "alloc", "logs", ".web.stdout.fifo")
        task.config.stdout_path = str(path)
        with reading(path) as log, trio.move_on_after(20):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(log.read_to_end)
                await host.start(task)
                await log.wait_for("one")
                nursery.cancel_scope.cancel()
        host.open_gate()
        assert_exited(await host.plugin.wait(task), 0)  # neither SIGPIPE nor an error of echo


async def test_a_task_that_writes_to_a_log_that_nobody_reads_can_be_stopped() -> None:
    async with open_host() as host:
        task = host.task("/bin/sh", "-c", "exec yes")
        path = Path(task.config.alloc_dir, "alloc", "logs", ".web.stdout.fifo")
        task.config.stdout_path = str(path)
        with reading(path):
            await host.start(task)
            await host.plugin.stop(task, grace_s=5)
            assert_signaled(await host.plugin.wait(task), signal.SIGINT)


@pytest.mark.parametrize("signum", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM])
async def test_a_signal_to_an_executor_never_orphans_its_workload(signum: signal.Signals) -> None:
    async with open_host() as host:
        task = host.sh(FAMILY)
        await host.start(task)
        await task.out.wait_for("ready")
        send(task.executor, signum)
        assert_lost(await host.plugin.wait(task), reason=signum.name)
        await host.becomes()


async def test_strays_that_fork_fast_do_not_outlive_a_killed_executor() -> None:
    async with open_host() as host:
        task = host.sh(REFORKING)
        await host.start(task)
        await task.out.wait_for("ready")
        await kill(task.executor)
        assert_lost(await host.plugin.wait(task))
        await host.becomes()


async def test_thirty_tasks_at_once_start_and_end_each_with_its_own_exit_code() -> None:
    async with open_host() as host:
        tasks = [host.sh(f"exit {code}", logs=False, name=f"task-{code}") for code in range(30)]
        async with trio.open_nursery() as nursery:
            for task in tasks:
                nursery.start_soon(host.plugin.start, task)
        codes: dict[str, int] = {}
        for task in tasks:
            codes[task.config.name] = (await host.plugin.wait(task)).result.exit_code
        assert codes == {f"task-{code}": code for code in range(30)}


async def test_a_state_directory_that_was_removed_under_a_plugin_ends_its_executors() -> None:
    async with open_host() as host:
        task = host.sh(SLEEP)
        await host.start(task)
        executor, spawner = task.executor, host.spawner
        host.state_dir.rename(host.home / "moved-away")
        await gone(executor)
        await host.shut_down()
        await gone(spawner)
        (host.home / "moved-away").rename(host.state_dir)
        await until(lambda: not host.family.look(), "nobody is left")
