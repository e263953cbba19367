"""Generated servicers and stubs work with this transport, and a type checker agrees."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio

from trio_driver import rpc
from trio_driver._proto import health_grpc, interfaces
from trio_driver._proto.health_pb2 import HealthCheckRequest, HealthCheckResponse
from trio_driver._proto.interfaces import Call

from .probe_pb2 import Note
from .raw import stream_pair

SERVING = HealthCheckResponse.ServingStatus.SERVING


class Health(health_grpc.HealthServicer):
    async def Check(
        self, input_message: HealthCheckRequest, request: Call
    ) -> HealthCheckResponse | None:
        await request.reply(HealthCheckResponse(status=SERVING))
        return None

    async def Watch(
        self, input_message: HealthCheckRequest, request: Call
    ) -> AsyncIterator[HealthCheckResponse]:
        yield HealthCheckResponse(status=SERVING)
        raise rpc.RpcError(rpc.StatusCode.NOT_FOUND, request.path)


async def test_a_generated_stub_calls_a_generated_servicer() -> None:
    ours, theirs = stream_pair()
    server = rpc.Server([Health()])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.serve_stream, ours)
        async with rpc.open_channel(theirs) as channel:
            stub = health_grpc.HealthStub(channel)
            assert (await stub.Check(HealthCheckRequest())).status == SERVING
            async with stub.Watch(HealthCheckRequest(), deadline_s=5) as answers:
                assert (await anext(answers)).status == SERVING
                with pytest.raises(rpc.RpcError, match=r"NOT_FOUND: /grpc.health.v1.Health/Watch"):
                    await anext(answers)


async def test_what_a_servicer_leaves_out_is_unimplemented() -> None:
    ours, theirs = stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rpc.Server([health_grpc.HealthServicer()]).serve_stream, ours)
        async with rpc.open_channel(theirs) as channel:
            stub = health_grpc.HealthStub(channel)
            with pytest.raises(rpc.RpcError, match="UNIMPLEMENTED"):
                await stub.Check(HealthCheckRequest())
            async with stub.Watch(HealthCheckRequest()) as answers:
                with pytest.raises(rpc.RpcError, match="UNIMPLEMENTED"):
                    await anext(answers)


def satisfies_the_protocols(
    channel: rpc.Channel, call: rpc.ServerCall, client_call: rpc.ClientCall[Note, Note]
) -> tuple[interfaces.Channel, interfaces.Call, interfaces.ClientCall[Note, Note]]:
    """Nothing to run: it is for the type checker."""
    return channel, call, client_call
