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
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

import trio

from trio_driver.executor.children import ChildExit, Children
from trio_driver.executor.launch import ForkedChild, LaunchPlan, fork_child, read_report
from trio_driver.executor.proxy import find_behind
from trio_driver.linux import has_ended, signal_pidfd
from trio_driver.model import TaskExit

REAP_LIMIT_S = 10.0
"""How long a killed process may take to go before it is left to the containment as stuck."""


class Workload:
    """A running command, see `open_workload`."""

    def __init__(
        self, pid: int, plan: LaunchPlan, child_exit: ChildExit, children: Children
    ) -> None:
        self.pid = pid
        """The command's main process."""
        self.plan = plan
        self._child_pid = pid
        """Our own child: the main process, or its proxy."""
        self._pidfd = -1
        """Of a main process that is not our child."""
        self._child_exit = child_exit
        self._children = children

    def look_behind_proxy(self) -> None:
        """Find the main process, once it runs; one that has ended again stays unknown."""
        found = find_behind(self._child_pid, is_first=self.plan.private_pids)
        if found is not None:
            self.pid, self._pidfd = found

    def plan_inside(self) -> LaunchPlan:
        """How something else is run beside this workload: in the same namespaces."""
        if not self.plan.private_pids:
            return self.plan
        return replace(self.plan, private_pids=False, behind=self._child_pid)

    def close(self) -> None:
        """Let go of the main process, after its end."""
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1

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
        if not self._children.is_unreaped(self._child_pid):
            return False
        if not self.plan.has_proxy:
            os.kill(-self.pid if to_group else self.pid, signum)
            return True
        if self._pidfd < 0 or has_ended(self._pidfd):
            return False
        if to_group:
            os.kill(-self.pid, signum)
        else:
            signal_pidfd(self._pidfd, signum)
        return True

    def kill_nowait(self) -> None:
        """Kill the main process and all that stayed in its session's first process group; with a
        namespace of its own, all that is in it."""
        if self.plan.has_proxy:
            with suppress(ProcessLookupError):
                self.send_signal(signal.SIGKILL, to_group=True)
            if self._children.is_unreaped(self._child_pid):
                os.kill(self._child_pid, signal.SIGKILL)
        elif self._children.is_unreaped(self.pid):
            os.killpg(self.pid, signal.SIGKILL)


@asynccontextmanager
async def open_workload(plan: LaunchPlan, children: Children) -> AsyncGenerator[Workload]:
    """Run the command of `plan` for the length of the block.

    Raises:
        LaunchError: a step between fork and exec failed; nothing runs.

    If cancelled, or left in any other way, the command is killed and reaped.
    """
    child = fork_child(plan)
    child_exit = children.register(child.pid, status_fd=child.status)
    workload = Workload(child.pid, plan, child_exit, children)
    try:
        await _wait_for_exec(child)
        if plan.has_proxy:
            workload.look_behind_proxy()
        yield workload
    finally:
        _kill(workload)
        # Shield: a killed but unreaped child would stay a zombie.
        # Ends by: SIGKILL, at the latest after REAP_LIMIT_S.
        with trio.move_on_after(REAP_LIMIT_S, shield=True):
            await workload.wait()
        workload.close()


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
