"""Client: what an agent does with a plugin, for any go-plugin driver, ours or one written in Go.

Owns the connection to a plugin, and, through `child`, the process. Leaving a block ends the plugin
as an agent ends it.

Rules:
- Shutdown goes over a connection of its own: when the block is cancelled, the other one is dead.
- Where an agent would wait for ever, there is a limit here and a word about it.

Must not know: drivers.

Source: nomad-protocol §1.4, §1.10, §1.12, §1.15.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

import trio
from google.protobuf import empty_pb2

from trio_driver._proto import (
    broker_grpc,
    controller_grpc,
    controller_pb2,
    health_grpc,
    health_pb2,
    stdio_grpc,
)
from trio_driver.goplugin.child import EXIT_LIMIT_S, START_LIMIT_S, open_child
from trio_driver.goplugin.reattach import ReattachConfig, ReattachError, open_listener_process
from trio_driver.goplugin.services import HEALTH_SERVICE
from trio_driver.linux import identify, signal_pidfd, wait_pidfd
from trio_driver.rpc import RpcError, open_channel, open_unix_channel

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence

    from trio_driver._proto.interfaces import Channel
    from trio_driver.goplugin.child import Child
    from trio_driver.goplugin.hclog import LogRecord
    from trio_driver.linux import ProcessId

LOGGER: Final = logging.getLogger("trio_driver.goplugin")

_ANSWER_LIMIT_S: Final = 2.0
"""For the answer to Shutdown. An agent has none and hangs with the plugin (H13)."""

_KILL_LIMIT_S: Final = 5.0
"""After SIGKILL only a process in the kernel's hands (D state) takes longer."""


class PluginClient:
    """A running plugin and a connection to it.

    `channel` is for the stubs of `_proto`; it is not opened again when it breaks, as the plugin
    has normally ended then.
    """

    def __init__(
        self,
        channel: Channel,
        *,
        process: ProcessId,
        reattach_config: ReattachConfig,
        wait_exited: Callable[[], Awaitable[int | None]],
    ) -> None:
        self.channel = channel
        self.process = process
        self.reattach_config = reattach_config
        self._wait_exited = wait_exited

    async def wait_exited(self) -> int | None:
        """Wait until the plugin has ended, as an agent notices it: pipes at their end, reaped.

        Returns the status as `subprocess` gives it; None for a reattached plugin, whose status
        only its parent knows.
        """
        return await self._wait_exited()

    async def ping(self) -> None:
        """Ask the plugin's health service whether it serves.

        Raises:
            RpcError: it does not, or is not there.
        """
        request = health_pb2.HealthCheckRequest(service=HEALTH_SERVICE)
        await health_grpc.HealthStub(self.channel).Check(request)


@asynccontextmanager
async def open_plugin(
    command: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    on_log: Callable[[LogRecord], None] = lambda _record: None,
    start_limit_s: float = START_LIMIT_S,
) -> AsyncGenerator[PluginClient]:
    """Start a plugin, connect to it, and end it when the block is left.

    Args:
        command: path and arguments; no shell.
        env: the agent's environment, without what go-plugin adds; None is ours.
        on_log: called with what the plugin logs, read as an agent reads it.
        start_limit_s: seconds from exec to handshake.

    Leaving the block asks for Shutdown, waits 2 s for the process to end, then kills it; so does a
    cancellation, and an exception, which leaves it as it is. Nothing of the plugin's process is
    left in any case. An exception of `on_log` ends the block, in an ExceptionGroup.

    Raises:
        HandshakeError: the plugin did not start; it is gone already.
        OSError: its address cannot be connected.
        PipeHeldError: when leaving, and a process that outlives the plugin holds its pipes (H1).

    Source: nomad-protocol §1.12.
    """
    async with open_child(command, env=env, on_log=on_log) as child:
        handshake = await child.wait_handshake(limit_s=start_limit_s)
        config = ReattachConfig(
            protocol="grpc",
            network=handshake.network,
            addr=handshake.address,
            pid=child.process.pid,
        )
        async with _open_background() as background:
            background.start_soon(child.run)
            async with _open_session(config, partial(_wait_child, child)) as client:
                yield client


async def _wait_child(child: Child) -> int | None:
    await child.exited.wait()
    return child.process.returncode


