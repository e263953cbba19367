"""Limits beyond those of Nomad's resources, with the real plugin on this host."""

import os
from pathlib import Path

import pytest

from tests.end_to_end.test_start_errors import fails
from tests.support.host import Host, open_host
from tests.support.nomad_cgroups import nomad_cgroups
from tests.support.task import Task
from tests.support.tier import HostKind, host_of
from trio_driver._proto import driver_pb2
from trio_driver.linux import cgroup

pytestmark = pytest.mark.cgroup

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
needs_user = pytest.mark.skipif(host_of(HostKind.USER) is None, reason="needs an ordinary user")


def half_of_the_node() -> driver_pb2.Resources:
    return driver_pb2.Resources(
        linux_resources=driver_pb2.LinuxResources(cpu_shares=500, PercentTicks=0.5)
    )


def limits_of(task: Task, name: str) -> Path:
    """The file `name` of the cgroup that limits the task's main process."""
    mounts = cgroup.find_mounts()
    places = cgroup.of(task.workload_pid)
    controller = name.partition(".")[0]
    if controller in places:
        return mounts.v1[controller] / places[controller].lstrip("/") / name
    assert mounts.unified is not None
    own = mounts.unified / places[""].lstrip("/")
    return (own if (own / name).exists() else own.parent) / name


def waiting(host: Host, config: dict[str, object]) -> Task:
    return host.task("sleep", "600", resources=half_of_the_node(), config=config)


@needs_root
async def test_a_hard_limit_is_the_jobs_share_of_all_cores() -> None:
    async with open_host() as host:
        task = waiting(host, {"cpu_hard_limit": True})
        with nomad_cgroups(task.config):
            await host.start(task)
            quota_us = 50_000 * (os.cpu_count() or 1)
            if cgroup.find_mounts().v1:
                text = cgroup.read(limits_of(task, "cpu.cfs_quota_us"))
                assert text == f"{quota_us}\n"
            else:
                assert cgroup.read(limits_of(task, "cpu.max")) == f"{quota_us} 100000\n"
            await host.plugin.destroy(task)


@needs_root
async def test_a_task_has_no_more_processes_than_its_pids_limit() -> None:
    async with open_host() as host:
        script = "(for i in 1 2 3 4 5 6 7 8; do sleep 600 & done); echo ready; exec sleep 600"
        command = ("/bin/sh", "-c", script)
        task = host.task(*command, logs=True, config={"pids_limit": 5})
        with nomad_cgroups(task.config):
            await host.start(task)
            assert task.stderr is not None
            await task.stderr.wait_for("fork")  # "Cannot fork": the inner shell ends
            await task.out.wait_for("ready")
            assert cgroup.read(limits_of(task, "pids.max")) == "5\n"
            await host.plugin.destroy(task)


@needs_root
async def test_limits_of_processes_are_set_and_hold_for_children() -> None:
    async with open_host() as host:
        config = {"ulimit": [{"nofile": "100:200", "core": "0"}]}
        script = "ulimit -Sn; ulimit -Hn; sh -c 'ulimit -c'"
        task = host.task("/bin/sh", "-c", script, logs=True, config=config, user="nobody")
        await host.start(task)
        assert await task.out.wait_end() == "100\n200\n0\n"


async def test_a_limit_that_the_kernel_refuses_is_named() -> None:
    async with open_host() as host:
        config = {"ulimit": [{"nofile": "unlimited"}]}  # fs.nr_open is finite
        text = 'ulimit "nofile = -1:-1": Operation not permitted'
        await fails(host, host.task("true", config=config), text)


@needs_user
@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"pids_limit": 9}, 'pids_limit "9": this host has no cgroup to enforce it with'),
        ({"cpu_hard_limit": True}, 'cpu_hard_limit "true": this host has no cgroup to enforce it'),
        ({"cgroup_v2_override": "x"}, 'cgroup_v2_override "x": unable to configure cgroups'),
    ],
)
async def test_what_cannot_be_enforced_without_cgroups_is_an_error(
    config: dict[str, object], text: str
) -> None:
    async with open_host(kind=HostKind.USER) as host:
        await fails(host, waiting(host, config), text)


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"pids_limit": 0}, "pids_limit 0 is not accepted; expected 1 to"),
        ({"pids_limit": 1 << 40}, "is not accepted; expected 1 to 4194304"),
        ({"ulimit": [{"files": "1"}]}, 'ulimit "files" is not accepted; expected one of as, core'),
        ({"ulimit": [{"core": "x"}]}, 'ulimit.core "x" is not accepted; expected "soft:hard"'),
        (
            {"pids_limit": 5, "cgroup_v2_override": "x"},
            "pids_limit cannot be combined with cgroup_v1_override or cgroup_v2_override",
        ),
    ],
)
async def test_a_wrong_limit_is_refused_by_name_and_value(
    config: dict[str, object], text: str
) -> None:
    async with open_host() as host:
        await fails(host, host.task("true", config=config), text)
