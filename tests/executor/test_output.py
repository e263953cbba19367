"""Log pipes: Nomad's alone, with a spare reader, ended when the task is (nomad-protocol §7)."""

import contextlib
import os
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from trio_driver.executor.events import watch_log_pipe
from trio_driver.executor.output import Output, open_output
from trio_driver.linux import fd_count
from trio_driver.model import LaunchError, Resources, TaskSpec
from trio_driver.state import Run


class Logs:
    """An allocation's log directory with both pipes, and their reader."""

    def __init__(self, alloc_dir: Path) -> None:
        self.alloc_dir = alloc_dir
        self.directory = alloc_dir / "alloc" / "logs"
        self.directory.mkdir(parents=True)
        self.paths = [self.directory / f".web.{name}.fifo" for name in ("stdout", "stderr")]
        for path in self.paths:
            os.mkfifo(path, 0o600)

    @property
    def spec(self) -> TaskSpec:
        return TaskSpec(
            id="alloc/web/1",
            alloc_id="alloc",
            name="web",
            alloc_dir=str(self.alloc_dir),
            user="",
            stdout_path=str(self.paths[0]),
            stderr_path=str(self.paths[1]),
            env={},
            resources=Resources(),
            msgpack_driver_config=b"",
        )

    @contextmanager
    def read(self) -> Generator[tuple[int, int]]:
        """As Nomad's collector has them open."""
        fds = [os.open(path, os.O_RDONLY | os.O_NONBLOCK) for path in self.paths]
        try:
            yield fds[0], fds[1]
        finally:
            for fd in fds:
                os.close(fd)


@pytest.fixture
def logs(tmp_path: Path) -> Generator[Logs]:
    fds = fd_count()
    yield Logs(tmp_path)
    assert fd_count() == fds, "a descriptor is left"


async def opened(logs: Logs, stack: ExitStack) -> Output:
    with trio.fail_after(5):
        return await open_output(logs.spec, stack)


async def test_what_is_written_arrives_and_the_end_follows_the_block(logs: Logs) -> None:
    with logs.read() as (stdout, stderr):
        with ExitStack() as stack:
            output = await opened(logs, stack)
            await output.stdout.write(b"out")
            await output.stderr.write(b"err")
            assert (os.read(stdout, 10), os.read(stderr, 10)) == (b"out", b"err")
        assert (os.read(stdout, 10), os.read(stderr, 10)) == (b"", b"")


async def test_a_writer_survives_the_death_of_the_log_reader(logs: Logs) -> None:
    with ExitStack() as stack:
        with logs.read():
            output = await opened(logs, stack)
        await output.stdout.write(b"kept for the next reader")  # neither SIGPIPE nor EPIPE
        with logs.read() as (stdout, _):
            assert os.read(stdout, 100) == b"kept for the next reader"


async def test_a_pipe_is_blocking_for_the_task(logs: Logs) -> None:
    with logs.read(), ExitStack() as stack:
        output = await opened(logs, stack)
        assert os.get_blocking(output.stdout.writer)


async def test_nothing_of_ours_is_inherited_by_a_program(logs: Logs) -> None:
    with logs.read(), ExitStack() as stack:
        output = await opened(logs, stack)
        for pipe in (output.stdout, output.stderr):
            assert not os.get_inheritable(pipe.writer)
            assert not os.get_inheritable(pipe.spare)


async def test_a_missing_second_pipe_leaves_the_first_closed(logs: Logs) -> None:
    logs.paths[1].unlink()
    with ExitStack() as stack:
        fd = os.open(logs.paths[0], os.O_RDONLY | os.O_NONBLOCK)
        stack.callback(os.close, fd)
        with ExitStack() as own, pytest.raises(LaunchError, match="stderr_path"):
            await open_output(logs.spec, own)
        assert os.read(fd, 10) == b""


async def test_a_reader_is_waited_for_on_virtual_time(
    logs: Logs, autojump_clock: trio.testing.MockClock
) -> None:
    with ExitStack() as stack, pytest.raises(LaunchError, match="nobody reads") as raised:
        await open_output(logs.spec, stack)
    assert raised.value.recoverable
    assert trio.current_time() == pytest.approx(10, abs=0.1)


async def test_a_write_to_a_full_pipe_waits_and_can_be_cancelled(logs: Logs) -> None:
    with logs.read() as (stdout, _), ExitStack() as stack:
        output = await opened(logs, stack)
        with trio.move_on_after(0.1) as scope:
            await output.stdout.write(bytes(1 << 20))
        assert scope.cancelled_caught
        queued = output.stdout.queued_bytes_if_full()
        assert queued is not None
        assert queued > 0
        assert os.read(stdout, 65536)
        assert output.stdout.queued_bytes_if_full() is None


async def test_a_large_write_arrives_whole(logs: Logs) -> None:
    data = os.urandom(300_000)
    received = bytearray()
    with logs.read() as (stdout, _), ExitStack() as stack:
        output = await opened(logs, stack)

        async def read() -> None:
            while len(received) < len(data):
                await trio.lowlevel.wait_readable(stdout)
                received.extend(os.read(stdout, 65536))

        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(read)
                await output.stdout.write(data)
    assert bytes(received) == data


@pytest.mark.parametrize("path", ["", os.devnull])
async def test_a_task_without_logs_writes_to_nowhere(logs: Logs, path: str) -> None:
    logs.paths = [Path(path) if path else Path(os.devnull)] * 2
    with ExitStack() as stack:
        output = await opened(logs, stack)
        await output.stdout.write(b"lost")
        assert output.stdout.queued_bytes_if_full() is None


@pytest.mark.parametrize("attack", ["file", "link", "linked-directory", "directory"])
async def test_what_is_no_pipe_of_the_allocation_is_refused_by_name(
    logs: Logs, tmp_path: Path, attack: str
) -> None:
    path = logs.paths[0]
    elsewhere = tmp_path / "elsewhere"
    path.unlink()
    match attack:
        case "file":
            path.write_text("precious")
        case "link":
            os.mkfifo(elsewhere)
            path.symlink_to(elsewhere)
        case "linked-directory":
            logs.directory.rename(elsewhere)
            os.mkfifo(elsewhere / path.name)
            logs.directory.symlink_to(elsewhere)
        case _:
            path.mkdir()
    with ExitStack() as stack, pytest.raises(LaunchError) as raised:
        await open_output(logs.spec, stack)
    assert (raised.value.step, raised.value.value) == ("stdout_path", str(path))
    if attack == "file":
        assert path.read_text() == "precious"


async def test_a_pipe_that_does_not_move_is_told_once_each_half_minute(
    logs: Logs, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    run = Run(tmp_path / "run", durable=False)
    run.create()
    with logs.read(), ExitStack() as stack:
        output = await opened(logs, stack)
        os.set_blocking(output.stdout.writer, False)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(output.stdout.writer, bytes(4096))
        with trio.move_on_after(95):
            await watch_log_pipe(output.stdout, run)
    events = run.take_events()
    assert 1 <= len(events) <= 3
    assert "stdout" in events[0].message
    assert int(events[0].annotations["queued_bytes"]) > 0


async def test_a_pipe_that_moves_is_not_told(
    logs: Logs, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    run = Run(tmp_path / "run", durable=False)
    run.create()
    with logs.read(), ExitStack() as stack:
        output = await opened(logs, stack)
        with trio.move_on_after(95):
            await watch_log_pipe(output.stdout, run)
    assert run.take_events() == []
