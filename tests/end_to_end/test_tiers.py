"""Lifetimes hold on every kind of host: v2 alone, v2 beside v1, v1 alone, root without cgroups, an ordinary user."""

import os
import signal
from pathlib import Path

import pytest

from tests.support.exits import assert_exited, assert_lost, assert_signaled
from tests.support.family import kill
from tests.support.host import Host, open_host
from tests.support.leaks import all_cgroups
from tests.support.nomad_cgroups import nomad_cgroups
from tests.support.scripts import (
    DEAF,
    FAMILY,
    FAMILY_SIZE,
    REFORKING,
    SLEEP,
    leaving_children,
)
from tests.support.tier import HostKind, host_of
from trio_driver.linux import cgroup
from trio_driver.state import Tier

pytestmark = pytest.mark.cgroup


@pytest.fixture(params=HostKind)
def kind(request: pytest.FixtureRequest) -> HostKind:
    """Each kind of host that this one can be."""
    if host_of(request.param) is None:
        pytest.skip(f"this host cannot be {request.param.value}")
    return request.param


async def test_the_node_shows_its_tier(kind: HostKind) -> None:
    async with open_host(kind=kind) as host, host.plugin.connected_agent() as fingerprint:
        shown = fingerprint.attributes["driver.trio.containment"].string_val
        assert shown == host.tier.tier.value


async def test_a_task_runs_and_tells_its_exit_code_and_output(kind: HostKind) -> None:
    async with open_host(kind=kind) as host:
        task = host.sh("id -u; exit 3")
        await host.start(task)
        assert task.record.containment is not None
        assert task.record.containment.tier is host.tier.tier
        assert_exited(await host.plugin.wait(task), 3)
        assert await task.out.wait_end() == f"{host.tier.uid}\n"


async def test_stop_leaves_no_process(kind: HostKind) -> None:
    async with open_host(kind=kind) as host:
        task = host.sh(FAMILY)
        await host.start(task)
        await task.out.wait_for("ready")
        await host.becomes(executors=1, workloads=FAMILY_SIZE)
        await host.plugin.stop(task, grace_s=5)
        assert host.family.counts().workloads == 0
        assert_signaled(await host.plugin.wait(task), signal.SIGINT)


async def test_a_deaf_task_is_killed(kind: HostKind) -> None:
    async with open_host(kind=kind) as host:
        task = host.sh(DEAF)
        await host.start(task)
        await task.out.wait_for("ready")
        await host.plugin.stop(task, grace_s=0.1)
        assert_signaled(await host.plugin.wait(task), signal.SIGKILL)


async def test_the_end_of_main_is_the_end_of_all(kind: HostKind) -> None:
    async with open_host(kind=kind) as host:
        task = host.sh(leaving_children(4), env=host.gate)
        await host.start(task)
        await task.out.wait_for("one")
        await task.out.wait_for("two")
        host.open_gate()
        assert_exited(await host.plugin.wait(task), 4)
        await host.becomes()


async def test_processes_that_fork_faster_than_they_are_looked_at_are_all_killed(
    kind: HostKind,
) -> None:
    async with open_host(kind=kind) as host:
        task = host.sh(REFORKING)
        await host.start(task)
        await task.out.wait_for("ready")
        await host.plugin.stop(task)
        assert host.family.counts().workloads == 0
        assert_signaled(await host.plugin.wait(task), signal.SIGKILL)


async def test_no_process_outlives_a_killed_executor(kind: HostKind) -> None:
    async with open_host(kind=kind) as host:
        task = host.sh(FAMILY)
        await host.start(task)
        await task.out.wait_for("ready")
        await kill(task.executor)
        assert_lost(await host.plugin.wait(task))
        await host.becomes()


