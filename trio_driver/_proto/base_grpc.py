# Written by proto/generate.py from proto/base.proto. Do not edit.
# purerpc has no types.
# pyright: reportUnknownMemberType=false
from __future__ import annotations

from typing import TYPE_CHECKING

import purerpc

from trio_driver._proto import base_pb2

if TYPE_CHECKING:
    from trio_driver._proto.interfaces import Call, Channel


class BasePluginServicer(purerpc.Servicer):
    """Base of a server of hashicorp.nomad.plugins.base.proto.BasePlugin: every method is unimplemented."""

    async def PluginInfo(
        self, input_message: base_pb2.PluginInfoRequest, request: Call
    ) -> base_pb2.PluginInfoResponse | None:
        """Who the plugin is. Asked in probe processes too."""
        raise NotImplementedError

    async def ConfigSchema(
        self, input_message: base_pb2.ConfigSchemaRequest, request: Call
    ) -> base_pb2.ConfigSchemaResponse | None:
        """The schema of the agent's `plugin` block."""
        raise NotImplementedError

    async def SetConfig(
        self, input_message: base_pb2.SetConfigRequest, request: Call
    ) -> base_pb2.SetConfigResponse | None:
        """The plugin's configuration, decoded against that schema. Comes in probe processes too, and may come twice."""
        raise NotImplementedError

    @property
    def service(self) -> purerpc.Service:
        """The methods under their names on the wire."""
        service = purerpc.Service("hashicorp.nomad.plugins.base.proto.BasePlugin")
        service.add_method(
            "PluginInfo",
            self.PluginInfo,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                base_pb2.PluginInfoRequest,
                base_pb2.PluginInfoResponse,
            ),
        )
        service.add_method(
            "ConfigSchema",
            self.ConfigSchema,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                base_pb2.ConfigSchemaRequest,
                base_pb2.ConfigSchemaResponse,
            ),
        )
        service.add_method(
            "SetConfig",
            self.SetConfig,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                base_pb2.SetConfigRequest,
                base_pb2.SetConfigResponse,
            ),
        )
        return service


class BasePluginStub:
    """Client of hashicorp.nomad.plugins.base.proto.BasePlugin."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    async def PluginInfo(
        self, input_message: base_pb2.PluginInfoRequest, *, deadline_s: float | None = None
    ) -> base_pb2.PluginInfoResponse:
        """Who the plugin is. Asked in probe processes too."""
        return await self._channel.unary_unary(
            "/hashicorp.nomad.plugins.base.proto.BasePlugin/PluginInfo", input_message, base_pb2.PluginInfoResponse, deadline_s=deadline_s
        )

    async def ConfigSchema(
        self, input_message: base_pb2.ConfigSchemaRequest, *, deadline_s: float | None = None
    ) -> base_pb2.ConfigSchemaResponse:
        """The schema of the agent's `plugin` block."""
        return await self._channel.unary_unary(
            "/hashicorp.nomad.plugins.base.proto.BasePlugin/ConfigSchema", input_message, base_pb2.ConfigSchemaResponse, deadline_s=deadline_s
        )

    async def SetConfig(
        self, input_message: base_pb2.SetConfigRequest, *, deadline_s: float | None = None
    ) -> base_pb2.SetConfigResponse:
        """The plugin's configuration, decoded against that schema. Comes in probe processes too, and may come twice."""
        return await self._channel.unary_unary(
            "/hashicorp.nomad.plugins.base.proto.BasePlugin/SetConfig", input_message, base_pb2.SetConfigResponse, deadline_s=deadline_s
        )
