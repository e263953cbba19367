"""The executor's process, from the fork to its end: it takes the fence, tells who it is, and serves
one run.

    provisional --(commit mark)--> committed --(run ends)--> ended
         `--(the connection to its plugin ends)--> gone

Rules:
- No fence, no run: nothing is made before the lock of the (allocation, task) is held.
- Uncommitted, it lives exactly as long as the connection that its plugin opened it with.
- Its own ends: the run has ended, a signal, or its record was removed. In each case the run is
  taken down first.
"""

import logging
import os
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import trio
from trio_util import AsyncValue, wait_any

from trio_driver._proto import executor_pb2
from trio_driver.executor.children import Children
from trio_driver.executor.containment import host_plan
from trio_driver.executor.frames import receive_message, send_message
from trio_driver.executor.looks import wait_for_look
from trio_driver.executor.service import ExecutorService
from trio_driver.executor.task_run import PlanContainment, TaskBody, TaskRun
from trio_driver.linux import (
    ProcessId,
    boot_id,
    identify,
    listen_unix,
    set_child_subreaper,
    set_name,
)
from trio_driver.model import Compute, task_spec
from trio_driver.spawner import SpawnRequest
from trio_driver.state import ExecutorRecord, ExitRecord, Fence, Run, StateDirectory, fence_owner

LOGGER = logging.getLogger("trio_driver.executor")

WriteExit = Callable[[ExitRecord], bool]
"""Writes the exit record into space that was reserved for it; False when there is one already."""

FENCE_LIMIT_S, FENCE_PAUSE_S = 1.0, 0.002
"""A process that was killed lets go of its lock within milliseconds."""

