"""Terminals: their size, whose they are, and how their input ends."""

from __future__ import annotations

import os
import termios
import tty
from collections.abc import Generator

import pytest

from trio_driver.linux import (
    Terminal,
    end_of_input,
    make_controlling,
    open_terminal,
    set_terminal_size,
)

from .conftest import run_in_fork


@pytest.fixture
def terminal() -> Generator[Terminal]:
    opened = open_terminal()
    yield opened
    os.close(opened.master)
    os.close(opened.slave)


def test_both_ends_are_close_on_exec(terminal: Terminal) -> None:
    assert not os.get_inheritable(terminal.master)
    assert not os.get_inheritable(terminal.slave)


@pytest.mark.parametrize(
    ("rows", "columns", "seen"),
    [(24, 80, (80, 24)), (70_000, -5, (0, 65_535)), (0, 0, (0, 0))],
)
def test_a_size_is_seen_at_the_other_end(
    terminal: Terminal, rows: int, columns: int, seen: tuple[int, int]
) -> None:
    set_terminal_size(terminal.master, rows=rows, columns=columns)
    assert os.get_terminal_size(terminal.slave) == seen


def test_a_pipe_has_no_size() -> None:
    reader, writer = os.pipe()
    with pytest.raises(OSError, match="Inappropriate ioctl"):
        set_terminal_size(writer, rows=1, columns=1)
    os.close(reader)
    os.close(writer)


def test_the_leader_of_a_session_may_take_it() -> None:
    def body() -> tuple[bool, bool]:
        opened = open_terminal()
        os.setsid()
        try:
            os.open("/dev/tty", os.O_RDWR)
            had_one = True
        except OSError:
            had_one = False
        make_controlling(opened.slave)
        return had_one, os.tcgetpgrp(opened.slave) == os.getpid()

    assert run_in_fork(body) == repr((False, True))


def test_nobody_else_may_take_it(terminal: Terminal) -> None:
    def body() -> str:
        try:
            make_controlling(terminal.slave)
        except OSError as error:
            return type(error).__name__
        return "taken"

    assert run_in_fork(body) == repr("PermissionError")


def test_what_ends_the_input_is_typed(terminal: Terminal) -> None:
    os.write(terminal.master, b"line\n" + end_of_input(terminal.master))
    assert os.read(terminal.slave, 100) == b"line\n"
    assert os.read(terminal.slave, 100) == b""


def test_what_ends_the_input_is_what_the_terminal_says(terminal: Terminal) -> None:
    attributes = termios.tcgetattr(terminal.slave)
    attributes[6][termios.VEOF] = b"\x1a"
    termios.tcsetattr(terminal.slave, termios.TCSANOW, attributes)
    assert end_of_input(terminal.master) == b"\x1a"


def test_nothing_ends_the_input_of_one_who_reads_raw(terminal: Terminal) -> None:
    tty.setraw(terminal.slave)
    assert end_of_input(terminal.master) == b""
