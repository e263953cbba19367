"""An end of ours in a process of its own, so that a test can send it signals and measure it.

`victim.py serve SOCKET` serves until SIGTERM, then drains. It writes a line when it serves, and one
for every unary handler that has been asked to wait, which answers when a line comes on stdin.

`victim.py call SOCKET` makes one call of each kind after the other, each with a deadline of half a
second, and writes how it ended.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import AsyncIterator

import trio

from tests.rpc.probe import BIDI, CLIENT_STREAM, SERVER_STREAM, UNARY, Probe
from tests.rpc.probe_pb2 import Note
from trio_driver.linux import listen_unix
from trio_driver.rpc import Channel, RpcError, Server, open_unix_channel

DEADLINE_S = 0.5


async def wait_if_asked(note: Note, _call: object) -> Note:
    if note.text == "wait":
        print("started", flush=True)
        async with trio.lowlevel.FdStream(0) as stdin:
            await stdin.receive_some(1)
    return note


async def never_read(notes: AsyncIterator[Note], _call: object) -> Note:
    await trio.sleep_forever()
    raise AssertionError


async def serve(path: str) -> None:
    server = Server([Probe(unary=wait_if_asked, client_stream=never_read)])
    listener = await listen_unix(path)
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            await nursery.start(server.serve_listener, listener)
            print("serving", flush=True)
            async for _ in signals:
                server.drain()
                break


async def notes() -> AsyncIterator[Note]:
    while True:
        yield Note(data=bytes(1_000))
        await trio.sleep(0.01)


async def call_each(channel: Channel) -> None:
    async with channel.stream_stream(BIDI, Note, deadline_s=DEADLINE_S) as call:
        await call.send(Note())
        async for _ in call:
            pass
    async with channel.unary_stream(SERVER_STREAM, Note(), Note, deadline_s=DEADLINE_S) as answers:
        async for _ in answers:
            pass
    await channel.stream_unary(CLIENT_STREAM, notes(), Note, deadline_s=DEADLINE_S)
    await channel.unary_unary(UNARY, Note(), Note, deadline_s=DEADLINE_S)


async def call(path: str) -> None:
    async with open_unix_channel(path) as channel:
        print("connected", flush=True)
        try:
            await call_each(channel)
        except RpcError as error:
            print(error.code.name, flush=True)


if __name__ == "__main__":
    trio.run({"serve": serve, "call": call}[sys.argv[1]], sys.argv[2])
