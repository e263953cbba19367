# Written by proto/generate.py from proto/health.proto. Do not edit.
# purerpc has no types.
# pyright: reportUnknownMemberType=false
from __future__ import annotations

from typing import TYPE_CHECKING

import purerpc

from trio_driver._proto import health_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager
    from trio_driver._proto.interfaces import Call, Channel


class HealthServicer(purerpc.Servicer):
    """Base of a server of grpc.health.v1.Health: every method is unimplemented."""

    async def Check(
        self, input_message: health_pb2.HealthCheckRequest, request: Call
    ) -> health_pb2.HealthCheckResponse | None:
        raise NotImplementedError

    def Watch(
        self, input_message: health_pb2.HealthCheckRequest, request: Call
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        """The status now, and again whenever it changes."""
        raise NotImplementedError

    @property
    def service(self) -> purerpc.Service:
        """The methods under their names on the wire."""
        service = purerpc.Service("grpc.health.v1.Health")
        service.add_method(
            "Check",
            self.Check,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                health_pb2.HealthCheckRequest,
                health_pb2.HealthCheckResponse,
            ),
        )
        service.add_method(
            "Watch",
            self.Watch,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_STREAM,
                health_pb2.HealthCheckRequest,
                health_pb2.HealthCheckResponse,
            ),
        )
        return service


class HealthStub:
    """Client of grpc.health.v1.Health."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    async def Check(
        self, input_message: health_pb2.HealthCheckRequest, *, deadline_s: float | None = None
    ) -> health_pb2.HealthCheckResponse:
        return await self._channel.unary_unary(
            "/grpc.health.v1.Health/Check", input_message, health_pb2.HealthCheckResponse, deadline_s=deadline_s
        )

    def Watch(
        self, input_message: health_pb2.HealthCheckRequest, *, deadline_s: float | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[health_pb2.HealthCheckResponse]]:
        """The status now, and again whenever it changes."""
        return self._channel.unary_stream(
            "/grpc.health.v1.Health/Watch", input_message, health_pb2.HealthCheckResponse, deadline_s=deadline_s
        )
