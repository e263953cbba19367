"""`nomad alloc exec` as an operator types it, with and without a terminal."""

import os
import subprocess
from functools import partial
from pathlib import Path

import trio

from trio_driver.linux import open_terminal, set_terminal_size

from .jobs import Allocation, run_with
from .nomad import Agent
from .waiting import LIMIT_S, file_holds, wait_ended


def command_of(allocation: Allocation, flags: str, *words: str) -> list[str]:
    """What is typed; `flags` as one word."""
    address = f"-address=http://127.0.0.1:{allocation.agent.http_port}"
    return ["nomad", "alloc", "exec", address, *flags.split(), allocation.id, *words]


async def alloc_exec(
    allocation: Allocation, flags: str, *words: str, stdin: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    """Run it with pipes."""
    with trio.fail_after(LIMIT_S):
        return await trio.run_process(
            command_of(allocation, flags, *words),
            stdin=stdin,
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )


async def ready(agent: Agent) -> Allocation:
    allocation = await run_with(agent, "stays")
    await allocation.first_pid()
    return allocation


async def test_output_is_told_apart_and_the_exit_code_is_the_commands(agent: Agent) -> None:
    allocation = await ready(agent)
    script = "echo out; echo err >&2; pwd; exit 43"
    result = await alloc_exec(allocation, "-i=false -t=false", "sh", "-c", script)
    task_dir = f"{allocation.path}/task\n"
    assert (result.stdout.decode(), result.stderr) == (f"out\n{task_dir}", b"err\n")
    assert result.returncode == 43


async def test_a_command_that_is_killed_tells_its_signal(agent: Agent) -> None:
    allocation = await ready(agent)
    result = await alloc_exec(allocation, "-i=false -t=false", "sh", "-c", "kill -KILL $$")
    assert result.returncode == 137


async def test_a_megabyte_goes_in_and_comes_back(agent: Agent) -> None:
    allocation = await ready(agent)
    data = os.urandom(1 << 20)
    result = await alloc_exec(allocation, "-i=true -t=false", "cat", stdin=data)
    assert result.stdout == data
    assert result.returncode == 0


async def test_a_command_that_is_not_there_is_named(agent: Agent) -> None:
    allocation = await ready(agent)
    result = await alloc_exec(allocation, "-i=false -t=false", "/no/such")
    assert result.returncode == 1
    assert b'failed to start command: command "/no/such": No such file' in result.stderr


async def test_a_terminal_has_the_size_of_the_users_own(agent: Agent) -> None:
    allocation = await ready(agent)
    script = "read word; echo got $word; stty size; tty; exit 7"
    terminal = open_terminal()
    set_terminal_size(terminal.master, rows=33, columns=99)
    os.set_blocking(terminal.master, False)
    command = command_of(allocation, "-i=true -t=true", "sh", "-c", script)
    shown = b""
    async with trio.open_nursery() as nursery:
        run = partial(
            trio.run_process,
            command,
            stdin=terminal.slave,
            stdout=terminal.slave,
            stderr=terminal.slave,
            check=False,
        )
        process: trio.Process = await nursery.start(run)
        os.close(terminal.slave)
        os.write(terminal.master, b"word\n")
        with trio.fail_after(LIMIT_S):
            while b"/dev/pts/" not in shown:
                await trio.lowlevel.wait_readable(terminal.master)
                shown += os.read(terminal.master, 4096)
            assert await process.wait() == 7
    os.close(terminal.master)
    assert b"got word\r\n33 99\r\n" in shown


async def test_a_user_who_goes_away_takes_the_command_along(agent: Agent) -> None:
    allocation = await ready(agent)
    script = "echo $$; while :; do echo on; sleep 0.1; done"
    command = command_of(allocation, "-i=false -t=false", "sh", "-c", script)
    process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    async with process.stdout:
        shown = b""
        while b"\n" not in shown:
            shown += await process.stdout.receive_some()
        process.kill()
        await process.wait()
    await wait_ended(int(shown.split()[0]), limit_s=LIMIT_S)


async def test_a_template_script_runs_in_the_task(agent: Agent) -> None:
    def variable(word: str) -> dict[str, object]:
        return {"Path": "nomad/jobs", "Items": {"word": word}}

    def has_been_told(path: Path) -> bool:
        return path.exists() and path.read_text() == "nobody green second\n"

    await agent.api.put("/var/nomad/jobs", variable("first"))
    allocation = await run_with(agent, "template_script")
    await allocation.first_pid()
    await agent.api.put("/var/nomad/jobs", variable("second"))
    told = allocation.path / "task/local/told"
    await file_holds(told, has_been_told, "the script has run in the task")
