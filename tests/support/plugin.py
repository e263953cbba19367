"""A running plugin as its agent uses it: each RPC that the tests need, with a limit.

Rules:
- A call that takes longer than `LIMIT_S` fails the test that made it, not the run.
"""

import signal
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager

import trio
from google.protobuf.duration_pb2 import Duration

from trio_driver import hcl
from trio_driver._proto import base_pb2, driver_pb2
from trio_driver._proto.base_grpc import BasePluginStub
from trio_driver._proto.driver_grpc import DriverStub
from trio_driver.goplugin import LogRecord, PluginClient
from trio_driver.linux import ProcessId

from .family import send
from .task import Task
from .waiting import LIMIT_S


class RunningPlugin:
    """See the module."""

    def __init__(self, client: PluginClient, log: list[LogRecord]) -> None:
        self.client = client
        self.log = log
        """Everything that the plugin has logged."""
        self.base = BasePluginStub(client.channel)
        self.driver = DriverStub(client.channel)
        self.leave = trio.Event()
        """Set to end the plugin as an agent does."""
        self.left = trio.Event()

    @property
    def process(self) -> ProcessId:
        return self.client.process

    async def was_killed(self) -> bool:
        """How it ended; waits for that."""
        with trio.fail_after(LIMIT_S):
            return await self.client.wait_exited() == -signal.SIGKILL

    async def configure(self, config: Mapping[str, object], nomad: base_pb2.NomadConfig) -> None:
        """What an agent does after each launch: SetConfig, then Init."""
        spec = (await self.base.ConfigSchema(base_pb2.ConfigSchemaRequest())).spec
        request = base_pb2.SetConfigRequest(
            msgpack_config=hcl.encode(spec, dict(config)), nomad_config=nomad
        )
        await self.base.SetConfig(request)
        await self.driver.Init(driver_pb2.InitRequest())

    async def kill(self) -> None:
        """SIGKILL it; returns when an agent would know: both pipes at their end, reaped."""
        send(self.process, signal.SIGKILL)
        with trio.fail_after(LIMIT_S):
            await self.client.wait_exited()

    async def start(self, task: Task) -> driver_pb2.TaskHandle:
        request = driver_pb2.StartTaskRequest(task=task.config)
        with trio.fail_after(LIMIT_S):
            return (await self.driver.StartTask(request)).handle

    async def recover(self, handle: driver_pb2.TaskHandle) -> None:
        request = driver_pb2.RecoverTaskRequest(handle=handle)
        with trio.fail_after(LIMIT_S):
            await self.driver.RecoverTask(request)

    async def wait(self, task: Task) -> driver_pb2.WaitTaskResponse:
        request = driver_pb2.WaitTaskRequest(task_id=task.id)
        with trio.fail_after(LIMIT_S):
            return await self.driver.WaitTask(request)

    async def stop(self, task: Task, *, grace_s: float = 0, signal_name: str = "") -> None:
        timeout = Duration()
        timeout.FromNanoseconds(int(grace_s * 1e9))
        request = driver_pb2.StopTaskRequest(task_id=task.id, timeout=timeout, signal=signal_name)
        with trio.fail_after(LIMIT_S + grace_s):
            await self.driver.StopTask(request)

    async def destroy(self, task: Task, *, force: bool = True) -> None:
        request = driver_pb2.DestroyTaskRequest(task_id=task.id, force=force)
        with trio.fail_after(LIMIT_S):
            await self.driver.DestroyTask(request)

    async def inspect(self, task: Task) -> driver_pb2.InspectTaskResponse:
        request = driver_pb2.InspectTaskRequest(task_id=task.id)
        with trio.fail_after(LIMIT_S):
            return await self.driver.InspectTask(request)

    async def signal(self, task: Task, name: str) -> None:
        request = driver_pb2.SignalTaskRequest(task_id=task.id, signal=name)
        with trio.fail_after(LIMIT_S):
            await self.driver.SignalTask(request)

    @asynccontextmanager
    async def stats(
        self, task: Task, *, interval_s: float
    ) -> AsyncGenerator[AsyncIterator[driver_pb2.TaskStatsResponse]]:
        interval = Duration()
        interval.FromNanoseconds(int(interval_s * 1e9))
        request = driver_pb2.TaskStatsRequest(task_id=task.id, collection_interval=interval)
        with trio.fail_after(LIMIT_S):
            async with self.driver.TaskStats(request) as responses:
                yield responses

    @asynccontextmanager
    async def events(self) -> AsyncGenerator[AsyncIterator[driver_pb2.DriverTaskEvent]]:
        with trio.fail_after(LIMIT_S):
            async with self.driver.TaskEvents(driver_pb2.TaskEventsRequest()) as events:
                yield events

    @asynccontextmanager
    async def connected_agent(self) -> AsyncGenerator[driver_pb2.FingerprintResponse]:
        """An open Fingerprint stream, which tells the plugin that its agent is there; gives its
        first message."""
        async with self.driver.Fingerprint(driver_pb2.FingerprintRequest()) as fingerprints:
            with trio.fail_after(LIMIT_S):
                first = await anext(fingerprints)
            yield first