@asynccontextmanager
async def reattach(config: ReattachConfig) -> AsyncGenerator[PluginClient]:
    """Connect to a plugin that runs already, and end it when the block is left, like `open_plugin`.

    Raises:
        ReattachError: it is not there any more, or somebody else is.
    """
    pidfd = open_listener_process(config)
    try:
        async with _open_background() as background:
            exited = trio.Event()
            background.start_soon(_watch, pidfd, exited)
            async with _open_session(config, exited.wait) as client:
                yield client
    finally:
        try:
            # Shield: leaving the block means that the plugin is gone, cancelled or not.
            # Ends by: the limits inside; the one here is never reached.
            with trio.fail_after(EXIT_LIMIT_S + 2 * _KILL_LIMIT_S, shield=True):
                await _end_stranger(pidfd)
        finally:
            os.close(pidfd)


async def _watch(pidfd: int, exited: trio.Event) -> None:
    await wait_pidfd(pidfd)
    exited.set()


async def _end_stranger(pidfd: int) -> None:
    """Wait for the end of a process that is no child, kill it when it takes too long."""
    with trio.move_on_after(EXIT_LIMIT_S):
        await wait_pidfd(pidfd)
        return
    LOGGER.warning("a reattached plugin is killed: it did not end within %g s", EXIT_LIMIT_S)
    signal_pidfd(pidfd, signal.SIGKILL)
    with trio.fail_after(_KILL_LIMIT_S):
        await wait_pidfd(pidfd)


@asynccontextmanager
async def _open_session(
    config: ReattachConfig, wait_exited: Callable[[], Awaitable[int | None]]
) -> AsyncGenerator[PluginClient]:
    """Connect to a plugin whose process somebody holds; leaving asks it to end."""
    process = identify(config.pid)
    if process is None:
        raise ReattachError(f"no process {config.pid}")
    try:
        async with _connect(config) as channel, _open_background() as background:
            background.start_soon(_hold_stdio, channel)
            background.start_soon(_hold_broker, channel)
            yield PluginClient(
                channel, process=process, reattach_config=config, wait_exited=wait_exited
            )
    finally:
        # Shield: the polite end is also due when the block was cancelled.
        # Ends by: the answer, the end of the connection, or _ANSWER_LIMIT_S.
        with trio.move_on_after(_ANSWER_LIMIT_S, shield=True) as waiting:
            await _ask_shutdown(config)
        if waiting.cancelled_caught:
            LOGGER.warning("plugin %d does not answer Shutdown: an agent would hang", config.pid)


@asynccontextmanager
async def _open_background() -> AsyncGenerator[trio.Nursery]:
    """A nursery for tasks that end with the block; the body's exception leaves it as it is."""
    failure: Exception | None = None
    async with trio.open_nursery() as nursery:
        try:
            yield nursery
        except Exception as error:
            failure = error
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


@asynccontextmanager
async def _connect(config: ReattachConfig) -> AsyncGenerator[Channel]:
    if config.network == "unix":
        async with open_unix_channel(config.addr) as channel:
            yield channel
    else:
        host, _, port = config.addr.rpartition(":")
        stream = await trio.open_tcp_stream(host, int(port))
        async with open_channel(stream) as channel:
            yield channel


async def _ask_shutdown(config: ReattachConfig) -> None:
    """Ask the plugin to end; when it does not answer, it will be killed."""
    try:
        async with _connect(config) as channel:
            await controller_grpc.GRPCControllerStub(channel).Shutdown(controller_pb2.Empty())
    except (OSError, RpcError) as error:
        # Usual for plugins that end inside the call (all Go ones), or have ended before.
        LOGGER.debug("no answer to Shutdown: %r", error)


async def _hold_stdio(channel: Channel) -> None:
    """Every host opens it; Nomad drops what comes."""
    stub = stdio_grpc.GRPCStdioStub(channel)
    with contextlib.suppress(RpcError):  # not implemented, or the plugin has ended
        async with stub.StreamStdio(empty_pb2.Empty()) as messages:
            async for _message in messages:
                pass


async def _hold_broker(channel: Channel) -> None:
    """Every host opens it; Nomad's drivers never use it."""
    with contextlib.suppress(RpcError):  # as above
        async with broker_grpc.GRPCBrokerStub(channel).StartStream() as stream:
            async for _message in stream:
                pass
