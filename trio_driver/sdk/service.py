"""Nomad's Driver service: each RPC in a few lines, with its meaning in the module that it calls.

Rules:
- What a plugin needs beside its configuration (state directory, spawner, tasks) is opened by the
  first call that needs it, never in a probe (H12), and lives in the plugin's nursery.
- Fingerprint and TaskEvents never end on their own (H11); WaitTask ends with an error only for an
  unknown id (H10).
"""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager

import trio

from trio_driver import hcl
from trio_driver._proto import driver_pb2
from trio_driver._proto.driver_grpc import DriverServicer
from trio_driver._proto.interfaces import Call
from trio_driver.model import (
    exit_result,
    timestamp_of,
    wait_task_response,
)
from trio_driver.rpc import RpcError, StatusCode
from trio_driver.sdk.driver import AnyDriver, config_types
from trio_driver.sdk.edge import driver_errors_as_status
from trio_driver.sdk.exec import exec_streaming, exec_task
from trio_driver.sdk.fingerprint import fingerprints
from trio_driver.sdk.plugin import Plugin
from trio_driver.sdk.stop import destroy_task, signal_task, stop_task

GO_ZERO_TIME_S = -62135596800.0
"""Go's zero time, which Nomad reads as "not yet"."""


class DriverService(DriverServicer):
    """Serves one driver class; see the module."""

    def __init__(self, driver_class: type[AnyDriver], plugin: Plugin) -> None:
        self._driver_class = driver_class
        self._task_config_type = config_types(driver_class)[1]
        self._plugin = plugin

    async def Init(
        self, input_message: driver_pb2.InitRequest, request: Call
    ) -> driver_pb2.InitResponse:
        with driver_errors_as_status():
            self._plugin.open()
        return driver_pb2.InitResponse()

    async def TaskConfigSchema(
        self, input_message: driver_pb2.TaskConfigSchemaRequest, request: Call
    ) -> driver_pb2.TaskConfigSchemaResponse:
        return driver_pb2.TaskConfigSchemaResponse(spec=hcl.spec_of(self._task_config_type))

    async def Capabilities(
        self, input_message: driver_pb2.CapabilitiesRequest, request: Call
    ) -> driver_pb2.CapabilitiesResponse:
        capabilities = self._driver_class.capabilities
        modes = [driver_pb2.NetworkIsolationSpec.HOST]
        if capabilities.group_networks:
            modes.append(driver_pb2.NetworkIsolationSpec.GROUP)
        return driver_pb2.CapabilitiesResponse(
            capabilities=driver_pb2.DriverCapabilities(
                send_signals=capabilities.send_signals,
                exec=capabilities.exec,
                fs_isolation=driver_pb2.DriverCapabilities.NONE,
                network_isolation_modes=modes,
                mount_configs=driver_pb2.DriverCapabilities.NO_MOUNTS,
            )
        )

    async def Fingerprint(
        self, input_message: driver_pb2.FingerprintRequest, request: Call
    ) -> AsyncGenerator[driver_pb2.FingerprintResponse]:
        with self._plugin.listening():
            async with aclosing(fingerprints(self._plugin.configured.driver)) as responses:
                async for response in responses:
                    yield response
            await trio.sleep_forever()

    async def TaskEvents(
        self, input_message: driver_pb2.TaskEventsRequest, request: Call
    ) -> AsyncGenerator[driver_pb2.DriverTaskEvent]:
        async with aclosing(self._plugin.events.listen()) as events:
            async for event in events:
                yield driver_pb2.DriverTaskEvent(
                    task_id=event.task_id,
                    alloc_id=event.alloc_id,
                    task_name=event.task_name,
                    timestamp=timestamp_of(event.timestamp_s),
                    message=event.message,
                    annotations=event.annotations,
                )

    async def StartTask(self, input_message: driver_pb2.StartTaskRequest, request: Call) -> None:
        with driver_errors_as_status():
            opened = self._plugin.open()
            opened.orphans.learn(input_message.task)
            await opened.starter.start_task(input_message.task, request)

    async def RecoverTask(
        self, input_message: driver_pb2.RecoverTaskRequest, request: Call
    ) -> driver_pb2.RecoverTaskResponse:
        config = input_message.handle.config
        with driver_errors_as_status():
            opened = self._plugin.open()
            opened.orphans.learn(config)
            opened.tasks.recovered(await opened.tasks.get(config.id))
        return driver_pb2.RecoverTaskResponse()

    async def WaitTask(
        self, input_message: driver_pb2.WaitTaskRequest, request: Call
    ) -> driver_pb2.WaitTaskResponse:
        with driver_errors_as_status():
            task = await self._plugin.open().tasks.get(input_message.task_id)
        with task.claimed(), self._plugin.open().tasks.agent_connected():
            await task.ended.wait()
        # The agent drops what it is told of a task that it has done with.
        await self._plugin.events.wait_heard()
        assert task.exit is not None, "an ended task has an exit"
        return wait_task_response(task.exit.exit, oom_killed=task.exit.oom_killed)

    async def StopTask(
        self, input_message: driver_pb2.StopTaskRequest, request: Call
    ) -> driver_pb2.StopTaskResponse:
        with driver_errors_as_status():
            await stop_task(
                self._plugin.open().tasks,
                input_message.task_id,
                grace_s=input_message.timeout.ToNanoseconds() / 1e9,
                signal_name=input_message.signal,
            )
        return driver_pb2.StopTaskResponse()

    async def DestroyTask(
        self, input_message: driver_pb2.DestroyTaskRequest, request: Call
    ) -> driver_pb2.DestroyTaskResponse:
        with driver_errors_as_status():
            opened = self._plugin.open()
            await destroy_task(
                opened.state, opened.tasks, input_message.task_id, force=input_message.force
            )
        return driver_pb2.DestroyTaskResponse()

    async def InspectTask(
        self, input_message: driver_pb2.InspectTaskRequest, request: Call
    ) -> driver_pb2.InspectTaskResponse:
        with driver_errors_as_status():
            task = await self._plugin.open().tasks.get(input_message.task_id)
        record, commit, task_exit = task.record, task.commit, task.exit
        return driver_pb2.InspectTaskResponse(
            task=driver_pb2.TaskStatus(
                id=record.task_id,
                name=record.task_name,
                state=driver_pb2.RUNNING if task_exit is None else driver_pb2.EXITED,
                started_at=timestamp_of(commit.started_at_s if commit else GO_ZERO_TIME_S),
                completed_at=timestamp_of(task_exit.ended_at_s if task_exit else GO_ZERO_TIME_S),
                result=driver_pb2.ExitResult()
                if task_exit is None
                else exit_result(task_exit.exit, oom_killed=task_exit.oom_killed),
            ),
            driver=driver_pb2.TaskDriverStatus(
                attributes={
                    "pid": str(commit.workload_pid if commit else 0),
                    "executor_pid": str(record.pid),
                }
            ),
        )

    async def TaskStats(
        self, input_message: driver_pb2.TaskStatsRequest, request: Call
    ) -> AsyncGenerator[driver_pb2.TaskStatsResponse]:
        with driver_errors_as_status():
            opened = self._plugin.open()
            task = await opened.tasks.get(input_message.task_id)
        interval_s = input_message.collection_interval.ToNanoseconds() / 1e9 or 1.0
        async with aclosing(opened.statistics.follow(task, interval_s=interval_s)) as samples:
            async for stats in samples:
                yield driver_pb2.TaskStatsResponse(stats=stats)
        # H11: an end is not ours to make; the agent cancels when the task is gone for it too.
        await trio.sleep_forever()

    async def SignalTask(
        self, input_message: driver_pb2.SignalTaskRequest, request: Call
    ) -> driver_pb2.SignalTaskResponse:
        with driver_errors_as_status():
            await signal_task(
                self._plugin.open().tasks, input_message.task_id, input_message.signal
            )
        return driver_pb2.SignalTaskResponse()

    async def ExecTask(
        self, input_message: driver_pb2.ExecTaskRequest, request: Call
    ) -> driver_pb2.ExecTaskResponse:
        with driver_errors_as_status():
            return await exec_task(
                self._plugin.open().tasks,
                input_message.task_id,
                input_message.command,
                limit_s=input_message.timeout.ToNanoseconds() / 1e9,
            )

    @asynccontextmanager
    async def ExecTaskStreaming(
        self, input_messages: AsyncIterator[driver_pb2.ExecTaskStreamingRequest], request: Call
    ) -> AsyncGenerator[AsyncIterator[driver_pb2.ExecTaskStreamingResponse]]:
        with driver_errors_as_status():
            tasks = self._plugin.open().tasks
        async with exec_streaming(tasks, input_messages) as responses:
            yield responses

    async def CreateNetwork(
        self, input_message: driver_pb2.CreateNetworkRequest, request: Call
    ) -> None:
        raise RpcError(StatusCode.UNIMPLEMENTED, "CreateNetwork RPC not supported by driver")

    async def DestroyNetwork(
        self, input_message: driver_pb2.DestroyNetworkRequest, request: Call
    ) -> None:
        raise RpcError(StatusCode.UNIMPLEMENTED, "DestroyNetwork RPC not supported by driver")

    async def Shutdown(
        self, input_message: driver_pb2.ShutdownRequest, request: Call
    ) -> driver_pb2.ShutdownResponse:
        # Tasks must survive, and everything else ends with the plugin's process: nothing to prepare.
        return driver_pb2.ShutdownResponse()
