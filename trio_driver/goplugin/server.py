"""Server: a go-plugin plugin from its handshake to its end.

Owns when the plugin ends: when the agent asks (GRPCController.Shutdown), when somebody sends
SIGTERM, or when nobody is there to ask any more.

Rules:
- One way out for all three: new RPCs are refused, those that run get `DRAIN_LIMIT_S` to finish and
  are cancelled then. An agent kills the plugin 2 s after the answer to Shutdown (H13).
- The agent is gone when the process that started us has ended or nobody reads our log pipe. Then
  we live on for another agent to reattach, as long as one is connected or `idle_limit_s` lasts.
- Nothing here happens because of a probe (H12): a launch leaves nothing but its socket, and the
  socket not either.

Must not know: drivers, Nomad's services.

Source: nomad-protocol §1.5, §1.12-1.15, §2.3, §2.8.
"""

from __future__ import annotations

import logging
import os
import signal
import stat
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from trio_driver.goplugin.early import prepare_process_once
from trio_driver.goplugin.handshake import Handshake, HandshakeError
from trio_driver.goplugin.listener import open_listener, remove_stale_sockets
from trio_driver.goplugin.services import Controller, plugin_services
from trio_driver.linux import wait_pidfd
from trio_driver.rpc import Server

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from trio_util import AsyncValue

    from trio_driver.goplugin.process import PluginProcess
    from trio_driver.rpc import Servicer

LOGGER: Final = logging.getLogger("trio_driver.goplugin")

IDLE_LIMIT_S: Final = 600.0
"""How long a plugin without agent and connections waits for the next: an agent's restart and then
some (design §2)."""

DRAIN_LIMIT_S: Final = 0.5
"""For RPCs that run at the end. The rest of the agent's 2 s is for their cleanup and for ours."""


async def serve_plugin(
    servicers: Sequence[Servicer],
    *,
    process: PluginProcess | None = None,
    idle_limit_s: float = IDLE_LIMIT_S,
    task_status: trio.TaskStatus[Handshake] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve `servicers` to the agent that started this process, until the plugin must end.

    Args:
        servicers: the plugin's own services; go-plugin's are added.
        process: what `prepare_process_once` returned. None calls it now, which may be late: what
            was printed and flushed before has spoiled the handshake.
        idle_limit_s: seconds without any connection after which a plugin whose agent is gone ends.

    Returns after Shutdown, SIGTERM or `idle_limit_s`; the process must end then, with status 0.
    `task_status` is started once the handshake has been written.

    Raises:
        SystemExit: no agent started this process; a hint is on stderr.
        HandshakeError: nobody reads the handshake, or a socket fits in no directory.
        OSError: no socket can be made.

    If cancelled, RPCs are cancelled at once, and the socket is removed all the same.
    """
    process = process or prepare_process_once()
    controller = Controller()
    server = Server([*servicers, *plugin_services(controller)])
    with trio.open_signal_receiver(signal.SIGTERM) as sigterm:
        async with (
            open_listener(process.environment) as (listener, path),
            trio.open_nursery() as nursery,
        ):
            await nursery.start(server.serve_listener, listener)
            handshake = process.environment.handshake(path)
            _write_handshake(process, handshake)
            task_status.started(handshake)
            _log_oddities(process)
            remove_stale_sockets(path.parent)
            reason = await _wait_first(
                {
                    "the agent asked": controller.shutdown.wait,
                    "SIGTERM": partial(anext, aiter(sigterm)),
                    "no agent": partial(
                        wait_abandoned,
                        partial(_wait_agent_gone, process),
                        server.connections,
                        idle_limit_s=idle_limit_s,
                    ),
                }
            )
            LOGGER.info("the plugin ends", extra={"kv": {"reason": reason}})
            server.drain()
            nursery.cancel_scope.deadline = trio.current_time() + DRAIN_LIMIT_S


def _write_handshake(process: PluginProcess, handshake: Handshake) -> None:
    """Write the line and close the agent's stdout: nothing else may ever come (H2)."""
    try:
        os.write(process.handshake_fd, handshake.encode().encode())
    except OSError as error:
        raise HandshakeError(f"nobody reads the handshake: {error.strerror}") from error
    finally:
        os.close(process.handshake_fd)


def _log_oddities(process: PluginProcess) -> None:
    environment = process.environment
    if environment.ignored_versions:
        items = ", ".join(environment.ignored_versions)
        LOGGER.warning("PLUGIN_PROTOCOL_VERSIONS has items that are no numbers: %s", items)
    if environment.wants_tls:
        # Not refused: the variable may be the agent's own, from a host that started the agent.
        LOGGER.warning("PLUGIN_CLIENT_CERT is set, but this plugin speaks without TLS")


async def _wait_first(waits: Mapping[str, Callable[[], Awaitable[object]]]) -> str:
    """Wait for the first of `waits` to return, cancel the others, return its name."""
    first: list[str] = []

    async def wait(name: str) -> None:
        await waits[name]()
        first.append(name)
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        for name in waits:
            nursery.start_soon(wait, name)
    return first[0]


async def wait_abandoned(
    wait_agent_gone: Callable[[], Awaitable[None]],
    connections: AsyncValue[int],
    *,
    idle_limit_s: float,
) -> None:
    """Wait until the agent is gone and then nobody has been connected for `idle_limit_s` seconds.

    Connections count from the agent's end on: one that opens starts the time anew.
    """
    await wait_agent_gone()
    # Also makes the log handler notice that nobody reads it.
    LOGGER.info("the agent is gone", extra={"kv": {"idle_limit_s": idle_limit_s}})
    await connections.wait_value(0, held_for=idle_limit_s)  # pyright: ignore[reportUnknownMemberType]


async def _wait_agent_gone(process: PluginProcess) -> None:
    """Wait for the end of the parent, or for the log pipe to have no reader.

    The second also holds when a wrapper script stands between the agent and us. Where neither can
    be seen it returns at once: connections alone decide then.
    """
    waits: dict[str, Callable[[], Awaitable[object]]] = {}
    if process.parent_pidfd is not None:
        waits["parent"] = partial(wait_pidfd, process.parent_pidfd)
    if stat.S_ISFIFO(os.fstat(process.log_fd).st_mode):
        waits["log"] = partial(_wait_without_reader, process.log_fd)
    if waits:
        await _wait_first(waits)


async def _wait_without_reader(pipe_fd: int) -> None:
    # A write end is never readable; epoll reports it so when the last reader has gone.
    await trio.lowlevel.wait_readable(pipe_fd)
