"""A server in a process of its own, that drains at SIGTERM: `sigterm_server.py SOCKET`.

Writes a line when it serves, and one for every handler that has started; a handler answers when a
line comes on stdin.
"""

from __future__ import annotations

import signal
import sys

import trio

from tests.rpc.probe import Probe
from tests.rpc.probe_pb2 import Note
from trio_driver.linux import listen_unix
from trio_driver.rpc import Server


async def wait_for_line(note: Note, _call: object) -> Note:
    print("started", flush=True)
    async with trio.lowlevel.FdStream(0) as stdin:
        await stdin.receive_some(1)
    return note


async def main(path: str) -> None:
    server = Server([Probe(unary=wait_for_line)])
    listener = await listen_unix(path)
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            await nursery.start(server.serve_listener, listener)
            print("serving", flush=True)
            async for _ in signals:
                server.drain()
                break


trio.run(main, sys.argv[1])
