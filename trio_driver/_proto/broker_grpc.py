# Written by proto/generate.py from proto/broker.proto. Do not edit.
# purerpc has no types.
# pyright: reportUnknownMemberType=false
from __future__ import annotations

from typing import TYPE_CHECKING

import purerpc

from trio_driver._proto import broker_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager
    from trio_driver._proto.interfaces import Call, Channel, ClientCall


class GRPCBrokerServicer(purerpc.Servicer):
    """Base of a server of plugin.GRPCBroker: every method is unimplemented."""

    def StartStream(
        self, input_messages: AsyncIterator[broker_pb2.ConnInfo], request: Call
    ) -> AsyncIterator[broker_pb2.ConnInfo] | AbstractAsyncContextManager[AsyncIterator[broker_pb2.ConnInfo]]:
        raise NotImplementedError

    @property
    def service(self) -> purerpc.Service:
        """The methods under their names on the wire."""
        service = purerpc.Service("plugin.GRPCBroker")
        service.add_method(
            "StartStream",
            self.StartStream,
            purerpc.RPCSignature(
                purerpc.Cardinality.STREAM_STREAM,
                broker_pb2.ConnInfo,
                broker_pb2.ConnInfo,
            ),
        )
        return service


class GRPCBrokerStub:
    """Client of plugin.GRPCBroker."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def StartStream(
        self, *, deadline_s: float | None = None
    ) -> AbstractAsyncContextManager[ClientCall[broker_pb2.ConnInfo, broker_pb2.ConnInfo]]:
        return self._channel.stream_stream(
            "/plugin.GRPCBroker/StartStream", broker_pb2.ConnInfo, deadline_s=deadline_s
        )
