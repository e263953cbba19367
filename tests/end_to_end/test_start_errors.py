"""A start that fails names the step and the value, and leaves nothing (design §2)."""

import os
from pathlib import Path

import pytest
import trio

from tests.support.exits import assert_exited
from tests.support.host import SCRIPTED, Host, open_host
from tests.support.task import Task
from trio_driver._proto import driver_pb2, recoverable_error_pb2
from trio_driver.rpc import RpcError

pytestmark = pytest.mark.cgroup

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def is_recoverable(error: RpcError) -> bool:
    """What Nomad reads from the first detail (nomad-protocol §5.1)."""
    url, data = error.details[0]
    assert url.endswith("/hashicorp.nomad.plugins.shared.structs.RecoverableError")
    return recoverable_error_pb2.RecoverableError.FromString(data).recoverable


async def fails(host: Host, task: Task, text: str, *, recoverable: bool = False) -> None:
    """The start of `task` is refused with `text`, and nothing is left of it; the plugin is well."""
    with pytest.raises(RpcError) as raised:
        await host.plugin.start(task)
    assert text in raised.value.message
    assert is_recoverable(raised.value) is recoverable
    await host.nothing_is_left()
    good = host.sh("exit 3", name="good")
    await host.start(good)
    assert_exited(await host.plugin.wait(good), 3)
    await host.plugin.destroy(good)


async def test_a_missing_command_is_named() -> None:
    async with open_host() as host:
        await fails(host, host.task("/nope"), 'command "/nope": No such file or directory')


async def test_a_command_that_is_nowhere_on_the_path_is_named() -> None:
    async with open_host() as host:
        await fails(host, host.task("no-such-program"), 'command "no-such-program": found neither')


async def test_an_empty_command_is_refused() -> None:
    async with open_host() as host:
        await fails(host, host.task(""), 'command ""')


async def test_a_command_that_is_not_executable_is_named() -> None:
    async with open_host() as host:
        program = host.home / "program"
        program.write_text("#!/bin/sh\n")
        await fails(host, host.task(str(program)), f'command "{program}": Permission denied')


async def test_a_command_with_a_missing_interpreter_is_named() -> None:
    async with open_host() as host:
        program = host.home / "program"
        program.write_text("#!/no/such/interpreter\n")
        program.chmod(0o755)
        await fails(host, host.task(str(program)), f'command "{program}": No such file')


async def test_a_command_that_is_no_program_is_named() -> None:
    async with open_host() as host:
        program = host.home / "program"
        program.write_text("hello")
        program.chmod(0o755)
        await fails(host, host.task(str(program)), f'command "{program}": Exec format error')


async def test_a_command_that_is_a_directory_is_named() -> None:
    async with open_host() as host:
        await fails(host, host.task("/usr/bin"), 'command "/usr/bin": Permission denied')


async def test_a_missing_work_dir_is_named() -> None:
    async with open_host() as host:
        task = host.task("true", config={"work_dir": "/nope"})
        await fails(host, task, 'work_dir "/nope": No such file or directory')


async def test_a_relative_work_dir_is_refused() -> None:
    async with open_host() as host:
        task = host.task("true", config={"work_dir": "local"})
        await fails(host, task, 'work_dir must be an absolute path, "local" is relative')


async def test_a_work_dir_that_is_a_file_is_named() -> None:
    async with open_host() as host:
        task = host.task("true", config={"work_dir": "/etc/passwd"})
        await fails(host, task, 'work_dir "/etc/passwd": Not a directory')


async def test_an_unknown_user_is_named() -> None:
    async with open_host() as host:
        await fails(host, host.task("true", user="alice"), "unknown user alice")


async def test_an_allocation_directory_that_is_gone_is_named() -> None:
    async with open_host() as host:
        task = host.task("true")
        gone = f"{task.config.alloc_dir}-gone"
        task.config.alloc_dir = gone
        await fails(host, task, f'work_dir "{gone}/web": No such file or directory')


async def test_a_missing_log_pipe_is_named() -> None:
    async with open_host() as host:
        task = host.task("true")
        path = Path(task.config.alloc_dir, "alloc", "logs", ".web.stdout.fifo")
        task.config.stdout_path = str(path)
        await fails(host, task, f'stdout_path "{path}": No such file or directory')


async def test_a_log_pipe_without_a_reader_is_given_up_after_a_while() -> None:
    async with open_host() as host:
        task = host.task("true")
        path = Path(task.config.alloc_dir, "alloc", "logs", ".web.stderr.fifo")
        os.mkfifo(path)
        task.config.stderr_path = str(path)
        await fails(host, task, f'stderr_path "{path}": nobody reads', recoverable=True)


