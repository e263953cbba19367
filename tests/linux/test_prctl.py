"""prctl(2), seen by its effects on real processes."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from trio_driver.linux import (
    children_of,
    is_child_subreaper,
    prctl,
    set_child_subreaper,
    set_name,
    set_no_new_privs,
    set_parent_death_signal,
)

from .conftest import run_in_fork


def status_of(pid: int | str, field: str) -> str:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line.split(":", 1)[1].strip() for line in lines if line.startswith(f"{field}:"))


def test_a_process_is_a_subreaper_from_when_it_says_so_until_it_says_not() -> None:
    def body() -> bool:
        before = is_child_subreaper()
        set_child_subreaper()
        during = is_child_subreaper()
        set_child_subreaper(False)
        return (before, during, is_child_subreaper()) == (False, True, False)

    assert run_in_fork(body)


def test_a_subreaper_gets_the_orphans_of_its_children() -> None:
    def body() -> bool:
        set_child_subreaper()
        reader, writer = os.pipe()
        if (middle := os.fork()) == 0:
            if os.fork() == 0:
                os.write(writer, str(os.getpid()).encode())
                signal.pause()
            os._exit(0)
        orphan = int(os.read(reader, 20))
        os.waitpid(middle, 0)
        adopted = children_of(os.getpid()) == [orphan]
        os.kill(orphan, signal.SIGKILL)
        os.waitpid(orphan, 0)
        return adopted

    assert run_in_fork(body) == "True"


def test_the_parent_death_signal_comes_when_the_parent_ends() -> None:
    def body() -> int:
        set_child_subreaper()
        reader, writer = os.pipe()
        if (parent := os.fork()) == 0:
            if os.fork() == 0:
                set_parent_death_signal(signal.SIGTERM)
                os.write(writer, str(os.getpid()).encode())
                signal.pause()
            signal.pause()
        victim = int(os.read(reader, 20))
        os.kill(parent, signal.SIGKILL)
        os.waitpid(parent, 0)
        return os.waitstatus_to_exitcode(os.waitpid(victim, 0)[1])

    assert run_in_fork(body) == str(-signal.SIGTERM)


def test_no_new_privs_is_set() -> None:
    def body() -> str:
        set_no_new_privs()
        return status_of("self", "NoNewPrivs")

    assert run_in_fork(body) == "'1'"
    assert status_of("self", "NoNewPrivs") == "0"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("web", "web"),
        ("a name that is too long", "a name that is "),
        ("1234567890123é", "1234567890123é"),
        ("12345678901234é", "12345678901234"),
        ("", ""),
    ],
)
def test_a_name_is_shown_cut_at_a_character(name: str, shown: str) -> None:
    def body() -> str:
        set_name(name)
        return Path("/proc/self/comm").read_text()

    assert run_in_fork(body) == repr(shown + "\n")


def test_a_name_with_a_zero_byte_is_refused() -> None:
    with pytest.raises(ValueError, match="zero byte"):
        set_name("a\0b")


def test_an_error_names_the_call_and_the_value() -> None:
    with pytest.raises(OSError, match=r"PR_SET_PDEATHSIG, 4096.*Invalid argument"):
        set_parent_death_signal(4096)


def test_an_impossible_option_keeps_the_kernels_errno() -> None:
    with pytest.raises(OSError, match="Invalid argument"):
        prctl._prctl("NONSENSE", 123456, 0)  # pyright: ignore[reportPrivateUsage]
