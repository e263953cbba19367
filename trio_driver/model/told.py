"""What an operator is told of a task: the lines of `nomad alloc status`, each made here.

A line is for people; its annotations are for programs: `event` says which line it is, the others
hold what the line says, as strings.

Rules:
- No line tells a command, an argument or a value of the environment: they may be secrets.
- What is not known is said to be unknown.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from trio_driver.model.exit import Exited, Lost, Signaled, TaskExit, describe_exit


@dataclass(frozen=True, slots=True)
class Line:
    """One event's text."""

    message: str
    annotations: Mapping[str, str]


def _line(message: str, event: str, **annotations: object) -> Line:
    return Line(
        message, {"event": event, **{key: str(value) for key, value in annotations.items()}}
    )


def started_line(*, pid: int, tier: str, executor_pid: int) -> Line:
    """The task runs; `pid` is 0 for one without a workload."""
    who = f"pid {pid}" if pid else "no command of its own"
    return _line(
        f"Started: {who}, containment {tier}",
        "started",
        pid=pid,
        containment=tier,
        executor_pid=executor_pid,
    )


def not_applied_line(text: str) -> Line:
    """Something that the job asks for has no effect."""
    return _line(text, "not_applied")


def stopping_line(*, asked: str, grace_s: float) -> Line:
    """A stop begins.

    Args:
        asked: the signal, or the rungs of the job's ladder.
        grace_s: how long it may take; 0 kills at once.
    """
    if grace_s <= 0:
        return _line("Stopping: SIGKILL", "stopping", asked="SIGKILL", grace_s="0")
    message = f"Stopping: {asked}, then SIGKILL after {grace_s:g} s"
    return _line(message, "stopping", asked=asked, grace_s=f"{grace_s:g}")


def driver_loss_line(*, limit_s: float) -> Line:
    """The executor stops what no driver looks after."""
    message = f"Stopping: no driver for {limit_s:g} s (stop_after_driver_loss)"
    return _line(message, "driver_lost", limit_s=f"{limit_s:g}")


def rung_line(*, number: int, count: int, rung: str, outcome: str) -> Line:
    """What one rung of a job's ladder did."""
    message = f"Stop, rung {number} of {count}, {rung}: {outcome}"
    return _line(message, "rung", rung=number, outcome=outcome)


def other_signal_line(signal_name: str, reason: str) -> Line:
    """A stop does not use the signal that the job names."""
    return _line(
        f"Stops with {signal_name} instead: {reason}", "signal_refused", signal=signal_name
    )


def killed_line(why: str) -> Line:
    """The containment is killed, for asking did not end the task."""
    return _line(f"Killed: {why}", "killed", signal="SIGKILL")


def out_of_memory_line(
    *, kills: int, victims: Mapping[int, str], is_host_wide: bool | None = None
) -> Line:
    """The kernel killed processes of the task for memory.

    Args:
        kills: how many.
        victims: those of them that the kernel's log names, by pid.
        is_host_wide: whether the host had no memory left, and not the task; None: not known.
    """
    names = ", ".join(f"{pid} ({name})" for pid, name in victims.items())
    if names:
        what = f"process {names}" if len(victims) == 1 else f"processes {names}"
        more = f" and {kills - len(victims)} more" if kills > len(victims) else ""
        killed = f"killed {what}{more}"
    else:
        one = "a process" if kills == 1 else f"{kills} processes"
        killed = f"killed {one} of the task; which is not known"
    where = {True: "; the host had none left", False: "; the task's limit was reached", None: ""}
    return _line(
        f"Out of memory: the kernel {killed}{where[is_host_wide]}",
        "out_of_memory",
        kills=kills,
        pids=" ".join(map(str, victims)),
    )


def executor_lost_line(*, executor_pid: int) -> Line:
    """The executor died without having been asked to."""
    return _line("Executor lost; its task was killed", "executor_lost", executor_pid=executor_pid)


def stuck_line(remains: str) -> Line:
    """Processes outlive SIGKILL."""
    return _line(f"Stuck: {remains}", "stuck")


def orphan_line(*, grace_s: float) -> Line:
    """Nobody asked for the task any more."""
    return _line(f"Destroyed an orphan: nobody asked for it for {grace_s:g} s", "orphan_destroyed")


def adopted_line(*, of: str, executor_pid: int, pid: int) -> Line:
    """A running task was found again after a restart `of` the plugin or of the agent."""
    return _line(
        f"Adopted after a restart of the {of}: pid {pid}, executor {executor_pid}, undisturbed",
        "adopted",
        pid=pid,
        executor_pid=executor_pid,
    )


def ended_line(task_exit: TaskExit, *, evidence: str, oom_killed: bool) -> Line:
    """How the task ended, and how that is known; the last line of a run."""
    described = describe_exit(task_exit)
    match task_exit:
        case Exited(code):
            known = {"exit_code": code}
        case Signaled(signum):
            known = {"signal": signum}
        case Lost(_):
            described, known = described.removeprefix("was "), {}
    message = described[0].upper() + described[1:] + (f" ({evidence})" if evidence else "")
    return _line(message, "ended", **known, oom_killed=str(oom_killed).lower(), evidence=evidence)
