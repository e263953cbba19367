"""What a process has from the one before it, and what not: descriptors, environment, session, signals, limits."""

import contextlib
import os
import signal
import sys
from pathlib import Path

import pytest

from tests.support.exits import assert_exited
from tests.support.host import SCRIPTED, Host, open_host
from tests.support.leaks import files_below
from tests.support.scripts import SLEEP
from tests.support.task import Task
from trio_driver._proto import base_pb2, driver_pb2
from trio_driver._proto.base_grpc import BasePluginStub
from trio_driver.goplugin import open_plugin
from trio_driver.linux import ProcessId

pytestmark = pytest.mark.cgroup

SECRET = {"NOMAD_TOKEN": "the agent's secret"}


def fds_of(pid: int) -> dict[int, str]:
    """What each descriptor of a process leads to."""
    fds: dict[int, str] = {}
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed while we looked
            fds[int(path.name)] = os.readlink(path)
    return fds


def environ_of(pid: int) -> dict[str, str]:
    parts = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    pairs = (os.fsdecode(part).partition("=") for part in parts if part)
    return {name: value for name, _, value in pairs}


def session_of(pid: int) -> int:
    return os.getsid(pid)


async def output_of(host: Host, script: str, **how: object) -> str:
    """What a task that runs `script` writes to its stdout; `how` as for `Host.task`."""
    task = host.sh(script, **how)  # pyright: ignore[reportArgumentType]
    await host.start(task)
    assert_exited(await host.plugin.wait(task), 0)
    return await task.out.wait_end()


async def test_probes_leave_nothing_and_start_no_spawner() -> None:
    async with open_host(launch=False) as host:
        command = [sys.executable, str(host.plugin_file)]
        for _ in range(2):
            async with open_plugin(command, env=host.environ) as client:
                host.family.plugin_pids.add(client.process.pid)
                stub = BasePluginStub(client.channel)
                await stub.PluginInfo(base_pb2.PluginInfoRequest())
                await stub.ConfigSchema(base_pb2.ConfigSchemaRequest())
                for _ in range(2):
                    await stub.SetConfig(base_pb2.SetConfigRequest())
                assert host.family.counts().spawners == 0
            assert files_below(host.home) == ["alloc", "tmp"]
        await host.becomes(plugins=0, spawners=0)


async def test_a_plugin_without_tasks_has_no_spawner() -> None:
    async with open_host() as host, host.plugin.connected_agent():
        await host.plugin.driver.Capabilities(driver_pb2.CapabilitiesRequest())
        await host.becomes(spawners=0)


async def test_nothing_is_imported_after_the_fork() -> None:
    async with open_host(SCRIPTED) as host:
        task = host.task("true", logs=True, config={"mode": "modules"})
        await host.start(task)
        await host.plugin.wait(task)
        assert await task.out.wait_end() == "imported since the fork: []\n"


async def test_an_executor_has_no_descriptor_of_spawner_or_plugin() -> None:
    async with open_host() as host:
        first, task = host.sh(SLEEP, name="first"), host.sh(SLEEP)
        await host.start(first)
        await host.start(task)
        fds = fds_of(task.executor.pid)
        own_log = str(task.run.log_path)
        assert (fds[0], fds[1], fds[2]) == ("/dev/null", own_log, own_log)
        sockets = {target for target in fds.values() if target.startswith("socket:")}
        for other in (host.plugin.process, host.spawner, first.executor):
            assert not sockets & set(fds_of(other.pid).values()), f"a socket of {other}"
        paths = {target for target in fds.values() if target.startswith("/tmp/")}
        own = (str(task.run.path), str(host.state_dir / "locks" / task.run.fence))
        pipes = tuple(str(log.path) for log in (task.stdout, task.stderr) if log is not None)
        assert all(path.startswith((*own, *pipes)) for path in paths), paths


async def test_an_executor_holds_none_of_the_agents_pipes() -> None:
    async with open_host() as host:
        task = host.sh(SLEEP)
        await host.start(task)
        agents = {target for target in fds_of(os.getpid()).values() if target.startswith("pipe:")}
        for process in (task.executor, host.spawner):
            assert not agents & set(fds_of(process.pid).values())
        await host.plugin.kill()  # fails if a pipe is held (H1)


async def test_a_workload_has_three_descriptors() -> None:
    async with open_host() as host:
        task = host.sh(SLEEP)
        await host.start(task)
        await task.out.wait_for("ready")
        fds = fds_of(task.workload_pid)
        assert fds[0] == "/dev/null"
        assert task.stdout is not None
        assert task.stderr is not None
        assert (fds.pop(1), fds.pop(2)) == (str(task.stdout.path), str(task.stderr.path))
        assert fds == {0: "/dev/null"}


