"""Exec sessions as Nomad's own conformance tests want them (nomad-protocol §10.2), and where they run."""

import os
import re

import pytest

from tests.support.host import SCRIPTED, Host, open_host
from tests.support.nomad_cgroups import nomad_cgroups
from tests.support.scripts import SLEEP
from tests.support.sessions import open_session, run_in
from tests.support.task import Task
from trio_driver.linux import cgroup

pytestmark = pytest.mark.cgroup

NO_TERMINAL = rb"stty: .?standard input.?: Inappropriate ioctl for device\n"


async def running(host: Host, task: Task | None = None) -> Task:
    """A task that does nothing for long."""
    task = task or host.sh(SLEEP)
    await host.start(task)
    await task.out.wait_for("ready")
    return task


@pytest.mark.parametrize(
    ("script", "stdin", "stdout", "stderr", "code"),
    [
        (
            "echo hello stdout; echo hello stderr >&2; exit 43",
            b"",
            b"hello stdout\n",
            b"hello stderr\n",
            43,
        ),
        ("for n in 1 2 3; do echo $n; sleep 1; done", b"", b"1\n2\n3\n", b"", 0),
        ("stty size", b"", b"", NO_TERMINAL, 1),
        (
            "echo hello from command; head -n1",
            b"hello from stdin\n",
            b"hello from command\nhello from stdin\n",
            b"",
            0,
        ),
    ],
    ids=["basic", "streaming", "stty", "stdin"],
)
async def test_a_session_without_a_terminal_conforms(
    script: str, stdin: bytes, stdout: bytes, stderr: bytes, code: int
) -> None:
    async with open_host() as host:
        result = await run_in(host.plugin, await running(host), script, stdin=stdin)
        assert (result[0], result[2]) == (stdout, code)
        assert re.fullmatch(stderr, result[1]), result[1]


@pytest.mark.parametrize(
    ("script", "stdin", "stdout", "code"),
    [
        (
            "echo hello stdout; echo hello stderr >&2; exit 43",
            b"",
            b"hello stdout\r\nhello stderr\r\n",
            43,
        ),
        ("for n in 1 2 3; do echo $n; sleep 1; done", b"", b"1\r\n2\r\n3\r\n", 0),
        ("sleep 1; stty size", b"", b"100 100\r\n", 0),
        ("head -n1", b"hello from stdin\n", b"hello from stdin\r\nhello from stdin\r\n", 0),
        (
            "(( sleep 3; echo from background ) & ); echo from main; exec sleep 1",
            b"",
            b"from main\r\n",
            0,
        ),
    ],
    ids=["basic", "streaming", "stty", "stdin", "children"],
)
async def test_a_session_with_a_terminal_conforms(
    script: str, stdin: bytes, stdout: bytes, code: int
) -> None:
    async with open_host() as host:
        result = await run_in(host.plugin, await running(host), script, stdin=stdin, tty=True)
        assert result == (stdout, b"", code)


async def test_sessions_see_the_hosts_files_as_the_task_does() -> None:
    async with open_host() as host:
        task = await running(host)
        script = 'FILE=$(mktemp); echo "$FILE"; echo "hello from the other side" >> "$FILE"'
        name, _, code = await run_in(host.plugin, task, script)
        assert code == 0
        path = name.decode().strip()
        assert os.path.exists(path), "no file system isolation"
        result = await run_in(host.plugin, task, f"cat {path}; rm {path}")
        assert result == (b"hello from the other side\n", b"", 0)


async def test_a_session_is_in_the_tasks_cgroup_but_in_one_of_its_own() -> None:
    async with open_host() as host:
        task = host.sh(SLEEP)
        with nomad_cgroups(task.config):
            await running(host, task)
            listing, _, code = await run_in(host.plugin, task, "cat /proc/self/cgroup")
            assert code == 0
            lines = listing.decode().split()
            unified = next(line for line in lines if line.startswith("0::"))
            assert re.search(r"/exec-\d+\.scope$", unified)
            assert task.run.name in unified
            if cgroup.find_mounts().v1:
                assert any(":freezer:/nomad" in line for line in lines)
            await host.plugin.destroy(task)


async def test_a_session_has_the_tasks_user_environment_and_directory() -> None:
    async with open_host() as host:
        task = host.sh(SLEEP, user="nobody", env={"COLOUR": "green", "HOME": "/of/the/job"})
        await running(host, task)
        script = 'id -un; id -Gn; echo "$USER $LOGNAME $HOME $COLOUR"; pwd; umask'
        shown, _, code = await run_in(host.plugin, task, script)
        user, groups, names, directory, _ = shown.decode().splitlines()
        assert (code, user, groups) == (0, "nobody", "nogroup")
        assert names == "nobody nobody /nonexistent green"
        assert directory == f"{task.config.alloc_dir}/web"


@pytest.mark.parametrize("tty", [False, True])
async def test_the_tasks_user_may_open_its_streams_again(tty: bool) -> None:
    async with open_host() as host:
        task = await running(host, host.sh(SLEEP, user="nobody"))
        script = "echo out > /dev/stdout && echo err > /dev/stderr && cat /dev/stdin"
        async with open_session(host.plugin, task, "sh", "-c", script, tty=tty) as session:
            await session.wait_for(b"out")
            await session.send(b"in\n", close=True)
            stdout, stderr, code = (await session.finish()).result
        assert (code, b"in" in stdout, b"err" in stdout + stderr) == (0, True, True)


async def test_a_session_has_no_descriptor_but_its_streams() -> None:
    async with open_host() as host:
        task = await running(host)
        shown, _, _ = await run_in(host.plugin, task, "exec ls /proc/self/fd")
        assert shown.split() == [b"0", b"1", b"2", b"3"], "the last is that of ls itself"


async def test_a_task_without_a_workload_has_sessions_too() -> None:
    async with open_host(SCRIPTED) as host:
        task = host.task(config={"mode": "no-workload"})
        await host.start(task)
        assert await run_in(host.plugin, task, "echo here; exit 5") == (b"here\n", b"", 5)


async def test_a_session_has_the_options_of_its_task() -> None:
    async with open_host() as host:
        options = {
            "work_dir": "/usr",
            "oom_score_adj": 321,
            "ulimit": [{"nofile": "77:88"}],
            "denied_envvars": ["SECRET_*"],
        }
        task = host.sh(SLEEP, env={"SECRET_WORD": "x", "COLOUR": "green"}, config=options)
        await running(host, task)
        script = "pwd; cat /proc/self/oom_score_adj; ulimit -Sn; ulimit -Hn; env | sort"
        shown, _, code = await run_in(host.plugin, task, script)
        lines = shown.decode().splitlines()
        assert (code, lines[:4]) == (0, ["/usr", "321", "77", "88"])
        assert "COLOUR=green" in lines
        assert not any("SECRET" in line for line in lines)
