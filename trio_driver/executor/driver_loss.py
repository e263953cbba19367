"""Who looks after this task: the plugins that hold a connection to its executor, and what happens
when there is none for too long.

Rules:
- Without the option `stop_after_driver_loss` nothing happens: a task outlives plugin and agent.
- A plugin holds its connection only while an agent is connected to it, so the death of either
  counts. The connection that opened the executor does not: it ends when the task is handed over.
- Nobody called StopTask, so the job's kill_signal and kill_timeout are not known here: the task has
  its ladder, or SIGINT and `GRACE_S`.
"""

import signal
from collections.abc import Generator
from contextlib import contextmanager
from typing import Protocol

import trio
from trio_util import AsyncValue

from trio_driver.executor.ladder import ladder_length_s, parse_ladder
from trio_driver.executor.task_run import TaskRun
from trio_driver.model import driver_loss_line

GRACE_S = 5.0
"""What Nomad gives a task whose job sets no kill_timeout; and a last rung that sets no duration."""


class Stop(Protocol):
    """Begins to stop the task."""

    def __call__(self, *, signum: int, grace_s: float) -> None: ...


class DriverLoss:
    """See the module."""

    def __init__(self) -> None:
        self._attached = AsyncValue(0)

    @contextmanager
    def attached(self) -> Generator[None]:
        """A plugin whose agent is connected looks after the task for the length of the block."""
        self._attached.value += 1
        try:
            yield
        finally:
            self._attached.value -= 1

    async def watch(self, task_run: TaskRun, stop: Stop) -> None:
        """Stop the task when nobody has looked after it for as long as its job allows; returns
        then, or at once when the job does not say."""
        await task_run.started.wait()
        limit_s = task_run.options.stop_after_driver_loss_s
        if limit_s is None:
            return
        while True:
            await self._attached.wait_value(0)
            with trio.move_on_after(limit_s) as waiting:
                await self._attached.wait_value(lambda count: count > 0)
            if waiting.cancelled_caught:
                break
        task_run.tell_line(driver_loss_line(limit_s=limit_s))
        ladder = parse_ladder(task_run.options.stop)
        grace_s = ladder_length_s(ladder, rest_s=GRACE_S) if ladder else GRACE_S
        stop(signum=signal.SIGINT, grace_s=grace_s)
