# Written by proto/generate.py from proto/executor.proto. Do not edit.
# purerpc has no types.
# pyright: reportUnknownMemberType=false
from __future__ import annotations

from typing import TYPE_CHECKING

import purerpc

from trio_driver._proto import executor_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager
    from trio_driver._proto.interfaces import Call, Channel


class ExecutorServicer(purerpc.Servicer):
    """Base of a server of trio_driver.executor.Executor: every method is unimplemented."""

    async def Start(
        self, input_message: executor_pb2.StartRequest, request: Call
    ) -> executor_pb2.StartResponse | None:
        """Run the driver's run(task). Answers once the task has started; an error names the failing step."""
        raise NotImplementedError

    async def Stop(
        self, input_message: executor_pb2.StopRequest, request: Call
    ) -> executor_pb2.StopResponse | None:
        """Signal, grace, kill the containment. Answers when that is under way: the exit record tells when it is done."""
        raise NotImplementedError

    async def Signal(
        self, input_message: executor_pb2.SignalRequest, request: Call
    ) -> executor_pb2.SignalResponse | None:
        """Deliver a signal to the task's main process."""
        raise NotImplementedError

    def Stats(
        self, input_message: executor_pb2.StatsRequest, request: Call
    ) -> AsyncIterator[executor_pb2.StatsResponse]:
        """From the processes, for a host without cgroups: one sample at once, then one per interval."""
        raise NotImplementedError

    @property
    def service(self) -> purerpc.Service:
        """The methods under their names on the wire."""
        service = purerpc.Service("trio_driver.executor.Executor")
        service.add_method(
            "Start",
            self.Start,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                executor_pb2.StartRequest,
                executor_pb2.StartResponse,
            ),
        )
        service.add_method(
            "Stop",
            self.Stop,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                executor_pb2.StopRequest,
                executor_pb2.StopResponse,
            ),
        )
        service.add_method(
            "Signal",
            self.Signal,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                executor_pb2.SignalRequest,
                executor_pb2.SignalResponse,
            ),
        )
        service.add_method(
            "Stats",
            self.Stats,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_STREAM,
                executor_pb2.StatsRequest,
                executor_pb2.StatsResponse,
            ),
        )
        return service


class ExecutorStub:
    """Client of trio_driver.executor.Executor."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    async def Start(
        self, input_message: executor_pb2.StartRequest, *, deadline_s: float | None = None
    ) -> executor_pb2.StartResponse:
        """Run the driver's run(task). Answers once the task has started; an error names the failing step."""
        return await self._channel.unary_unary(
            "/trio_driver.executor.Executor/Start", input_message, executor_pb2.StartResponse, deadline_s=deadline_s
        )

    async def Stop(
        self, input_message: executor_pb2.StopRequest, *, deadline_s: float | None = None
    ) -> executor_pb2.StopResponse:
        """Signal, grace, kill the containment. Answers when that is under way: the exit record tells when it is done."""
        return await self._channel.unary_unary(
            "/trio_driver.executor.Executor/Stop", input_message, executor_pb2.StopResponse, deadline_s=deadline_s
        )

    async def Signal(
        self, input_message: executor_pb2.SignalRequest, *, deadline_s: float | None = None
    ) -> executor_pb2.SignalResponse:
        """Deliver a signal to the task's main process."""
        return await self._channel.unary_unary(
            "/trio_driver.executor.Executor/Signal", input_message, executor_pb2.SignalResponse, deadline_s=deadline_s
        )

    def Stats(
        self, input_message: executor_pb2.StatsRequest, *, deadline_s: float | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[executor_pb2.StatsResponse]]:
        """From the processes, for a host without cgroups: one sample at once, then one per interval."""
        return self._channel.unary_stream(
            "/trio_driver.executor.Executor/Stats", input_message, executor_pb2.StatsResponse, deadline_s=deadline_s
        )
