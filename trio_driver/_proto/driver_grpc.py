# Written by proto/generate.py from proto/driver.proto. Do not edit.
# purerpc has no types.
# pyright: reportUnknownMemberType=false
from __future__ import annotations

from typing import TYPE_CHECKING

import purerpc

from trio_driver._proto import driver_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager
    from trio_driver._proto.interfaces import Call, Channel, ClientCall


class DriverServicer(purerpc.Servicer):
    """Base of a server of hashicorp.nomad.plugins.drivers.proto.Driver: every method is unimplemented."""

    async def Init(
        self, input_message: driver_pb2.InitRequest, request: Call
    ) -> driver_pb2.InitResponse | None:
        """Sent after SetConfig and after a reattach, by agents since 2.0.4, 1.11.8 and 1.10.14."""
        raise NotImplementedError

    async def TaskConfigSchema(
        self, input_message: driver_pb2.TaskConfigSchemaRequest, request: Call
    ) -> driver_pb2.TaskConfigSchemaResponse | None:
        """The schema of a task's `config` block."""
        raise NotImplementedError

    async def Capabilities(
        self, input_message: driver_pb2.CapabilitiesRequest, request: Call
    ) -> driver_pb2.CapabilitiesResponse | None:
        """What the driver can do; the answer never changes."""
        raise NotImplementedError

    def Fingerprint(
        self, input_message: driver_pb2.FingerprintRequest, request: Call
    ) -> AsyncIterator[driver_pb2.FingerprintResponse]:
        """One answer at once, then one per change, until cancelled. Never ended by the plugin."""
        raise NotImplementedError

    async def RecoverTask(
        self, input_message: driver_pb2.RecoverTaskRequest, request: Call
    ) -> driver_pb2.RecoverTaskResponse | None:
        """Take over a task that an earlier plugin process started. OK when it is known already."""
        raise NotImplementedError

    async def StartTask(
        self, input_message: driver_pb2.StartTaskRequest, request: Call
    ) -> driver_pb2.StartTaskResponse | None:
        """Start a task and hand out its handle."""
        raise NotImplementedError

    async def WaitTask(
        self, input_message: driver_pb2.WaitTaskRequest, request: Call
    ) -> driver_pb2.WaitTaskResponse | None:
        """How the task ended; waits until then. All of several callers get the same answer."""
        raise NotImplementedError

    async def StopTask(
        self, input_message: driver_pb2.StopTaskRequest, request: Call
    ) -> driver_pb2.StopTaskResponse | None:
        """Signal, grace time, kill. Answers once the task is dead; the task stays known."""
        raise NotImplementedError

    async def DestroyTask(
        self, input_message: driver_pb2.DestroyTaskRequest, request: Call
    ) -> driver_pb2.DestroyTaskResponse | None:
        """Free whatever the task has and forget it."""
        raise NotImplementedError

    async def InspectTask(
        self, input_message: driver_pb2.InspectTaskRequest, request: Call
    ) -> driver_pb2.InspectTaskResponse | None:
        """The task's status. No agent since 2.0 asks."""
        raise NotImplementedError

    def TaskStats(
        self, input_message: driver_pb2.TaskStatsRequest, request: Call
    ) -> AsyncIterator[driver_pb2.TaskStatsResponse]:
        """One sample at once, then one per interval, until cancelled or destroyed."""
        raise NotImplementedError

    def TaskEvents(
        self, input_message: driver_pb2.TaskEventsRequest, request: Call
    ) -> AsyncIterator[driver_pb2.DriverTaskEvent]:
        """What operators should see of any task. Never ended by the plugin."""
        raise NotImplementedError

    async def Shutdown(
        self, input_message: driver_pb2.ShutdownRequest, request: Call
    ) -> driver_pb2.ShutdownResponse | None:
        """The agent is about to end the plugin. Tasks keep running."""
        raise NotImplementedError

    async def SignalTask(
        self, input_message: driver_pb2.SignalTaskRequest, request: Call
    ) -> driver_pb2.SignalTaskResponse | None:
        """Deliver a signal to the task's main process."""
        raise NotImplementedError

    async def ExecTask(
        self, input_message: driver_pb2.ExecTaskRequest, request: Call
    ) -> driver_pb2.ExecTaskResponse | None:
        """Run a command inside the task and collect its output."""
        raise NotImplementedError

    def ExecTaskStreaming(
        self, input_messages: AsyncIterator[driver_pb2.ExecTaskStreamingRequest], request: Call
    ) -> AsyncIterator[driver_pb2.ExecTaskStreamingResponse] | AbstractAsyncContextManager[AsyncIterator[driver_pb2.ExecTaskStreamingResponse]]:
        """Run a command inside the task, interactively."""
        raise NotImplementedError

    async def CreateNetwork(
        self, input_message: driver_pb2.CreateNetworkRequest, request: Call
    ) -> driver_pb2.CreateNetworkResponse | None:
        """Only for drivers that must create the network. Asked again after an agent restart."""
        raise NotImplementedError

    async def DestroyNetwork(
        self, input_message: driver_pb2.DestroyNetworkRequest, request: Call
    ) -> driver_pb2.DestroyNetworkResponse | None:
        raise NotImplementedError

    @property
    def service(self) -> purerpc.Service:
        """The methods under their names on the wire."""
        service = purerpc.Service("hashicorp.nomad.plugins.drivers.proto.Driver")
        service.add_method(
            "Init",
            self.Init,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                driver_pb2.InitRequest,
                driver_pb2.InitResponse,
            ),
        )
        service.add_method(
            "TaskConfigSchema",
            self.TaskConfigSchema,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                driver_pb2.TaskConfigSchemaRequest,
                driver_pb2.TaskConfigSchemaResponse,
            ),
        )
        service.add_method(
            "Capabilities",
            self.Capabilities,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                driver_pb2.CapabilitiesRequest,
                driver_pb2.CapabilitiesResponse,
            ),
        )
        service.add_method(
            "Fingerprint",
            self.Fingerprint,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_STREAM,
                driver_pb2.FingerprintRequest,
                driver_pb2.FingerprintResponse,
            ),
        )
        service.add_method(
            "RecoverTask",
            self.RecoverTask,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                driver_pb2.RecoverTaskRequest,
                driver_pb2.RecoverTaskResponse,
            ),
        )
        service.add_method(
            "StartTask",
            self.StartTask,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                driver_pb2.StartTaskRequest,
                driver_pb2.StartTaskResponse,
            ),
        )
        service.add_method(
            "WaitTask",
            self.WaitTask,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                driver_pb2.WaitTaskRequest,
                driver_pb2.WaitTaskResponse,
            ),
        )
        service.add_method(
            "StopTask",
            self.StopTask,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                driver_pb2.StopTaskRequest,
                driver_pb2.StopTaskResponse,
            ),
        )
        service.add_method(
            "DestroyTask",
            self.DestroyTask,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                driver_pb2.DestroyTaskRequest,
                driver_pb2.DestroyTaskResponse,
            ),
        )
        service.add_method(
            "InspectTask",
            self.InspectTask,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                driver_pb2.InspectTaskRequest,
                driver_pb2.InspectTaskResponse,
            ),
        )
        service.add_method(
            "TaskStats",
            self.TaskStats,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_STREAM,
                driver_pb2.TaskStatsRequest,
                driver_pb2.TaskStatsResponse,
            ),
        )
        service.add_method(
            "TaskEvents",
            self.TaskEvents,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_STREAM,
                driver_pb2.TaskEventsRequest,
                driver_pb2.DriverTaskEvent,
            ),
        )
        service.add_method(
            "Shutdown",
            self.Shutdown,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                driver_pb2.ShutdownRequest,
                driver_pb2.ShutdownResponse,
            ),
        )
        service.add_method(
            "SignalTask",
            self.SignalTask,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                driver_pb2.SignalTaskRequest,
                driver_pb2.SignalTaskResponse,
            ),
        )
        service.add_method(
            "ExecTask",
            self.ExecTask,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                driver_pb2.ExecTaskRequest,
                driver_pb2.ExecTaskResponse,
            ),
        )
        service.add_method(
            "ExecTaskStreaming",
            self.ExecTaskStreaming,
            purerpc.RPCSignature(
                purerpc.Cardinality.STREAM_STREAM,
                driver_pb2.ExecTaskStreamingRequest,
                driver_pb2.ExecTaskStreamingResponse,
            ),
        )
        service.add_method(
            "CreateNetwork",
            self.CreateNetwork,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                driver_pb2.CreateNetworkRequest,
                driver_pb2.CreateNetworkResponse,
            ),
        )
        service.add_method(
            "DestroyNetwork",
            self.DestroyNetwork,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                driver_pb2.DestroyNetworkRequest,
                driver_pb2.DestroyNetworkResponse,
            ),
        )
        return service


