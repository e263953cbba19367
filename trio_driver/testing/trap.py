"""The trap: counts the checkpoints of a scenario's tasks, and springs at one of them.

Owns an instrument of Trio for the length of a block. It is the only place that reaches below Trio's
surface, for a task cannot be given an exception from outside in another way; tests hold what it
relies on against the Trio that is installed.

Rules:
- A checkpoint is a moment at which a task of the scenario has gone back to Trio's loop: it waits, or
  lets others run.
- Tasks of the scenario are the one that runs it and all below it, by their nurseries.

Must not know: what is done at the checkpoint.
"""

import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import NoReturn

import outcome
import trio

OnSpring = Callable[[trio.lowlevel.Task], bool]
"""What is done to the task at the checkpoint; False when it cannot be done there."""


class Trap(trio.abc.Instrument):
    """See `trapped`."""

    def __init__(self, root: trio.lowlevel.Task, number: int, on_spring: OnSpring) -> None:
        self.count = 0
        """Checkpoints that were reached."""
        self.sprung_at: str | None = None
        """Where the task was; None until then."""
        self._tasks = {root}
        self._number = number
        self._on_spring = on_spring

    def task_spawned(self, task: trio.lowlevel.Task) -> None:
        if task.parent_nursery is not None and task.parent_nursery.parent_task in self._tasks:
            self._tasks.add(task)

    def task_exited(self, task: trio.lowlevel.Task) -> None:
        self._tasks.discard(task)

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if task not in self._tasks or self.sprung_at is not None:  # or it has just exited
            return
        self.count += 1
        if self.count >= self._number:
            where = place_of(task)
            if self._on_spring(task):
                self.sprung_at = where


@contextmanager
def trapped(number: int, on_spring: OnSpring) -> Generator[Trap]:
    """Call `on_spring` at the `number`-th checkpoint of the calling task and of those below it.

    Where it says False it is called at the next one, and so on.
    """
    trap = Trap(trio.lowlevel.current_task(), number, on_spring)
    trio.lowlevel.add_instrument(trap)
    try:
        yield trap
    finally:
        trio.lowlevel.remove_instrument(trap)


def raise_in(task: trio.lowlevel.Task, error: BaseException) -> bool:
    """Let `error` come out of what the task waits for; False when that cannot be given up."""
    abort = task._abort_func  # pyright: ignore[reportPrivateUsage]
    if abort is None:
        # It only lets others run, and is to go on.
        if task._next_send != outcome.Value(None) or not is_at_checkpoint(task):  # pyright: ignore[reportPrivateUsage]
            return False
        task._next_send = outcome.Error(error)  # pyright: ignore[reportPrivateUsage]
        return True
    was_taken = False

    def raise_error() -> NoReturn:
        nonlocal was_taken
        was_taken = True
        raise error

    if abort(raise_error) is not trio.lowlevel.Abort.SUCCEEDED:
        return was_taken  # by a nursery, which ends its tasks first
    task._abort_func = None  # pyright: ignore[reportPrivateUsage]
    trio.lowlevel.reschedule(task, outcome.Error(error))
    return True


def is_at_checkpoint(task: trio.lowlevel.Task) -> bool:
    """Whether the task is in `trio.lowlevel.checkpoint`, from which a cancellation may come.

    From `cancel_shielded_checkpoint` nothing does, and Trio's own locks and queues rely on it.
    """
    names = [
        (frame.f_globals.get("__name__", "").partition(".")[0], frame.f_code.co_name)
        for frame, _ in task.iter_await_frames()
    ]
    return ("trio", "checkpoint") in names[-3:]


def place_of(task: trio.lowlevel.Task) -> str:
    """File, line and function of the innermost frame that is not Trio's own."""
    found = f"in {task.name}"
    for frame, line in task.iter_await_frames():
        name = frame.f_globals.get("__name__", "")
        if name.partition(".")[0] != "trio":
            code = frame.f_code
            found = f"{os.path.basename(code.co_filename)}:{line} in {code.co_qualname}"
    return found
