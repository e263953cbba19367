"""What a task is given and what it writes: environment, user, directory, limits, logs."""

import os
import pwd

import trio

from .installation import ours_only
from .jobs import run_with
from .nomad import Agent
from .waiting import LIMIT_S, LOOK_AGAIN_S, within

LINES = 20_000


async def test_the_log_has_every_line_in_order_on_both_streams(agent: Agent) -> None:
    allocation = await run_with(agent, "many_lines")
    for stream, word in (("stdout", "out"), ("stderr", "err")):
        text = await allocation.output(until=b"%s %05d\n" % (word.encode(), LINES), stream=stream)
        assert text.decode().split("\n")[:-1] == [
            f"{word} {number:05d}" for number in range(1, LINES + 1)
        ]
    assert not (await allocation.when_dead()).failed


async def test_the_task_gets_the_jobs_environment_and_nomads(agent: Agent) -> None:
    allocation = await run_with(agent, "environment")
    lines = (await allocation.output(until=b"end\n")).decode().splitlines()
    environ = {name: value for name, _, value in (line.partition("=") for line in lines)}
    assert environ["GREETING"] == "hello world"
    assert environ["NOMAD_META_color"] == "blue"
    assert environ["NOMAD_TASK_NAME"] == "task"
    assert environ["NOMAD_ALLOC_ID"] == allocation.id
    assert environ["NOMAD_MEMORY_LIMIT"] == "32"
    assert environ["NOMAD_TASK_DIR"] == str(allocation.path / "task" / "local")
    assert environ["NOMAD_ALLOC_DIR"] == str(allocation.path / "alloc")
    assert environ["NOMAD_SECRETS_DIR"] == str(allocation.path / "task" / "secrets")
    assert environ["PWD"] == str(allocation.path / "task")
    assert environ["UID"] == "0"


async def test_the_plugins_own_environment_stays_out_of_the_task(agent: Agent) -> None:
    allocation = await run_with(agent, "environment")
    text = (await allocation.output(until=b"end\n")).decode()
    assert "NOMAD_PLUGIN_MAGIC_COOKIE" not in text
    assert "PLUGIN_" not in text


async def test_the_task_runs_in_the_jobs_work_dir(agent: Agent) -> None:
    allocation = await run_with(agent, "work_dir")
    assert await allocation.output(until=b"\n") == b"/usr/share\n"


@ours_only  # raw_exec adds gid 0
async def test_the_task_runs_as_the_jobs_user_with_that_users_groups(agent: Agent) -> None:
    allocation = await run_with(agent, "as_user")
    nobody = pwd.getpwnam("nobody")
    groups = len(os.getgrouplist("nobody", nobody.pw_gid))
    name, group_names, _ = (await allocation.output(until=b"end\n")).decode().splitlines()
    assert name == "nobody"
    assert "root" not in group_names.split()
    assert len(group_names.split()) == groups


async def test_the_tasks_memory_is_shown(agent: Agent) -> None:
    allocation = await run_with(agent, "stays")
    await allocation.first_pid()
    async with within(LIMIT_S, "the memory of the task", lambda: "none"):
        while not await allocation.memory_bytes():  # the next collection comes within a second
            await trio.sleep(LOOK_AGAIN_S)
    assert 0 < await allocation.memory_bytes() < 32 << 20


@ours_only
async def test_a_task_that_exceeds_its_memory_is_shown_as_oom_killed(agent: Agent) -> None:
    state = await (await run_with(agent, "out_of_memory")).when_dead()
    assert state.failed
    (terminated,) = state.of_type("Terminated")
    assert terminated.detail("oom_killed") == "true"
    assert terminated.detail("signal") == "9"
