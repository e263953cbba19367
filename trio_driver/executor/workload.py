"""A workload: one command of a task, and whether it lives.

    async with open_workload(...) as workload:
        task_exit = await workload.wait()

Rules:
- Leaving the block kills the command and its process group, and reaps it. What escaped the group is
  in the run's containment, which is emptied when the task ends.
- A workload is signalled by number only while it is unreaped.
"""

import os
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import trio

from trio_driver.executor.children import ChildExit, Children
from trio_driver.executor.launch import ForkedChild, LaunchPlan, fork_child, read_report
from trio_driver.model import TaskExit

REAP_LIMIT_S = 10.0
"""How long a killed process may take to go before it is left to the containment as stuck."""


class Workload:
    """A running command, see `open_workload`."""

    def __init__(
        self, pid: int, plan: LaunchPlan, child_exit: ChildExit, children: Children
    ) -> None:
        self.pid = pid
        self.plan = plan
        self._child_exit = child_exit
        self._children = children

    @property
    def task_exit(self) -> TaskExit | None:
        """How the command ended; None while it runs."""
        return self._child_exit.task_exit

    async def wait(self) -> TaskExit:
        """Wait until the command's main process has ended. Any number of tasks may wait.

        If cancelled the command runs on.
        """
        await self._child_exit.ended.wait()
        assert self._child_exit.task_exit is not None
        return self._child_exit.task_exit

    def send_signal(self, signum: int, *, to_group: bool = False) -> bool:
        """Send `signum` to the main process, or to all that stayed in its process group; False when
        it has ended."""
        if not self._children.is_unreaped(self.pid):
            return False
        os.kill(-self.pid if to_group else self.pid, signum)
        return True

    def kill_nowait(self) -> None:
        """Kill the main process and all that stayed in its session's first process group."""
        if self._children.is_unreaped(self.pid):
            os.killpg(self.pid, signal.SIGKILL)


@asynccontextmanager
async def open_workload(plan: LaunchPlan, children: Children) -> AsyncGenerator[Workload]:
    """Run the command of `plan` for the length of the block.

    Raises:
        LaunchError: a step between fork and exec failed; nothing runs.

    If cancelled, or left in any other way, the command is killed and reaped.
    """
    child = fork_child(plan)
    workload = Workload(child.pid, plan, children.register(child.pid), children)
    try:
        await _wait_for_exec(child)
        yield workload
    finally:
        _kill(workload)
        # Shield: a killed but unreaped child would stay a zombie.
        # Ends by: SIGKILL, at the latest after REAP_LIMIT_S.
        with trio.move_on_after(REAP_LIMIT_S, shield=True):
            await workload.wait()


def _kill(workload: Workload) -> None:
    try:
        workload.kill_nowait()
    except ProcessLookupError:
        # Killed between fork and setsid: the group does not exist yet.
        workload.send_signal(signal.SIGKILL)


async def _wait_for_exec(child: ForkedChild) -> None:
    """Return when the child has become the program.

    Raises:
        LaunchError: a step failed.
    """
    try:
        await trio.lowlevel.wait_readable(child.report)
        if (error := read_report(child)) is not None:
            raise error
    finally:
        os.close(child.report)
