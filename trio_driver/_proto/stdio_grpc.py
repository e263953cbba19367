# Written by proto/generate.py from proto/stdio.proto. Do not edit.
# purerpc has no types.
# pyright: reportUnknownMemberType=false
from __future__ import annotations

from typing import TYPE_CHECKING

import purerpc

from google.protobuf import empty_pb2
from trio_driver._proto import stdio_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager
    from trio_driver._proto.interfaces import Call, Channel


class GRPCStdioServicer(purerpc.Servicer):
    """Base of a server of plugin.GRPCStdio: every method is unimplemented."""

    def StreamStdio(
        self, input_message: empty_pb2.Empty, request: Call
    ) -> AsyncIterator[stdio_pb2.StdioData]:
        """Stays open for as long as the client likes."""
        raise NotImplementedError

    @property
    def service(self) -> purerpc.Service:
        """The methods under their names on the wire."""
        service = purerpc.Service("plugin.GRPCStdio")
        service.add_method(
            "StreamStdio",
            self.StreamStdio,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_STREAM,
                empty_pb2.Empty,
                stdio_pb2.StdioData,
            ),
        )
        return service


class GRPCStdioStub:
    """Client of plugin.GRPCStdio."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def StreamStdio(
        self, input_message: empty_pb2.Empty, *, deadline_s: float | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[stdio_pb2.StdioData]]:
        """Stays open for as long as the client likes."""
        return self._channel.unary_stream(
            "/plugin.GRPCStdio/StreamStdio", input_message, stdio_pb2.StdioData, deadline_s=deadline_s
        )
