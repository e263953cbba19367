"""One task from StartTask to DestroyTask: what an agent's task runner does, without restarts.

Rules:
- The pipes have readers before StartTask, and are read to their end after the task has ended.
- Whatever happens, DestroyTask is sent for a task for which StartTask was.

Source: nomad-protocol §4.6 to §4.8, §5.2, §6.1, §6.3. Must not know: signals, job files.
"""

import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio
from google.protobuf.duration_pb2 import Duration
from trio_util import wait_any

from trio_driver._proto import driver_pb2
from trio_driver.cli.driver import Driver
from trio_driver.cli.errors import RunError
from trio_driver.cli.guardian import Guardian
from trio_driver.cli.job import Task
from trio_driver.cli.logs import Sink, copy_lines, copy_output, open_fifo
from trio_driver.cli.report import Report, Tone
from trio_driver.cli.supply import Supply
from trio_driver.cli.task_config import Allocation, build_task_config, log_path
from trio_driver.rpc import RpcError

LATE_OUTPUT_LIMIT_S = 2.0
"""How long output is read on after the task was destroyed. Source: nomad-protocol §7."""

DESTROY_LIMIT_S = 20.0
"""Longer than the time that drivers give SIGKILL: a stuck task is reported, not waited for."""

STOP_EXTRA_S = 20.0
"""StopTask takes its grace and then as long as a forced end may."""

INTERRUPTED = 128 + signal.SIGINT
"""What a task counts that was stopped before it had started."""


class Stop:
    """What is wanted of the running tasks: to go on, to end, to end at once."""

    def __init__(self) -> None:
        self.requested = trio.Event()
        self.forced = trio.Event()

    def request(self) -> None:
        """End with grace, by kill_signal and kill_timeout."""
        self.requested.set()

    def force(self) -> None:
        """End without grace."""
        self.requested.set()
        self.forced.set()