async def test_a_late_reader_of_a_log_pipe_is_waited_for() -> None:
    async with open_host() as host:
        task = host.task("echo", "hello")
        path = Path(task.config.alloc_dir, "alloc", "logs", ".web.stdout.fifo")
        os.mkfifo(path)
        task.config.stdout_path = str(path)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(host.start, task)
            await host.becomes(executors=1)
            reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        assert_exited(await host.plugin.wait(task), 0)
        assert os.read(reader, 100) == b"hello\n"
        assert os.read(reader, 100) == b"", "no end of the pipe is left open"
        os.close(reader)


@pytest.mark.parametrize("target", ["file", "fifo"])
async def test_a_symbolic_link_instead_of_a_log_pipe_is_not_followed(target: str) -> None:
    async with open_host() as host:
        task = host.task("echo", "overwritten")
        elsewhere = host.home / "elsewhere"
        elsewhere.write_text("precious") if target == "file" else os.mkfifo(elsewhere)
        path = Path(task.config.alloc_dir, "alloc", "logs", ".web.stdout.fifo")
        path.symlink_to(elsewhere)
        task.config.stdout_path = str(path)
        await fails(host, task, f'stdout_path "{path}"')
        assert target == "fifo" or elsewhere.read_text() == "precious"


async def test_a_symbolic_link_on_the_way_to_a_log_pipe_is_not_followed() -> None:
    async with open_host() as host:
        task = host.task("echo", "elsewhere")
        logs = Path(task.config.alloc_dir, "alloc", "logs")
        elsewhere = host.home / "elsewhere"
        elsewhere.mkdir()
        os.mkfifo(elsewhere / "pipe")
        reader = os.open(elsewhere / "pipe", os.O_RDONLY | os.O_NONBLOCK)
        logs.rmdir()
        logs.symlink_to(elsewhere)
        task.config.stdout_path = str(logs / "pipe")
        await fails(host, task, f'stdout_path "{logs / "pipe"}"')
        os.close(reader)


async def test_a_plain_file_instead_of_a_log_pipe_is_not_written_to() -> None:
    async with open_host() as host:
        task = host.task("echo", "overwritten")
        path = Path(task.config.alloc_dir, "alloc", "logs", ".web.stdout.fifo")
        path.write_text("precious")
        task.config.stdout_path = str(path)
        await fails(host, task, f'stdout_path "{path}": not a FIFO')
        assert path.read_text() == "precious"


async def test_driver_config_that_is_not_of_our_schema_is_refused() -> None:
    async with open_host() as host:
        task = host.task("true")
        task.config.msgpack_driver_config = b"\x81\xa7command\x01"
        await fails(host, task, "command")
        task = host.task("true")
        task.config.msgpack_driver_config = b"not msgpack"
        await fails(host, task, "config")


@needs_root
async def test_a_limit_that_the_kernel_refuses_is_named() -> None:
    async with open_host() as host:
        resources = driver_pb2.Resources()
        resources.allocated_resources.memory.memory_mb = -5
        task = host.task("true", resources=resources)
        if not host.tier.has_cgroup:
            pytest.skip("no cgroup has a limit here")
        with pytest.raises(RpcError, match=r"cgroup limit .*memory.* Invalid argument"):
            await host.plugin.start(task)
        await host.nothing_is_left()


async def test_a_disabled_driver_starts_nothing() -> None:
    async with open_host(config={"enabled": False}) as host:
        with pytest.raises(RpcError, match="trio is disabled: set enabled = true"):
            await host.plugin.start(host.task("true"))
        assert host.family.counts().spawners == 0


@pytest.mark.parametrize(
    ("mode", "text"),
    [
        ("raises", "the driver's run() failed: RuntimeError(\"the author's mistake\")"),
        ("refuses", "the moon is full"),
    ],
)
async def test_a_run_that_fails_before_the_task_started_is_an_error_of_the_start(
    mode: str, text: str
) -> None:
    async with open_host(SCRIPTED) as host:
        with pytest.raises(RpcError) as raised:
            await host.plugin.start(host.task(config={"mode": mode}))
        assert text in raised.value.message
        await host.nothing_is_left()


async def test_a_value_that_is_longer_than_a_report_is_named_by_its_beginning() -> None:
    async with open_host() as host:
        task = host.task("true", config={"work_dir": "/" + "long" * 2000})
        await fails(host, task, 'work_dir "/longlong')


async def test_texts_that_the_kernel_cannot_take_are_named() -> None:
    async with open_host() as host:
        await fails(host, host.task("echo", "a\0b"), "args: must not contain NUL")
        task = host.task("true", config={"work_dir": "/a\0b"})
        await fails(host, task, "work_dir: must not contain NUL")
        task = host.task("true", env={"SECRET": "a\0b"})
        await fails(host, task, 'env "SECRET": must not contain NUL')
        await fails(host, host.task("true", env={"": "x"}), "env: a variable needs a name")
