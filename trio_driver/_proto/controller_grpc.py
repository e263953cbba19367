# Written by proto/generate.py from proto/controller.proto. Do not edit.
# purerpc has no types.
# pyright: reportUnknownMemberType=false
from __future__ import annotations

from typing import TYPE_CHECKING

import purerpc

from trio_driver._proto import controller_pb2

if TYPE_CHECKING:
    from trio_driver._proto.interfaces import Call, Channel


class GRPCControllerServicer(purerpc.Servicer):
    """Base of a server of plugin.GRPCController: every method is unimplemented."""

    async def Shutdown(
        self, input_message: controller_pb2.Empty, request: Call
    ) -> controller_pb2.Empty | None:
        """The client sets no deadline: answer at once, then exit within two seconds."""
        raise NotImplementedError

    @property
    def service(self) -> purerpc.Service:
        """The methods under their names on the wire."""
        service = purerpc.Service("plugin.GRPCController")
        service.add_method(
            "Shutdown",
            self.Shutdown,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                controller_pb2.Empty,
                controller_pb2.Empty,
            ),
        )
        return service


class GRPCControllerStub:
    """Client of plugin.GRPCController."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    async def Shutdown(
        self, input_message: controller_pb2.Empty, *, deadline_s: float | None = None
    ) -> controller_pb2.Empty:
        """The client sets no deadline: answer at once, then exit within two seconds."""
        return await self._channel.unary_unary(
            "/plugin.GRPCController/Shutdown", input_message, controller_pb2.Empty, deadline_s=deadline_s
        )