@dataclass(frozen=True, slots=True, kw_only=True)
class Streams:
    """Where a task's output goes; lines after `prefix`, or bytes as they come when it is None."""

    stdout: Sink
    stderr: Sink
    prefix: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRun:
    """One run of one task."""

    allocation: Allocation
    task: Task
    supply: Supply
    stop: Stop
    streams: Streams
    report: Report
    guardian: Guardian

    async def run(self) -> int:
        """Run the task to its end.

        Returns:
            What a shell would show: 128 + n for signal n, 1 for an end that is not known.

        Raises:
            JobError: the job cannot be run as it is written.
            RunError: the task was not started, or its end cannot be known.

        If cancelled the task is destroyed all the same.
        """
        driver = await self.supply.driver()
        config = build_task_config(self.allocation, self.task, spec=driver.task_spec)
        async with self._open_logs(driver):
            self.guardian.task(config.id)
            try:
                response = await self._run(driver, config)
            finally:
                # Shield: a task must not outlive the run, however that ends.
                # Ends by: the answer, the end of the plugin, or DESTROY_LIMIT_S.
                with trio.move_on_after(DESTROY_LIMIT_S, shield=True) as destroying:
                    await self._destroy(config.id)
                if destroying.cancelled_caught:
                    self._say(f"may be left: no answer in {DESTROY_LIMIT_S:.0f} s", Tone.BAD)
        if response is None:
            self._say("was stopped before it had started", Tone.WARN)
            return INTERRUPTED
        code = exit_code(response)
        self._say(describe(response), Tone.GOOD if code == 0 else Tone.BAD)
        return code

    async def _run(
        self, driver: Driver, config: driver_pb2.TaskConfig
    ) -> driver_pb2.WaitTaskResponse | None:
        """How the task ended; None when it was stopped before it had started."""
        began_s = trio.current_time()
        responses: list[driver_pb2.StartTaskResponse] = []

        async def start() -> None:
            responses.append(await self._start(driver, config))

        await wait_any(start, self.stop.requested.wait)
        if not responses:
            return None
        if not responses[0].HasField("handle"):
            raise RunError(f"{self.task.name}: StartTask: the driver gave no handle")
        took_ms = (trio.current_time() - began_s) * 1000
        self._say(f"runs (started in {took_ms:.0f} ms)", Tone.GOOD)
        return await self._until_end(responses[0].handle)

    async def _start(
        self, driver: Driver, config: driver_pb2.TaskConfig
    ) -> driver_pb2.StartTaskResponse:
        """StartTask; once more with the same id when the plugin died meanwhile."""
        self._say("starts", Tone.DETAIL)
        try:
            return await driver.stub.StartTask(driver_pb2.StartTaskRequest(task=config))
        except RpcError as error:
            failure = error
        if not await driver.is_lost(failure):
            raise RunError(f"{self.task.name}: not started: {_words(failure)}")
        driver = await self.supply.driver(other_than=driver)
        try:
            return await driver.stub.StartTask(driver_pb2.StartTaskRequest(task=config))
        except RpcError as error:
            raise RunError(f"{self.task.name}: not started: {_words(error)}") from None

    async def _until_end(self, handle: driver_pb2.TaskHandle) -> driver_pb2.WaitTaskResponse:
        """Wait for the end, and pass on what the user wants.

        A StopTask that was sent is answered before this returns: it ends with the task.
        """
        async with trio.open_nursery() as calls, trio.open_nursery() as waiting:
            waiting.start_soon(self._pass_on_stop, handle.config.id, calls)
            response = await self._wait(handle)
            waiting.cancel_scope.cancel()
        return response

    async def _wait(self, handle: driver_pb2.TaskHandle) -> driver_pb2.WaitTaskResponse:
        """WaitTask; with the next instance of the driver when this one dies."""
        request = driver_pb2.WaitTaskRequest(task_id=handle.config.id)
        driver = await self.supply.driver()
        while True:
            try:
                return await driver.stub.WaitTask(request)
            except RpcError as error:
                failure = error
            if not await driver.is_lost(failure):
                raise RunError(f"{self.task.name}: WaitTask: {_words(failure)}")
            driver = await self._recover(handle, lost=driver)

    async def _recover(self, handle: driver_pb2.TaskHandle, *, lost: Driver) -> Driver:
        driver = await self.supply.driver(other_than=lost)
        try:
            await driver.stub.RecoverTask(driver_pb2.RecoverTaskRequest(handle=handle))
        except RpcError as error:
            raise RunError(f"{self.task.name}: not recovered: {_words(error)}") from None
        self._say("was recovered by the new plugin", Tone.GOOD)
        return driver

    async def _pass_on_stop(self, task_id: str, calls: trio.Nursery) -> None:
        await self.stop.requested.wait()
        if not self.stop.forced.is_set():
            self._say(f"is asked to stop, within {self.task.kill_timeout_s:g} s", Tone.WARN)
            calls.start_soon(self._send_stop, task_id, self.task.kill_timeout_s)
        await self.stop.forced.wait()
        self._say("is killed", Tone.WARN)
        calls.start_soon(self._send_stop, task_id, 0.0)

    async def _send_stop(self, task_id: str, grace_s: float) -> None:
        grace = Duration()
        grace.FromNanoseconds(int(grace_s * 1e9))
        request = driver_pb2.StopTaskRequest(
            task_id=task_id, timeout=grace, signal=self.task.kill_signal
        )
        driver = await self.supply.driver()
        try:
            await driver.stub.StopTask(request, deadline_s=grace_s + STOP_EXTRA_S)
        except RpcError as error:
            self._say(f"StopTask: {_words(error)}", Tone.WARN)

    async def _destroy(self, task_id: str) -> None:
        """DestroyTask, as for an agent with little interest in the answer."""
        request = driver_pb2.DestroyTaskRequest(task_id=task_id, force=True)
        try:
            driver = await self.supply.driver()
            await driver.stub.DestroyTask(request)
        except RpcError as error:
            self._say(f"DestroyTask: {_words(error)}", Tone.WARN)
        except RunError as error:
            self._say(f"may be left: {error}", Tone.BAD)

    @asynccontextmanager
    async def _open_logs(self, driver: Driver) -> AsyncGenerator[None]:
        """The pipes and their readers; leaving waits for late output, bounded."""
        if not self.task.logs or driver.capabilities.disable_log_collection:
            yield
            return
        paths = (log_path(self.allocation, self.task, name) for name in ("stdout", "stderr"))
        with open_fifo(next(paths)) as stdout, open_fifo(next(paths)) as stderr:
            async with trio.open_nursery() as readers:
                readers.start_soon(self._copy, stdout, self.streams.stdout)
                readers.start_soon(self._copy, stderr, self.streams.stderr)
                yield
                readers.cancel_scope.deadline = trio.current_time() + LATE_OUTPUT_LIMIT_S

    async def _copy(self, fd: int, sink: Sink) -> None:
        if self.streams.prefix is None:
            await copy_output(fd, sink)
        else:
            await copy_lines(fd, sink, prefix=self.streams.prefix)

    def _say(self, text: str, tone: Tone) -> None:
        self.report.say(self.task.name, text, tone=tone)


def exit_code(response: driver_pb2.WaitTaskResponse) -> int:
    """The task's end as a shell shows it; 1 for one that has no number of its own."""
    result = response.result
    if result.signal:
        return 128 + result.signal
    if 0 < result.exit_code <= 255:
        return result.exit_code
    return 1 if response.err or result.exit_code else 0


def describe(response: driver_pb2.WaitTaskResponse) -> str:
    """The task's end in words."""
    result = response.result
    if response.err:
        return f"failed: {response.err}"
    if result.oom_killed:
        return "was killed: out of memory"
    if result.signal:
        try:
            return f"was ended by {signal.Signals(result.signal).name}"
        except ValueError:
            return f"was ended by signal {result.signal}"
    return f"ended with code {result.exit_code}"


def _words(error: RpcError) -> str:
    return error.message or error.code.name
