"""How it is known how a task ended: the words in parentheses of its last line."""

from trio_driver.executor.oom import OomEvidence
from trio_driver.executor.workload import Workload
from trio_driver.model import Lost, TaskExit


def evidence_of(
    task_exit: TaskExit, main: Workload | None, oom: OomEvidence | None, *, end_reason: str = ""
) -> str:
    """What the task's exit is known from.

    Args:
        main: the task's main process, if it had one.
        oom: what is known of its memory.
        end_reason: why we ended it, if we did.
    """
    parts: list[str] = []
    main_pid = main.pid if main is not None and main.task_exit == task_exit else None
    if main_pid is not None:
        parts.append(f"main process {main_pid}, status from wait")
    elif not isinstance(task_exit, Lost):
        parts.append("told by the driver")
    if oom is not None and oom.kills:
        if main_pid is not None and oom.is_victim(main_pid):
            parts.append("killed by the kernel: out of memory")
        else:
            what = "a process" if oom.kills == 1 else f"{oom.kills} processes"
            parts.append(f"the kernel killed {what} of the task: out of memory")
    if end_reason and not isinstance(task_exit, Lost):
        parts.append(end_reason)
    return "; ".join(parts)
