"""Services: what go-plugin itself expects of every plugin, beside the plugin's own services.

Health (asked by hosts to see whether we live), controller (asks us to end), stdio and broker
(opened by every host at once and never used by Nomad: kept open, quiet).

Must not know: drivers, how the process ends.

Source: nomad-protocol §1.10.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from trio_driver._proto import (
    broker_grpc,
    broker_pb2,
    controller_grpc,
    controller_pb2,
    health_grpc,
    health_pb2,
    stdio_grpc,
    stdio_pb2,
)
from trio_driver.rpc import RpcError, StatusCode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from google.protobuf import empty_pb2

    from trio_driver._proto.interfaces import Call
    from trio_driver.rpc import Servicer

HEALTH_SERVICE: Final = "plugin"
"""The name that go-plugin hosts ask about; the empty one is the server as a whole."""


class Health(health_grpc.HealthServicer):
    """grpc.health.v1: a plugin that answers is well."""

    async def Check(
        self, input_message: health_pb2.HealthCheckRequest, request: Call
    ) -> health_pb2.HealthCheckResponse:
        """SERVING for go-plugin's name.

        Raises:
            RpcError: NOT_FOUND for another name, as the health protocol has it.
        """
        if input_message.service not in ("", HEALTH_SERVICE):
            raise RpcError(StatusCode.NOT_FOUND, f"unknown service {input_message.service!r}")
        return health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING)

    async def Watch(
        self, input_message: health_pb2.HealthCheckRequest, request: Call
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        """The same as the first and only message of a stream; here an unknown name is no error."""
        known = input_message.service in ("", HEALTH_SERVICE)
        status = (
            health_pb2.HealthCheckResponse.SERVING
            if known
            else health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
        )
        yield health_pb2.HealthCheckResponse(status=status)
        await trio.sleep_forever()


class Controller(controller_grpc.GRPCControllerServicer):
    """plugin.GRPCController: the agent's only polite way to end a plugin."""

    def __init__(self) -> None:
        self.shutdown = trio.Event()
        """Set once the agent has asked, and has its answer."""

    async def Shutdown(self, input_message: controller_pb2.Empty, request: Call) -> None:
        """Answer, then end (H13: the agent waits for the answer for ever, for the end 2 s)."""
        try:
            await request.reply(controller_pb2.Empty())
        finally:
            # Also when the answer could not be written: the agent wants no plugin any more.
            self.shutdown.set()


class Stdio(stdio_grpc.GRPCStdioServicer):
    """plugin.GRPCStdio: says nothing, for what is printed is in the log."""

    async def StreamStdio(
        self, input_message: empty_pb2.Empty, request: Call
    ) -> AsyncIterator[stdio_pb2.StdioData]:
        """Stay open until the host goes."""
        await trio.sleep_forever()
        yield stdio_pb2.StdioData()


class Broker(broker_grpc.GRPCBrokerServicer):
    """plugin.GRPCBroker: no driver opens listeners of its own."""

    async def StartStream(
        self, input_messages: AsyncIterator[broker_pb2.ConnInfo], request: Call
    ) -> AsyncIterator[broker_pb2.ConnInfo]:
        """Stay open until the host goes; what it says is read and dropped."""
        async for _message in input_messages:
            pass
        # Half closed. Ending the stream is an error to go-plugin hosts, which only cancel it.
        await trio.sleep_forever()
        yield broker_pb2.ConnInfo()


def plugin_services(controller: Controller) -> list[Servicer]:
    """All four."""
    return [Health(), controller, Stdio(), Broker()]