class DriverStub:
    """Client of hashicorp.nomad.plugins.drivers.proto.Driver."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    async def Init(
        self, input_message: driver_pb2.InitRequest, *, deadline_s: float | None = None
    ) -> driver_pb2.InitResponse:
        """Sent after SetConfig and after a reattach, by agents since 2.0.4, 1.11.8 and 1.10.14."""
        return await self._channel.unary_unary(
            "/hashicorp.nomad.plugins.drivers.proto.Driver/Init", input_message, driver_pb2.InitResponse, deadline_s=deadline_s
        )

    async def TaskConfigSchema(
        self, input_message: driver_pb2.TaskConfigSchemaRequest, *, deadline_s: float | None = None
    ) -> driver_pb2.TaskConfigSchemaResponse:
        """The schema of a task's `config` block."""
        return await self._channel.unary_unary(
            "/hashicorp.nomad.plugins.drivers.proto.Driver/TaskConfigSchema", input_message, driver_pb2.TaskConfigSchemaResponse, deadline_s=deadline_s
        )

    async def Capabilities(
        self, input_message: driver_pb2.CapabilitiesRequest, *, deadline_s: float | None = None
    ) -> driver_pb2.CapabilitiesResponse:
        """What the driver can do; the answer never changes."""
        return await self._channel.unary_unary(
            "/hashicorp.nomad.plugins.drivers.proto.Driver/Capabilities", input_message, driver_pb2.CapabilitiesResponse, deadline_s=deadline_s
        )

    def Fingerprint(
        self, input_message: driver_pb2.FingerprintRequest, *, deadline_s: float | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[driver_pb2.FingerprintResponse]]:
        """One answer at once, then one per change, until cancelled. Never ended by the plugin."""
        return self._channel.unary_stream(
            "/hashicorp.nomad.plugins.drivers.proto.Driver/Fingerprint", input_message, driver_pb2.FingerprintResponse, deadline_s=deadline_s
        )

    async def RecoverTask(
        self, input_message: driver_pb2.RecoverTaskRequest, *, deadline_s: float | None = None
    ) -> driver_pb2.RecoverTaskResponse:
        """Take over a task that an earlier plugin process started. OK when it is known already."""
        return await self._channel.unary_unary(
            "/hashicorp.nomad.plugins.drivers.proto.Driver/RecoverTask", input_message, driver_pb2.RecoverTaskResponse, deadline_s=deadline_s
        )

    async def StartTask(
        self, input_message: driver_pb2.StartTaskRequest, *, deadline_s: float | None = None
    ) -> driver_pb2.StartTaskResponse:
        """Start a task and hand out its handle."""
        return await self._channel.unary_unary(
            "/hashicorp.nomad.plugins.drivers.proto.Driver/StartTask", input_message, driver_pb2.StartTaskResponse, deadline_s=deadline_s
        )

    async def WaitTask(
        self, input_message: driver_pb2.WaitTaskRequest, *, deadline_s: float | None = None
    ) -> driver_pb2.WaitTaskResponse:
        """How the task ended; waits until then. All of several callers get the same answer."""
        return await self._channel.unary_unary(
            "/hashicorp.nomad.plugins.drivers.proto.Driver/WaitTask", input_message, driver_pb2.WaitTaskResponse, deadline_s=deadline_s
        )

    async def StopTask(
        self, input_message: driver_pb2.StopTaskRequest, *, deadline_s: float | None = None
    ) -> driver_pb2.StopTaskResponse:
        """Signal, grace time, kill. Answers once the task is dead; the task stays known."""
        return await self._channel.unary_unary(
            "/hashicorp.nomad.plugins.drivers.proto.Driver/StopTask", input_message, driver_pb2.StopTaskResponse, deadline_s=deadline_s
        )

    async def DestroyTask(
        self, input_message: driver_pb2.DestroyTaskRequest, *, deadline_s: float | None = None
    ) -> driver_pb2.DestroyTaskResponse:
        """Free whatever the task has and forget it."""
        return await self._channel.unary_unary(
            "/hashicorp.nomad.plugins.drivers.proto.Driver/DestroyTask", input_message, driver_pb2.DestroyTaskResponse, deadline_s=deadline_s
        )

    async def InspectTask(
        self, input_message: driver_pb2.InspectTaskRequest, *, deadline_s: float | None = None
    ) -> driver_pb2.InspectTaskResponse:
        """The task's status. No agent since 2.0 asks."""
        return await self._channel.unary_unary(
            "/hashicorp.nomad.plugins.drivers.proto.Driver/InspectTask", input_message, driver_pb2.InspectTaskResponse, deadline_s=deadline_s
        )

    def TaskStats(
        self, input_message: driver_pb2.TaskStatsRequest, *, deadline_s: float | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[driver_pb2.TaskStatsResponse]]:
        """One sample at once, then one per interval, until cancelled or destroyed."""
        return self._channel.unary_stream(
            "/hashicorp.nomad.plugins.drivers.proto.Driver/TaskStats", input_message, driver_pb2.TaskStatsResponse, deadline_s=deadline_s
        )

    def TaskEvents(
        self, input_message: driver_pb2.TaskEventsRequest, *, deadline_s: float | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[driver_pb2.DriverTaskEvent]]:
        """What operators should see of any task. Never ended by the plugin."""
        return self._channel.unary_stream(
            "/hashicorp.nomad.plugins.drivers.proto.Driver/TaskEvents", input_message, driver_pb2.DriverTaskEvent, deadline_s=deadline_s
        )

    async def Shutdown(
        self, input_message: driver_pb2.ShutdownRequest, *, deadline_s: float | None = None
    ) -> driver_pb2.ShutdownResponse:
        """The agent is about to end the plugin. Tasks keep running."""
        return await self._channel.unary_unary(
            "/hashicorp.nomad.plugins.drivers.proto.Driver/Shutdown", input_message, driver_pb2.ShutdownResponse, deadline_s=deadline_s
        )

    async def SignalTask(
        self, input_message: driver_pb2.SignalTaskRequest, *, deadline_s: float | None = None
    ) -> driver_pb2.SignalTaskResponse:
        """Deliver a signal to the task's main process."""
        return await self._channel.unary_unary(
            "/hashicorp.nomad.plugins.drivers.proto.Driver/SignalTask", input_message, driver_pb2.SignalTaskResponse, deadline_s=deadline_s
        )

    async def ExecTask(
        self, input_message: driver_pb2.ExecTaskRequest, *, deadline_s: float | None = None
    ) -> driver_pb2.ExecTaskResponse:
        """Run a command inside the task and collect its output."""
        return await self._channel.unary_unary(
            "/hashicorp.nomad.plugins.drivers.proto.Driver/ExecTask", input_message, driver_pb2.ExecTaskResponse, deadline_s=deadline_s
        )

    def ExecTaskStreaming(
        self, *, deadline_s: float | None = None
    ) -> AbstractAsyncContextManager[ClientCall[driver_pb2.ExecTaskStreamingRequest, driver_pb2.ExecTaskStreamingResponse]]:
        """Run a command inside the task, interactively."""
        return self._channel.stream_stream(
            "/hashicorp.nomad.plugins.drivers.proto.Driver/ExecTaskStreaming", driver_pb2.ExecTaskStreamingResponse, deadline_s=deadline_s
        )

    async def CreateNetwork(
        self, input_message: driver_pb2.CreateNetworkRequest, *, deadline_s: float | None = None
    ) -> driver_pb2.CreateNetworkResponse:
        """Only for drivers that must create the network. Asked again after an agent restart."""
        return await self._channel.unary_unary(
            "/hashicorp.nomad.plugins.drivers.proto.Driver/CreateNetwork", input_message, driver_pb2.CreateNetworkResponse, deadline_s=deadline_s
        )

    async def DestroyNetwork(
        self, input_message: driver_pb2.DestroyNetworkRequest, *, deadline_s: float | None = None
    ) -> driver_pb2.DestroyNetworkResponse:
        return await self._channel.unary_unary(
            "/hashicorp.nomad.plugins.drivers.proto.Driver/DestroyNetwork", input_message, driver_pb2.DestroyNetworkResponse, deadline_s=deadline_s
        )
