"""Nomad's v1 cpusets, which a task joins only if they take it (nomad-protocol §8.7)."""

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.exits import assert_exited
from tests.support.host import open_host
from trio_driver.linux import cgroup

ROOT = cgroup.find_mounts().v1.get("cpuset")

pytestmark = [
    pytest.mark.cgroup,
    pytest.mark.skipif(ROOT is None or os.geteuid() != 0, reason="needs root and a v1 cpuset"),
]

SHOW = "grep :cpuset: /proc/self/cgroup; grep Cpus_allowed_list /proc/self/status"


@contextmanager
def own_cpuset() -> Generator[Path]:
    """A cpuset without CPUs, for the length of the block."""
    assert ROOT is not None
    path = ROOT / f"trio-driver-test-{os.getpid()}"
    path.mkdir()
    cgroup.write(path / "cpuset.mems", cgroup.read(ROOT / "cpuset.mems").strip())
    try:
        yield path
    finally:
        path.rmdir()


async def test_a_cpuset_without_cpus_keeps_no_task_from_running() -> None:
    with own_cpuset() as cpuset:
        async with open_host() as host:
            task = host.sh(SHOW)
            task.config.resources.linux_resources.cpuset_cgroup = str(cpuset)
            await host.start(task)
            assert_exited(await host.plugin.wait(task), 0)
            assert cpuset.name not in await task.out.wait_end()


async def test_a_task_with_cores_of_its_own_gets_them() -> None:
    with own_cpuset() as cpuset:
        async with open_host() as host:
            task = host.sh(SHOW)
            task.config.resources.linux_resources.cpuset_cgroup = str(cpuset)
            task.config.resources.linux_resources.cpuset_cpus = "0"
            await host.start(task)
            assert_exited(await host.plugin.wait(task), 0)
            text = await task.out.wait_end()
            assert cpuset.name in text
            assert text.split()[-1] == "0"
