"""What an operator reads, and what a program finds beside it."""

import pytest

from trio_driver.model import (
    Exited,
    Lost,
    Signaled,
    TaskExit,
    ended_line,
    out_of_memory_line,
    started_line,
    stopping_line,
)


@pytest.mark.parametrize(
    ("task_exit", "evidence", "message"),
    [
        (
            Exited(3),
            "main process 12, status from wait",
            "Exited with code 3 (main process 12, status from wait)",
        ),
        (Signaled(15), "", "Was ended by SIGTERM"),
        (Lost("why"), "", "Lost: why"),
    ],
)
def test_the_last_line_says_how_the_task_ended_and_how_that_is_known(
    task_exit: TaskExit, evidence: str, message: str
) -> None:
    line = ended_line(task_exit, evidence=evidence, oom_killed=False)
    assert line.message == message
    assert line.annotations["event"] == "ended"
    assert line.annotations["evidence"] == evidence


def test_programs_find_numbers_and_not_what_is_unknown() -> None:
    exited = ended_line(Exited(3), evidence="", oom_killed=True).annotations
    assert (exited["exit_code"], exited["oom_killed"]) == ("3", "true")
    lost = ended_line(Lost("why"), evidence="", oom_killed=False).annotations
    assert not {"exit_code", "signal"} & lost.keys()


@pytest.mark.parametrize(
    ("kills", "victims", "is_host_wide", "message"),
    [
        (
            1,
            {7: "tail"},
            False,
            "Out of memory: the kernel killed process 7 (tail); the task's limit was reached",
        ),
        (
            3,
            {7: "tail", 8: "a"},
            True,
            "Out of memory: the kernel killed processes 7 (tail), 8 (a) and 1 more;"
            " the host had none left",
        ),
        (1, {}, None, "Out of memory: the kernel killed a process of the task; which is not known"),
    ],
)
def test_who_was_killed_for_memory_is_named_as_far_as_it_is_known(
    kills: int, victims: dict[int, str], is_host_wide: bool | None, message: str
) -> None:
    line = out_of_memory_line(kills=kills, victims=victims, is_host_wide=is_host_wide)
    assert line.message == message
    assert line.annotations["pids"] == " ".join(map(str, victims))


def test_a_task_without_a_command_has_no_pid() -> None:
    assert "no command of its own" in started_line(pid=0, tier="none", executor_pid=5).message


def test_a_stop_without_grace_is_a_kill() -> None:
    line = stopping_line(asked="SIGINT", grace_s=0)
    assert (line.message, line.annotations["asked"]) == ("Stopping: SIGKILL", "SIGKILL")
