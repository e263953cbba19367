"""Networks of a group, and what else Nomad may ask (nomad-protocol §4.4, §4.5). Each test makes its
own namespace."""

import os
import subprocess
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.end_to_end.test_start_errors import fails
from tests.support.exits import assert_exited
from tests.support.host import Host, open_host
from tests.support.scripts import SLEEP
from tests.support.sessions import run_in
from tests.support.task import Task
from trio_driver._proto import driver_pb2
from trio_driver.rpc import RpcError, StatusCode

pytestmark = pytest.mark.cgroup

Network = driver_pb2.NetworkIsolationSpec


@contextmanager
def own_namespace(directory: Path) -> Generator[Path]:
    """A network namespace that has only a loopback device, named by a file as Nomad's are."""
    path = directory / f"netns-{uuid.uuid4().hex[:8]}"
    path.touch()
    bind = subprocess.run(
        ["unshare", f"--net={path}", "true"], check=False, stderr=subprocess.PIPE, text=True
    )
    try:
        if bind.returncode != 0:
            pytest.skip(f"this host gives no network namespace: {bind.stderr}")
        yield path
    finally:
        subprocess.run(["umount", str(path)], check=False, stderr=subprocess.DEVNULL)
        path.unlink()


def inode_of(path: Path) -> str:
    return f"net:[{os.stat(path).st_ino}]"


def in_group(task: Task, path: Path | str) -> Task:
    task.config.network_isolation_spec.mode = Network.GROUP
    task.config.network_isolation_spec.path = str(path)
    return task


async def test_host_and_group_networks_are_told_to_nomad() -> None:
    async with open_host() as host:
        answer = await host.plugin.driver.Capabilities(driver_pb2.CapabilitiesRequest())
        modes = list(answer.capabilities.network_isolation_modes)
        assert modes == [Network.HOST, Network.GROUP]
        assert not answer.capabilities.must_create_network
        assert answer.capabilities.mount_configs == driver_pb2.DriverCapabilities.NO_MOUNTS
        assert not answer.capabilities.dynamic_workload_users


@pytest.mark.parametrize("user", ["", "nobody"])
async def test_a_task_runs_in_the_namespace_of_its_group(user: str) -> None:
    async with open_host() as host:
        with own_namespace(host.home) as path:
            script = "readlink /proc/self/ns/net; cat /proc/net/dev | tail -n +3 | wc -l"
            task = in_group(host.sh(script, user=user), path)
            await host.start(task)
            assert await task.out.wait_end() == f"{inode_of(path)}\n1\n"
            assert_exited(await host.plugin.wait(task), 0)
            executors_own = os.readlink("/proc/self/ns/net")
            assert executors_own != inode_of(path)


@pytest.mark.parametrize("tty", [False, True])
async def test_a_session_is_in_the_namespace_of_its_task(tty: bool) -> None:
    async with open_host() as host:
        with own_namespace(host.home) as path:
            task = in_group(host.sh(SLEEP, user="nobody"), path)
            await host.start(task)
            await task.out.wait_for("ready")
            shown, _, code = await run_in(host.plugin, task, "readlink /proc/self/ns/net", tty=tty)
            assert (shown.decode().strip(), code) == (inode_of(path), 0)
            await host.plugin.destroy(task)


async def test_the_executor_stays_in_the_hosts_network() -> None:
    async with open_host() as host:
        with own_namespace(host.home) as path:
            task = in_group(host.sh(SLEEP), path)
            await host.start(task)
            executor = os.readlink(f"/proc/{task.executor.pid}/ns/net")
            assert executor == os.readlink("/proc/self/ns/net")
            assert os.readlink(f"/proc/{task.workload_pid}/ns/net") == inode_of(path)
            await host.plugin.destroy(task)


async def test_a_namespace_that_is_gone_or_none_is_named() -> None:
    async with open_host() as host:
        gone = host.home / "gone"
        await fails(
            host,
            in_group(host.task("true"), gone),
            f'network namespace "{gone}": No such file or directory',
        )
        for path in ("/etc/passwd", "/proc/self/ns/uts"):
            text = f'network namespace "{path}": not a network namespace'
            await fails(host, in_group(host.task("true"), path), text)


def with_mount(task: Task) -> None:
    task.config.mounts.add(task_path="/data", host_path="/srv/data")


def with_read_only_mount(task: Task) -> None:
    task.config.mounts.add(task_path="/srv", host_path="/srv", readonly=True)


def with_device(task: Task) -> None:
    task.config.devices.add(task_path="/dev/gpu", host_path="/dev/null")


def with_driver_network(task: Task) -> None:
    task.config.network_isolation_spec.mode = Network.TASK


def with_nameless_group(task: Task) -> None:
    task.config.network_isolation_spec.mode = Network.GROUP


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (with_mount, 'mount of "/srv/data" at "/data" is not supported'),
        (with_read_only_mount, 'read-only mount of "/srv" at "/srv" is not supported'),
        (with_device, 'device "/dev/null" as "/dev/gpu" is not supported'),
        (with_driver_network, 'network mode "driver" is not supported; expected "host", "bridge"'),
        (with_nameless_group, "the group's network has no namespace that a task could join"),
    ],
)
async def test_what_is_not_supported_is_refused_with_a_text(change: object, text: str) -> None:
    assert callable(change)
    async with open_host() as host:
        task = host.task("true")
        change(task)
        await fails(host, task, text)


async def test_a_device_and_a_mount_at_the_hosts_own_path_are_there_already() -> None:
    async with open_host() as host:
        task = host.task("true")
        task.config.devices.add(task_path="/dev/null", host_path="/dev/null")
        task.config.mounts.add(task_path="/tmp", host_path="/tmp")
        await host.start(task)
        assert_exited(await host.plugin.wait(task), 0)


async def test_dns_of_a_group_is_not_applied_and_its_history_says_so() -> None:
    async with open_host() as host:
        task = host.task("true")
        task.config.dns.servers.append("192.0.2.1")
        wanted = "dns is not applied (192.0.2.1): the task resolves names as the host does"
        async with host.plugin.events() as events:
            await host.start(task)
            async for event in events:
                if event.message.startswith(wanted):
                    break
        assert_exited(await host.plugin.wait(task), 0)


async def test_making_and_destroying_networks_is_refused_as_by_raw_exec() -> None:
    async with open_host() as host:
        await refused(host)


async def refused(host: Host) -> None:
    driver = host.plugin.driver
    with pytest.raises(RpcError, match="CreateNetwork RPC not supported by driver") as raised:
        await driver.CreateNetwork(driver_pb2.CreateNetworkRequest(alloc_id="a"))
    assert raised.value.code is StatusCode.UNIMPLEMENTED
    with pytest.raises(RpcError, match="DestroyNetwork RPC not supported by driver"):
        await driver.DestroyNetwork(driver_pb2.DestroyNetworkRequest(alloc_id="a"))