async def test_no_process_outlives_an_executor_that_is_killed_without_a_plugin(
    kind: HostKind,
) -> None:
    async with open_host(kind=kind) as host:
        task = host.sh(FAMILY)
        handle = await host.start(task)
        await task.out.wait_for("ready")
        await host.plugin.kill()
        await kill(task.executor)
        await host.becomes(plugins=0, spawners=0)
        await host.launch()
        await host.plugin.recover(handle)
        assert_lost(await host.plugin.wait(task))


async def test_destroy_works_from_disk_alone(kind: HostKind) -> None:
    async with open_host(kind=kind) as host:
        task = host.sh(FAMILY)
        await host.start(task)
        await task.out.wait_for("ready")
        await host.plugin.kill()
        await host.launch()
        await host.plugin.destroy(task)
        await host.nothing_is_left()


async def test_a_new_id_supersedes(kind: HostKind) -> None:
    async with open_host(kind=kind) as host:
        task = host.sh(SLEEP, logs=False)
        await host.start(task)
        await host.start(host.again(task))
        await host.becomes(executors=1, workloads=1)


async def test_two_tasks_do_not_end_each_other(kind: HostKind) -> None:
    async with open_host(kind=kind) as host:
        one, other = host.sh(SLEEP, name="one"), host.sh(FAMILY, name="other")
        await host.start(one)
        await host.start(other)
        await other.out.wait_for("ready")
        await host.plugin.stop(one)
        await host.becomes(executors=1, workloads=FAMILY_SIZE)


def home_of(host: Host) -> set[str]:
    """The cgroups that executors live in."""
    return set(cgroup.of(host.spawner.pid).values())


async def test_a_workload_is_in_a_cgroup_of_its_run_alone_and_its_executor_is_not(
    kind: HostKind,
) -> None:
    async with open_host(kind=kind) as host:
        if not host.tier.has_cgroup:
            pytest.skip("no cgroups here")
        task = host.sh(SLEEP)
        await host.start(task)
        containment = task.record.containment
        assert containment is not None
        members = cgroup.procs(Path(containment.kill_path), recursive=True)
        assert members == [task.workload_pid]
        assert not any(task.run.name in path for path in cgroup.of(task.executor.pid).values())
        if kind is HostKind.NATIVE:
            assert any("trio-driver" in path for path in home_of(host))


@pytest.mark.skipif(os.geteuid() != 0, reason="Nomad's cgroups need root")
async def test_a_run_in_nomads_scope_leaves_the_scope_to_nomad(kind: HostKind) -> None:
    if kind not in (HostKind.NATIVE, HostKind.FREEZER):
        pytest.skip("Nomad's cgroups are those of the real host")
    async with open_host(kind=kind) as host:
        task = host.sh(FAMILY)
        with nomad_cgroups(task.config) as paths:
            await host.start(task)
            await task.out.wait_for("ready")
            containment = task.record.containment
            assert containment is not None
            if containment.tier is not Tier.HYBRID:
                kill_path = Path(containment.kill_path)
                assert any(kill_path.parent == path for path in paths)
            await host.plugin.stop(task)
            await host.plugin.destroy(task)
            assert all(path.is_dir() for path in paths)
            assert not [path for path in all_cgroups() if task.run.name in path.name]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can leave its cgroup")
async def test_children_that_left_their_cgroup_end_with_the_task(kind: HostKind) -> None:
    if kind is HostKind.USER:
        pytest.skip("a user cannot")
    async with open_host(kind=kind) as host:
        task = host.sh(leaving_children(3, escape=True), env=host.gate)
        await host.start(task)
        await task.out.wait_for("one")
        await task.out.wait_for("two")
        host.open_gate()
        assert_exited(await host.plugin.wait(task), 3)
        await host.becomes()


async def test_a_user_gains_no_privileges_by_a_set_id_program(kind: HostKind) -> None:
    if kind is not HostKind.USER:
        pytest.skip("root has them")
    async with open_host(kind=kind) as host:
        task = host.sh("exec grep NoNewPrivs /proc/self/status")
        await host.start(task)
        assert (await task.out.wait_end()).split() == ["NoNewPrivs:", "1"]
