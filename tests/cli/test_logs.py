"""Log pipes: real FIFOs, real writers."""

import os
import stat
import subprocess
from pathlib import Path

import pytest
import trio
import trio.testing

from trio_driver.cli.logs import MAX_LINE_BYTES, Terminal, copy_lines, copy_output, open_fifo


class Collected:
    """A terminal that keeps what it is given, with a signal for each piece."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.got = trio.Event()

    async def write(self, text: bytes) -> None:
        self.pieces.append(text)
        self.got.set()
        await trio.lowlevel.checkpoint()

    @property
    def text(self) -> bytes:
        return b"".join(self.pieces)


def write(path: Path, script: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(["/bin/sh", "-c", f'exec >"$0"; {script}', path])


def writer_with_stdin(script: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(["/bin/sh", "-c", script], stdin=subprocess.PIPE)


def test_the_pipe_is_private_and_gone_after_the_block(tmp_path: Path) -> None:
    path = tmp_path / ".t.stdout.fifo"
    with open_fifo(path) as fd:
        assert stat.S_ISFIFO(path.stat().st_mode)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert not os.get_inheritable(fd)
    assert not path.exists()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_the_pipe_may_have_been_removed_by_the_task(tmp_path: Path) -> None:
    with open_fifo(tmp_path / "fifo"):
        (tmp_path / "fifo").unlink()


async def test_output_arrives_while_the_writer_lives_and_ends_with_it(tmp_path: Path) -> None:
    output = Collected()
    path = tmp_path / "fifo"
    with open_fifo(path) as fd, trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(copy_output, fd, output.write)
            await trio.testing.wait_all_tasks_blocked()  # no writer yet: not the end
            script = f"exec >{path}; printf one; read line; printf two"
            with writer_with_stdin(script) as writer:
                await output.got.wait()
                assert (output.text, writer.poll()) == (b"one", None)
                writer.communicate(b"\n")
    assert output.text == b"onetwo"


async def test_lines_carry_their_prefix_and_the_last_gets_its_end(tmp_path: Path) -> None:
    output = Collected()
    with (
        open_fifo(tmp_path / "fifo") as fd,
        write(tmp_path / "fifo", r"printf 'a\nb'; printf 'c\n\nend'"),
        trio.fail_after(10),
    ):
        await copy_lines(fd, output.write, prefix=b"t | ")
    assert output.text == b"t | a\nt | bc\nt | \nt | end\n"


async def test_a_line_without_end_is_passed_on_in_pieces(tmp_path: Path) -> None:
    output = Collected()
    size = 3 * MAX_LINE_BYTES
    with (
        open_fifo(tmp_path / "fifo") as fd,
        write(tmp_path / "fifo", f"head -c {size} /dev/zero"),
        trio.fail_after(10),
    ):
        await copy_lines(fd, output.write, prefix=b"")
    assert output.text.count(b"\0") == size
    assert max(map(len, output.text.split(b"\n"))) <= MAX_LINE_BYTES


async def test_a_slow_terminal_does_not_stop_the_loop(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    try:
        terminal = Terminal(writer)
        with trio.move_on_after(0.05) as scope:
            await terminal.write(b"x" * 1_000_000)
        assert scope.cancelled_caught
    finally:
        os.close(reader)
        os.close(writer)


async def test_a_terminal_that_somebody_made_non_blocking_still_gets_everything() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    size = 300_000

    def drain() -> int:
        return sum(map(len, iter(lambda: os.read(reader, 65536), b"")))

    async def fill() -> None:
        await Terminal(writer).write(b"x" * size)
        os.close(writer)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(fill)
        assert await trio.to_thread.run_sync(drain) == size
    os.close(reader)


async def test_a_terminal_without_reader_says_so() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with pytest.raises(BrokenPipeError):
        await Terminal(writer).write(b"x")
    os.close(writer)