async def test_the_agents_environment_stays_with_the_plugin() -> None:
    async with open_host(launch=False) as host:
        await host.launch(env=SECRET)
        env = {"LD_DEBUG": "none", "PYTHONHOME": "/nowhere", "MINE": "1"}
        task = host.task("sleep", "1000", env=env)
        await host.start(task)
        for process in (host.spawner, task.executor):
            environ = environ_of(process.pid)
            assert not SECRET.keys() & environ.keys()
            assert not {"LD_DEBUG", "MINE", "NOMAD_PLUGIN_MAGIC_COOKIE"} & environ.keys()
        assert environ_of(task.workload_pid) == dict(task.config.env)


async def test_spawner_executor_and_workload_have_a_session_each() -> None:
    async with open_host() as host:
        task = host.sh(SLEEP)
        await host.start(task)
        for process in (host.spawner, task.executor, task.workload):
            assert session_of(process.pid) == process.pid
        assert session_of(host.plugin.process.pid) == session_of(os.getpid())


async def test_a_workload_starts_with_default_signals_and_an_empty_mask() -> None:
    async with open_host() as host:
        text = await output_of(host, "exec grep -E '^Sig(Blk|Ign|Pnd)' /proc/self/status")
        values = {line.split()[1] for line in text.splitlines()}
        assert values == {"0" * 16}, text


async def test_a_workload_is_killed_by_the_kernel_when_its_executor_ends() -> None:
    async with open_host() as host:
        script = "import ctypes; n = ctypes.c_int(); ctypes.CDLL(None).prctl(2, ctypes.byref(n)); print(n)"
        text = await output_of(host, f"exec {sys.executable} -c '{script}'")
        assert text == f"c_int({int(signal.SIGKILL)})\n"


def oom_score_of(process: ProcessId) -> int:
    return int(Path(f"/proc/{process.pid}/oom_score_adj").read_text())


@pytest.mark.parametrize("agents", [500, -500])
async def test_the_score_for_the_oom_killer_is_the_jobs_not_the_agents(agents: int) -> None:
    async with open_host(launch=False) as host:
        await host.launch(
            prefix=("sh", "-c", f'echo {agents} > /proc/self/oom_score_adj; exec "$@"', "sh")
        )
        if oom_score_of(host.plugin.process) != agents:
            pytest.skip("this user may not lower it")
        task = host.sh(SLEEP)
        await host.start(task)
        assert oom_score_of(task.executor) == agents
        assert oom_score_of(task.workload) == 0


def with_limits(umask: str, open_files: int) -> tuple[str, ...]:
    return ("sh", "-c", f'umask {umask}; ulimit -n {open_files}; exec "$@"', "sh")


async def test_umask_and_rlimits_of_the_plugin_reach_the_workload() -> None:
    async with open_host(launch=False) as host:
        await host.launch(prefix=with_limits("027", 512))
        assert await output_of(host, "umask; ulimit -n") == "0027\n512\n"


async def test_umask_and_rlimits_are_those_of_the_plugin_that_asks_not_of_the_spawners() -> None:
    async with open_host(launch=False) as host:
        await host.launch(prefix=with_limits("027", 512))
        keeper = host.sh(SLEEP, name="keeper")
        await host.start(keeper)
        spawner = host.spawner
        await host.launch(prefix=with_limits("077", 400))
        assert await output_of(host, "umask; ulimit -n") == "0077\n400\n"
        assert host.spawner == spawner


async def test_the_path_of_the_plugin_that_asks_finds_the_command() -> None:
    async with open_host(launch=False) as host:
        program = host.home / "bin" / "only-here"
        program.parent.mkdir()
        program.write_text("#!/bin/sh\nexit 9\n")
        program.chmod(0o755)
        await host.launch()
        await host.start(host.sh(SLEEP, name="keeper"))
        await host.launch(env={"PATH": f"{program.parent}:{os.environ['PATH']}"})
        task: Task = host.task("only-here")
        await host.start(task)
        assert_exited(await host.plugin.wait(task), 9)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")
async def test_a_task_with_a_user_runs_as_that_user_with_its_groups_alone() -> None:
    async with open_host() as host:
        text = await output_of(host, "id -u; id -g; id -G", user="daemon")
        uid, gid, groups = text.splitlines()
        assert (uid, gid) == ("1", "1")
        assert "0" not in groups.split()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")
async def test_a_dynamic_user_is_a_number_without_an_entry() -> None:
    async with open_host() as host:
        text = await output_of(host, "id -u; id -g; id -G", user="nomad-80123")
        assert text == "80123\n80123\n80123\n"


async def test_a_task_runs_in_its_directory_or_where_it_likes() -> None:
    async with open_host() as host:
        task = host.sh("pwd")
        expected = f"{task.config.alloc_dir}/web\n"
        await host.start(task)
        assert await task.out.wait_end() == expected
        assert await output_of(host, "pwd", name="other", config={"work_dir": "/usr"}) == "/usr\n"


async def test_an_author_writes_to_the_tasks_log() -> None:
    async with open_host(SCRIPTED) as host:
        task = host.task(logs=True, config={"mode": "writes"})
        await host.start(task)
        assert_exited(await host.plugin.wait(task), 0)
        assert await task.out.wait_end() == "written by the executor\n"
