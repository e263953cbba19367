"""Stopping, signalling and destroying tasks: what needs the executor asks it, and what must not
wait for it does not.

Rules:
- StopTask returns when the task is gone, or says what is not. An executor that misses its deadline
  is ended without its consent; so is a task that outlives its grace time.
- An unknown id is no error where Nomad would only repeat the call (H9).
"""

import logging
import signal

import trio

from trio_driver._proto import executor_pb2
from trio_driver.executor import ask_executor
from trio_driver.linux import UnknownSignalError, name_of_signal, signum_of
from trio_driver.model import (
    ConfigInvalidError,
    DriverError,
    ExecutorLostError,
    NotRunningError,
    other_signal_line,
    stopping_line,
)
from trio_driver.sdk.tasks import KnownTask, Tasks
from trio_driver.state import RecordError, StateDirectory, destroy_run, end_run

LOGGER = logging.getLogger("trio_driver.sdk")

DEFAULT_SIGNAL = signal.SIGINT
"""What a task is asked to end with when the job sets no kill_signal. Source: Nomad's own
executors."""

UNWIND_MARGIN_S = 12.0
"""After the grace time, for a `run` that unwinds: the executor's own limit for it and a little for
its record."""


class StillRunningError(DriverError):
    """DestroyTask was not told to use force, and the task runs."""


async def stop_task(tasks: Tasks, task_id: str, *, grace_s: float, signal_name: str) -> None:
    """Signal the task, give it `grace_s`, then kill its containment; return when it is gone.

    Raises:
        StuckError: processes outlive SIGKILL.

    If cancelled after the executor was asked, the stop goes on.
    """
    task = await tasks.find(task_id)
    if task is None or task.ended.is_set():
        return
    signum = _stop_signal(tasks, task, signal_name)
    asked = ", ".join(task.record.stop) or name_of_signal(signum)
    tasks.tell(task, stopping_line(asked=asked, grace_s=grace_s))
    try:
        await _ask_to_stop(task, signum, grace_s)
    except ExecutorLostError as error:
        await _end_without_consent(task, str(error))
    with trio.move_on_after(grace_s + UNWIND_MARGIN_S):
        await task.ended.wait()
    if not task.ended.is_set():
        await _end_without_consent(
            task, f"the executor did not end the task within {grace_s:g} s and more"
        )
        await task.ended.wait()


async def _ask_to_stop(task: KnownTask, signum: int, grace_s: float) -> None:
    stop = executor_pb2.StopRequest(signum=signum, grace_s=grace_s)
    await ask_executor(task.run, executor_pb2.Request(stop=stop), "stop the task")


async def _end_without_consent(task: KnownTask, reason: str) -> None:
    """Kill containment and executor. Not an error when the task ended in the meantime."""
    if not task.ended.is_set():
        LOGGER.warning(
            "ends a task without its executor",
            extra={"kv": {"task_id": task.record.task_id, "why": reason}},
        )
        task.lost_reason = reason
        await end_run(task.run, reason=reason)


def _stop_signal(tasks: Tasks, task: KnownTask, name: str) -> int:
    try:
        return signum_of(name) if name else DEFAULT_SIGNAL
    except UnknownSignalError as error:
        # An error would make Nomad try for minutes and then give the task up.
        tasks.tell(task, other_signal_line(DEFAULT_SIGNAL.name, str(error)))
        return DEFAULT_SIGNAL


async def signal_task(tasks: Tasks, task_id: str, signal_name: str) -> None:
    """Deliver a signal to the task's main process.

    Raises:
        ConfigInvalidError: no such signal.
        TaskNotFoundError, NotRunningError: there is nobody to signal.
        ExecutorLostError: the executor does not answer.
    """
    try:
        signum = signum_of(signal_name)
    except UnknownSignalError as error:
        raise ConfigInvalidError(str(error)) from error
    task = await tasks.get(task_id)
    if task.ended.is_set():
        raise NotRunningError(f"task {task_id!r} has ended")
    request = executor_pb2.Request(signal=executor_pb2.SignalRequest(signum=signum))
    await ask_executor(task.run, request, "deliver the signal")


async def _find_if_readable(tasks: Tasks, task_id: str) -> KnownTask | None:
    """As `Tasks.find`; a record that cannot be believed is no reason to leave its run alone."""
    try:
        return await tasks.find(task_id)
    except RecordError as error:
        LOGGER.error("%s", error)
        return None


async def destroy_task(state: StateDirectory, tasks: Tasks, task_id: str, *, force: bool) -> None:
    """Leave nothing of the task, from disk alone: known to us or not, alive or not, asked once or
    twice.

    Raises:
        StillRunningError: it runs, and `force` was not given.
        StuckError: processes outlive SIGKILL; the record stays.
    """
    task = await _find_if_readable(tasks, task_id)
    if task is not None and not task.ended.is_set() and not force:
        raise StillRunningError("cannot destroy running task")
    if (run := state.find(task_id)) is not None:
        await destroy_run(state, run)
    tasks.forget(task_id)
