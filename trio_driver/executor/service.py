"""What the plugin may ask of the executor, as RPCs.

Rules:
- Start answers when the task has started or has failed to; Stop and Signal answer when they are under way. How the
  task ended is never asked here: the exit record tells, and the end of the process that it may be read.
"""

import time
from collections.abc import AsyncIterator, Callable

import trio
from trio_util import wait_any

from trio_driver._proto import executor_pb2
from trio_driver._proto.executor_grpc import ExecutorServicer
from trio_driver._proto.interfaces import Call
from trio_driver.executor.edge import driver_errors_as_status
from trio_driver.executor.stats import sample_processes
from trio_driver.executor.stop import Stopper
from trio_driver.executor.task_run import TaskBody, TaskRun
from trio_driver.model import DriverError


class NotStartedError(DriverError):
    """The executor has not been asked to start its task yet, or was asked twice."""


class ExecutorService(ExecutorServicer):
    """Serves one run."""

    def __init__(
        self,
        body: TaskBody,
        nursery: trio.Nursery,
        make_task_run: Callable[[executor_pb2.StartRequest], TaskRun],
        listening: trio.Event,
    ) -> None:
        """`listening` is set when others can reach the executor: before, no start is told."""
        self.task_run: TaskRun | None = None
        self.start_requested = trio.Event()
        self._body = body
        self._nursery = nursery
        self._make_task_run = make_task_run
        self._listening = listening
        self._stopper: Stopper | None = None

    async def Start(
        self, input_message: executor_pb2.StartRequest, request: Call
    ) -> executor_pb2.StartResponse:
        with driver_errors_as_status():
            if self.task_run is not None:
                raise NotStartedError("this executor has started its task already")
            self.task_run = task_run = self._make_task_run(input_message)
            self._stopper = Stopper(task_run, self._body, self._nursery)
            self.start_requested.set()
            await wait_any(task_run.started.wait, task_run.ended.wait)
            if task_run.start_error is not None:
                raise task_run.start_error
            await self._listening.wait()
            return executor_pb2.StartResponse(
                workload_pid=task_run.main.pid if task_run.main else 0,
                started_at_s=task_run.started_at_s or time.time(),
            )

    async def Stop(
        self, input_message: executor_pb2.StopRequest, request: Call
    ) -> executor_pb2.StopResponse:
        with driver_errors_as_status():
            self._running()
            assert self._stopper is not None
            self._stopper.stop(signum=input_message.signum, grace_s=input_message.grace_s)
        return executor_pb2.StopResponse()

    async def Signal(
        self, input_message: executor_pb2.SignalRequest, request: Call
    ) -> executor_pb2.SignalResponse:
        with driver_errors_as_status():
            self._body.signal(self._running(), input_message.signum)
        return executor_pb2.SignalResponse()

    async def Stats(
        self, input_message: executor_pb2.StatsRequest, request: Call
    ) -> AsyncIterator[executor_pb2.StatsResponse]:
        with driver_errors_as_status():
            task_run = self._running()
        async for stats in sample_processes(task_run, interval_s=input_message.interval_s):
            yield executor_pb2.StatsResponse(stats=stats)

    def _running(self) -> TaskRun:
        if self.task_run is None:
            raise NotStartedError("this executor has not started its task yet")
        return self.task_run
