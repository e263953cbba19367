"""`pid_mode = "private"`: the kernel ends everything in the task's pid namespace together (design
§3, last row)."""

import os
import signal
from pathlib import Path

import pytest
import trio

from tests.end_to_end.test_networks import in_group, inode_of, own_namespace
from tests.end_to_end.test_start_errors import fails
from tests.support.exits import assert_exited, assert_signaled
from tests.support.family import send
from tests.support.host import Host, open_host
from tests.support.scripts import SLEEP
from tests.support.sessions import run_in
from tests.support.task import Task
from tests.support.tier import HostKind, host_of
from tests.support.waiting import until
from trio_driver.linux import identify, is_alive

pytestmark = pytest.mark.cgroup

KINDS = [kind for kind in (HostKind.NATIVE, HostKind.USER) if host_of(kind) is not None]
each_kind = pytest.mark.parametrize("kind", KINDS)

ESCAPES = "setsid -f sh -c 'sleep 1000 & exec sleep 1000'; echo ready; exec sleep 1000"
"""Leaves its session by double forks: without a cgroup nothing could find these."""


def private(host: Host, script: str, **how: object) -> Task:
    return host.task("/bin/sh", "-c", script, logs=True, config={"pid_mode": "private"}, **how)  # pyright: ignore[reportArgumentType]


def inhabitants(task: Task) -> list[int]:
    """Host pids of all processes in the task's pid namespace."""
    own = os.readlink(f"/proc/{task.workload_pid}/ns/pid")
    found: list[int] = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(entry / "ns/pid") == own:
                found.append(int(entry.name))
        except OSError:
            continue
    return sorted(found)


@each_kind
async def test_a_task_is_not_pid_1_and_sees_only_its_own_namespace(kind: HostKind) -> None:
    async with open_host(kind=kind) as host:
        script = "echo $$; cd /proc; echo [0-9]* ; id -u"
        task = private(host, script)
        await host.start(task)
        uid = host.tier.uid
        assert (await task.out.wait_end()).split("\n") == ["2", "1 2", str(uid), ""]
        assert_exited(await host.plugin.wait(task), 0)


@each_kind
@pytest.mark.parametrize("code", [0, 7])
async def test_the_exit_code_is_the_workloads(kind: HostKind, code: int) -> None:
    async with open_host(kind=kind) as host:
        task = private(host, f"exit {code}")
        await host.start(task)
        assert_exited(await host.plugin.wait(task), code)


@each_kind
async def test_signals_reach_the_workload_and_its_death_by_one_is_told(kind: HostKind) -> None:
    async with open_host(kind=kind) as host:
        task = private(host, "trap 'echo got' HUP; echo ready; while :; do sleep 0.05; done")
        await host.start(task)
        await task.out.wait_for("ready")
        await host.plugin.signal(task, "SIGHUP")
        await task.out.wait_for("got")
        await host.plugin.stop(task, grace_s=10, signal_name="SIGTERM")
        assert_signaled(await host.plugin.wait(task), signal.SIGTERM)


@each_kind
async def test_a_kill_is_told_as_one(kind: HostKind) -> None:
    async with open_host(kind=kind) as host:
        task = private(host, ESCAPES)
        await host.start(task)
        await task.out.wait_for("ready")
        await host.plugin.stop(task)
        assert_signaled(await host.plugin.wait(task), signal.SIGKILL)


@each_kind
async def test_nothing_survives_when_spawner_and_executor_are_killed_together(
    kind: HostKind,
) -> None:
    async with open_host(kind=kind) as host:
        task = private(host, ESCAPES)
        await host.start(task)
        await task.out.wait_for("ready")
        await until(lambda: len(inhabitants(task)) == 4, "init, main, and two that escaped")
        pids = inhabitants(task)
        processes = [process for pid in pids if (process := identify(pid)) is not None]
        host.spawner_may_die()
        await host.plugin.kill()
        executor, spawner = task.executor, host.spawner
        for each in (spawner, executor):
            send(each, signal.SIGSTOP)
        for each in (spawner, executor):
            send(each, signal.SIGKILL)
        await until(lambda: not any(map(is_alive, processes)), lambda: host.family.listing())


async def test_the_workloads_end_is_the_namespaces() -> None:
    async with open_host() as host:
        task = private(
            host, 'setsid -f sleep 1000; echo ready; read go < "$GO"; exit 5', env=host.gate
        )
        await host.start(task)
        await task.out.wait_for("ready")
        processes = [identify(pid) for pid in inhabitants(task)]
        host.open_gate()
        assert_exited(await host.plugin.wait(task), 5)
        assert not any(process is not None and is_alive(process) for process in processes)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
async def test_another_user_and_the_jobs_limits_hold_inside() -> None:
    async with open_host() as host:
        config = {"pid_mode": "private", "ulimit": [{"nofile": "77"}], "oom_score_adj": 9}
        script = "id -un; ulimit -n; cat /proc/self/oom_score_adj"
        task = host.task("/bin/sh", "-c", script, logs=True, config=config, user="nobody")
        await host.start(task)
        assert await task.out.wait_end() == "nobody\n77\n9\n"


@each_kind
async def test_a_step_that_fails_behind_the_proxy_is_named(kind: HostKind) -> None:
    async with open_host(kind=kind) as host:
        config = {"pid_mode": "private"}
        task = host.task("/bin/true", config={**config, "work_dir": "/nope"})
        await fails(host, task, 'work_dir "/nope": No such file or directory')


async def test_a_mode_that_is_none_is_refused_with_those_that_are() -> None:
    async with open_host() as host:
        task = host.task("true", config={"pid_mode": "shared"})
        text = 'pid_mode: "shared" is not accepted; expected one of "host", "private"'
        await fails(host, task, text)


@each_kind
async def test_a_session_is_in_the_tasks_namespaces(kind: HostKind) -> None:
    async with open_host(kind=kind) as host:
        task = private(host, SLEEP)
        await host.start(task)
        await task.out.wait_for("ready")
        script = "readlink /proc/self/ns/pid; tr '\\0' ' ' < /proc/2/cmdline; exit 3"
        out, _, code = await run_in(host.plugin, task, script)
        namespace = os.readlink(f"/proc/{task.workload_pid}/ns/pid")
        assert (out.decode(), code) == (f"{namespace}\nsleep 1000 ", 3)


@each_kind
async def test_a_session_with_a_terminal_works_inside(kind: HostKind) -> None:
    async with open_host(kind=kind) as host:
        task = private(host, SLEEP)
        await host.start(task)
        await task.out.wait_for("ready")
        out, _, code = await run_in(host.plugin, task, "tty; exit 4", tty=True)
        assert b"/dev/pts/" in out
        assert code == 4


async def test_a_session_ends_with_its_task_inside() -> None:
    async with open_host() as host:
        task = private(host, SLEEP)
        await host.start(task)
        await task.out.wait_for("ready")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run_in, host.plugin, task, "sleep 1000")
            await until(lambda: len(inhabitants(task)) >= 3, "the session runs")
            await host.plugin.stop(task)
        await host.becomes()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
async def test_a_private_task_runs_in_its_groups_network() -> None:
    async with open_host() as host:
        with own_namespace(host.home) as path:
            task = in_group(private(host, "readlink /proc/self/ns/net"), path)
            await host.start(task)
            assert await task.out.wait_end() == f"{inode_of(path)}\n"
