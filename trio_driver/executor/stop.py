"""Stopping a task: one state machine with one absolute deadline.

    signal --(grace)--> kill the containment --> ended

Rules:
- Once begun it goes on, whoever asked and then went away; a second request can only shorten it.
- A grace of 0 kills at once. The last rung is always the containment.
"""

import math

import trio

from trio_driver.executor.ladder import climb, parse_ladder
from trio_driver.executor.task_run import TaskBody, TaskRun
from trio_driver.model import killed_line


class Stopper:
    """Stops one run; see the module."""

    def __init__(self, task_run: TaskRun, body: TaskBody, nursery: trio.Nursery) -> None:
        self._task_run = task_run
        self._body = body
        self._nursery = nursery
        self._grace = trio.CancelScope(deadline=math.inf)
        self._is_stopping = False
        self._was_asked = False

    def stop(self, *, signum: int, grace_s: float) -> None:
        """Begin to stop the task, or shorten the grace that it still has. Does not wait.

        Args:
            signum: what the task is asked to end with, if there is a grace time.
            grace_s: from now until everything is killed.
        """
        self._grace.deadline = min(self._grace.deadline, trio.current_time() + grace_s)
        if not self._is_stopping:
            self._is_stopping = True
            self._nursery.start_soon(self._run, signum)

    async def _run(self, signum: int) -> None:
        why = "the grace time is over"
        with self._grace:
            # A checkpoint would not do: the deadline of a scope that was just entered is seen one later.
            if self._grace.deadline > trio.current_time():
                self._was_asked = True
                if not await self._ask(signum):
                    why = "no rung of its ladder ended it"
                    self._grace.cancel()
            await self._task_run.ended.wait()
        if not self._task_run.ended.is_set():
            if self._was_asked:
                self._task_run.tell_line(killed_line(why))
            self._task_run.kill_nowait()
            self._task_run.end("the task was stopped")

    async def _ask(self, signum: int) -> bool:
        """Ask the task to end, by its own ladder if it has one; False when that was tried in
        vain."""
        main, ladder = self._task_run.main, parse_ladder(self._task_run.options.stop)
        if main is None or not ladder:
            await self._body.stop(self._task_run, signum)
            return True
        return await climb(self._task_run, main, ladder)
