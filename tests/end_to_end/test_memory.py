"""Limits of the job, and what the kernel does when memory runs out: told from evidence, never guessed from 137."""

import os
import signal
from pathlib import Path

import pytest

from tests.support.exits import assert_exited, assert_signaled
from tests.support.host import Host, open_host
from tests.support.nomad_cgroups import nomad_cgroups
from tests.support.scripts import SLEEP
from tests.support.task import Task
from trio_driver._proto import driver_pb2
from trio_driver.linux import cgroup

pytestmark = [
    pytest.mark.cgroup,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root may set limits"),
]

MIB = 1 << 20

EAT = "tail /dev/zero"
"""Takes memory until somebody objects."""


def limits(
    *, memory_mb: int = 0, memory_max_mb: int = 0, cpu_shares: int = 0
) -> driver_pb2.Resources:
    resources = driver_pb2.Resources()
    resources.allocated_resources.memory.memory_mb = memory_mb
    resources.allocated_resources.memory.memory_max_mb = memory_max_mb
    resources.linux_resources.cpu_shares = cpu_shares
    return resources


def files_of(task: Task) -> dict[str, str]:
    """What the limit files of the task's cgroups say."""
    containment = task.record.containment
    assert containment is not None
    found: dict[str, str] = {}
    for path in map(Path, (containment.memory_path, *containment.own_paths)):
        for file in sorted(path.iterdir()) if path.is_dir() else []:
            if file.name.startswith(("memory.", "cpu.")) and os.access(file, os.R_OK):
                try:
                    found.setdefault(file.name, cgroup.read(file).strip())
                except OSError:
                    continue
    return found


def first_of(files: dict[str, str], *names: str) -> str:
    return next(files[name] for name in names if name in files)


async def has_memory_limits(host: Host) -> None:
    """Skip where the hierarchy of our own cgroups has no memory controller, as on v2 without Nomad's slice."""
    probe = host.task("sleep", "1000", name="probe", resources=limits(memory_mb=64))
    await host.start(probe)
    files = files_of(probe)
    await host.plugin.destroy(probe)
    if not {"memory.limit_in_bytes", "memory.max"} & files.keys():
        pytest.skip("no memory controller for cgroups of our own")


async def test_a_task_that_is_out_of_memory_is_told_so() -> None:
    async with open_host() as host:
        await has_memory_limits(host)
        task = host.sh(f"exec {EAT}", resources=limits(memory_mb=32))
        await host.start(task)
        answer = await host.plugin.wait(task)
        assert (answer.result.oom_killed, answer.result.signal) == (True, signal.SIGKILL)


async def test_a_child_that_is_out_of_memory_is_told_with_mains_own_exit_code() -> None:
    async with open_host() as host:
        await has_memory_limits(host)
        task = host.sh(f"{EAT}; exit 5", resources=limits(memory_mb=32))
        await host.start(task)
        answer = await host.plugin.wait(task)
        assert (answer.result.oom_killed, answer.result.exit_code) == (True, 5)


async def test_a_plain_sigkill_is_not_out_of_memory() -> None:
    async with open_host() as host:
        task = host.sh("kill -9 $$", resources=limits(memory_mb=64))
        await host.start(task)
        assert_signaled(await host.plugin.wait(task), signal.SIGKILL)


async def test_one_tasks_memory_is_not_anothers() -> None:
    async with open_host() as host:
        await has_memory_limits(host)
        eater = host.sh(f"exec {EAT}", name="eater", resources=limits(memory_mb=32))
        other = host.sh("kill -9 $$", name="other", resources=limits(memory_mb=32))
        await host.start(eater)
        await host.start(other)
        assert (await host.plugin.wait(eater)).result.oom_killed
        assert_signaled(await host.plugin.wait(other), signal.SIGKILL)


async def test_the_next_run_in_nomads_scope_is_not_charged_for_the_last() -> None:
    async with open_host() as host:
        first = host.sh(f"exec {EAT}", resources=limits(memory_mb=32))
        with nomad_cgroups(first.config):
            await host.start(first)
            assert (await host.plugin.wait(first)).result.oom_killed
            second = host.again(first)
            second.config.msgpack_driver_config = host.sh("kill -9 $$").config.msgpack_driver_config
            await host.start(second)
            assert_signaled(await host.plugin.wait(second), signal.SIGKILL)
            await host.plugin.destroy(second)


async def test_limits_are_written_to_nomads_cgroups() -> None:
    async with open_host() as host:
        task = host.task("sleep", "1000", resources=limits(memory_mb=64, cpu_shares=500))
        with nomad_cgroups(task.config) as paths:
            await host.start(task)
            name = "memory.max" if (paths[0] / "memory.max").exists() else "memory.limit_in_bytes"
            assert cgroup.read(paths[0] / name).strip() == str(64 * MIB)
            await host.plugin.destroy(task)
            assert all(path.is_dir() for path in paths), "Nomad's cgroups are Nomad's"


async def test_memory_max_is_the_hard_limit_and_memory_the_soft_one() -> None:
    async with open_host() as host:
        await has_memory_limits(host)
        resources = limits(memory_mb=32, memory_max_mb=64, cpu_shares=500)
        task = host.task("sleep", "1000", resources=resources)
        await host.start(task)
        files = files_of(task)
        assert first_of(files, "memory.max", "memory.limit_in_bytes") == str(64 * MIB)
        assert first_of(files, "memory.low", "memory.soft_limit_in_bytes") == str(32 * MIB)
        if "cpu.shares" in files:
            assert files["cpu.shares"] == "500"


async def test_a_memory_max_of_minus_one_is_no_hard_limit() -> None:
    async with open_host() as host:
        await has_memory_limits(host)
        resources = limits(memory_mb=32, memory_max_mb=-1)
        task = host.task("sleep", "1000", resources=resources)
        await host.start(task)
        files = files_of(task)
        hard = first_of(files, "memory.max", "memory.limit_in_bytes")
        assert hard == "max" or int(hard) > 1 << 50
        assert first_of(files, "memory.low", "memory.soft_limit_in_bytes") == str(32 * MIB)


async def test_the_executor_is_not_in_the_tasks_memory() -> None:
    async with open_host() as host:
        task = host.sh(SLEEP, resources=limits(memory_mb=64))
        await host.start(task)
        executor, workload = cgroup.of(task.executor.pid), cgroup.of(task.workload_pid)
        assert executor.get("memory", executor[""]) != workload.get("memory", workload[""])


async def test_a_task_within_its_limit_ends_as_it_likes() -> None:
    async with open_host() as host:
        task = host.sh("exit 3", resources=limits(memory_mb=64))
        await host.start(task)
        assert_exited(await host.plugin.wait(task), 3)