ENDING_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""By default the last two would end the executor without its run."""

LAST_ANSWERS_LIMIT_S = 2.0
"""How long the last answers may take to be written before the executor leaves."""


def run_executor(
    state: StateDirectory, request: SpawnRequest, plugin: ProcessId, control_fd: int, body: TaskBody
) -> None:
    """Be the executor of `request`, in a process that was forked for it, until its run has
    ended."""
    set_name("trio-executor")
    set_child_subreaper()
    control = socket.socket(fileno=control_fd)
    run = state.run_of(
        task_id=request.task_id, alloc_id=request.alloc_id, task_name=request.task_name
    )
    lock_path = state.lock_path(run.fence)
    if not _take_fence(lock_path):
        owner = fence_owner(lock_path)
        trio.run(_refuse, control, f"task {request.task_name!r} still has an executor: pid {owner}")
        return
    try:
        run.create()
    except FileExistsError:
        trio.run(
            _refuse,
            control,
            f"an earlier run of task {request.task_name!r} is still on disk: {run.path}",
        )
        return
    _log_to(run)
    with run.reserve_exit() as write_exit:
        executor = Executor(run, request, plugin, body, leave=partial(os._exit, 0))
        never_started = trio.run(executor.main, control, write_exit)
    if never_started:
        run.remove()
        lock_path.unlink(missing_ok=True)  # we hold it: whoever waits for it looks again


def _take_fence(lock_path: Path) -> bool:
    """Take the fence for the life of this process; a holder that is just ending is waited for."""
    give_up_at_s = time.monotonic() + FENCE_LIMIT_S
    while Fence.try_take(lock_path) is None:
        if time.monotonic() > give_up_at_s:
            return False
        time.sleep(FENCE_PAUSE_S)
    return True


def _log_to(run: Run) -> None:
    fd = os.open(run.log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
    os.dup2(fd, 1)
    os.dup2(fd, 2)
    os.close(fd)


def _record_of_this_process(request: SpawnRequest, plugin: ProcessId) -> ExecutorRecord:
    process = identify(os.getpid())
    assert process is not None, "this process exists"
    return ExecutorRecord(
        task_id=request.task_id,
        alloc_id=request.alloc_id,
        task_name=request.task_name,
        alloc_root=request.alloc_root,
        driver=request.driver,
        pid=process.pid,
        start_ticks=process.start_ticks,
        boot_id=boot_id(),
        plugin_pid=plugin.pid,
        plugin_start_ticks=plugin.start_ticks,
        created_at_s=time.time(),
    )


async def _refuse(control: socket.socket, reason: str) -> None:
    """Refuse what the plugin asks; it closes the connection then."""
    answer = executor_pb2.Answer(refused=executor_pb2.Refused(message=reason, recoverable=True))
    with trio.move_on_after(LAST_ANSWERS_LIMIT_S):
        async with trio.SocketStream(trio.socket.from_stdlib_socket(control)) as stream:
            await receive_message(stream, executor_pb2.Request)
            await send_message(stream, answer)


class Executor:
    """The tasks of this process, around one `TaskRun`."""

    def __init__(
        self,
        run: Run,
        request: SpawnRequest,
        plugin: ProcessId,
        body: TaskBody,
        *,
        plan_containment: PlanContainment = host_plan,
        leave: Callable[[], None],
    ) -> None:
        """Owns nothing yet.

        Args:
            leave: called when nothing of a started run is left: ends the process, in which nothing
                is then worth unwinding. May return, for a rehearsal.
        """
        self._run = run
        self._record = _record_of_this_process(request, plugin)
        self._request = request
        self._body = body
        self._plan_containment = plan_containment
        self._leave = leave
        self._children = Children()
        self._unwanted = trio.Event()
        """Set when the run must end without having been asked to by Stop."""
        self._service: ExecutorService | None = None
        self._answering = AsyncValue(0)
        """Requests that are being answered."""

    async def main(self, control: socket.socket, write_exit: WriteExit) -> bool:
        """Serve the run until it has ended; whether it never started, and so leaves no trace."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self._children.reap_until_cancelled)
            make_task_run = partial(self._make_task_run, write_exit)
            service = ExecutorService(self._body, nursery, make_task_run)
            self._service = service
            nursery.start_soon(self._serve_plugin, service, control)
            nursery.start_soon(self._obey_signals)
            await wait_any(service.start_requested.wait, self._unwanted.wait)
            if (task_run := service.task_run) is not None:
                # Not earlier: it is done while the workload is on its way to exec.
                nursery.start_soon(self._listen, service)
                nursery.start_soon(self._watch_record)
                if self._unwanted.is_set():  # the two came together
                    task_run.lose("it ended while it started")
                await task_run.live(self._body)
            with trio.move_on_after(LAST_ANSWERS_LIMIT_S):
                await self._answering.wait_value(0)
            never_started = task_run is None or not task_run.started.is_set()
            if not never_started:
                self._leave()
            nursery.cancel_scope.cancel()
        return never_started

    def _make_task_run(self, write_exit: WriteExit, message: executor_pb2.StartRequest) -> TaskRun:
        return TaskRun(
            self._run,
            self._record,
            task_spec(message.task),
            plugin_config=message.plugin_config,
            task_config=message.task_config,
            compute=Compute(total_mhz=message.compute.total_mhz, cores=message.compute.cores),
            limits=self._request.limits,
            children=self._children,
            write_exit=write_exit,
            plan_containment=self._plan_containment,
        )

    async def _serve_plugin(self, service: ExecutorService, control: socket.socket) -> None:
        """Serve the connection that opened us; its end is the run's unless that was committed."""
        async with trio.SocketStream(trio.socket.from_stdlib_socket(control)) as stream:
            await self._answer(service, stream)
            with suppress(trio.BrokenResourceError):
                await stream.receive_some(1)
        if not self._run.is_committed():
            self._end("its plugin went away before the task was handed to Nomad")

    async def _listen(self, service: ExecutorService) -> None:
        """Let others reach the run: plugins that did not open it."""
        listener = await listen_unix(self._run.socket_path)
        service.listening.set()
        # Most executors are asked once, or never: what serves is touched when somebody comes.
        await trio.lowlevel.wait_readable(listener.socket)
        await trio.serve_listeners(partial(self._answer_and_close, service), [listener])

    async def _answer_and_close(self, service: ExecutorService, stream: trio.SocketStream) -> None:
        async with stream:
            await self._answer(service, stream)

    async def _answer(self, service: ExecutorService, stream: trio.SocketStream) -> None:
        self._answering.value += 1
        try:
            await service.serve(stream)
        finally:
            self._answering.value -= 1

    async def _obey_signals(self) -> None:
        with trio.open_signal_receiver(*ENDING_SIGNALS) as signals:
            async for signum in signals:
                self._end(f"the executor was asked to end by {signal.Signals(signum).name}")

    async def _watch_record(self) -> None:
        await wait_for_look()
        while self._run.has_executor_record():
            await wait_for_look()
        self._end("the executor's record was removed")

    def _end(self, reason: str) -> None:
        LOGGER.info("ends: %s", reason)
        self._unwanted.set()
        if self._service is not None and self._service.task_run is not None:
            self._service.task_run.lose(reason)
