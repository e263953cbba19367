"""gRPC on Trio for services declared with purerpc: server and client over any stream of Trio's.

One connection is a nursery, one RPC is a cancel scope. A reset, a deadline, a lost connection and
shutdown all do one thing: they cancel that scope.

Layers, outermost first:
- `server`, `client`: connections and calls; `call`, `client_call`: one RPC at either end
- `connection`, `rpc_stream`: tasks, waiting
- `server_wire`, `client_wire`, `wire`: sans-IO, bytes in and `events` out, on h2
- `h2_connection`, `header_encoder`, `frames`, `messages`, `metadata`, `status`: parts of the format
- `service`: what is served, from purerpc's registry

Must not know: Nomad, go-plugin, what the services do.
"""

from trio_driver.rpc.call import ServerCall
from trio_driver.rpc.client import Channel, open_channel, open_unix_channel
from trio_driver.rpc.client_call import ClientCall
from trio_driver.rpc.messages import MAX_MESSAGE_BYTES
from trio_driver.rpc.server import Server
from trio_driver.rpc.service import Servicer, StatusCode
from trio_driver.rpc.status import RpcError, Status

__all__ = [
    "MAX_MESSAGE_BYTES",
    "Channel",
    "ClientCall",
    "RpcError",
    "Server",
    "ServerCall",
    "Servicer",
    "Status",
    "StatusCode",
    "open_channel",
    "open_unix_channel",
]
