"""Reattach: how an agent that was restarted finds a plugin that was not.

Owns the record of it, in the form in which Nomad keeps it, and the proof that a process is the one
meant: the kernel tells who called listen(2) on the socket.

Rules:
- A stored pid alone identifies nobody, and nothing is ever signalled by it: after a reboot, or
  long enough, it is somebody else's.

Must not know: gRPC, how plugins are started.

Source: nomad-protocol §1.15; known-failures 28-33; unix(7) SO_PEERCRED.
"""

from __future__ import annotations

import json
import os
import socket
import struct
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from trio_driver.goplugin.handshake import Network

_UCRED: Final = struct.Struct("iII")
"""struct ucred: pid, uid, gid (unix(7))."""


class ReattachError(Exception):
    """The plugin that the configuration describes is not there any more: start a new one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReattachConfig:
    """Where a running plugin is."""

    protocol: str
    """Always `grpc` for Nomad's plugins of today."""
    network: Network
    addr: str
    """A path, or host:port."""
    pid: int

    def encode(self) -> str:
        """The JSON in which Nomad keeps it, e.g. in driver handles."""
        return json.dumps({key.capitalize(): value for key, value in asdict(self).items()})

    @classmethod
    def decode(cls, text: str | bytes) -> ReattachConfig:
        """Read what `encode` or Nomad wrote; keys in any case, unknown ones ignored.

        Raises:
            ReattachError: it is no such record.
        """
        try:
            record: Any = json.loads(text)
            match {str(key).lower(): value for key, value in record.items()}:
                case {
                    "protocol": str() as protocol,
                    "network": "unix" | "tcp" as network,
                    "addr": str() as addr,
                    "pid": int() as pid,
                } if addr and pid > 0 and pid is not True:
                    return cls(protocol=protocol, network=network, addr=addr, pid=pid)
                case _:
                    pass
        except (ValueError, AttributeError, RecursionError):
            pass
        raise ReattachError(f"no reattach configuration: {text!r:.200}")


def open_listener_process(config: ReattachConfig) -> int:
    """A pidfd of the plugin process, proven to be the one that listens.

    Raises:
        ReattachError: nobody listens there, or another process than the configuration says.
    """
    if config.network != "unix":
        raise ReattachError(f"who listens at {config.addr} cannot be proven, only on unix sockets")
    try:
        pidfd = os.pidfd_open(config.pid)
    except OSError as error:
        raise ReattachError(f"no process {config.pid}: {error.strerror}") from error
    try:
        # After the pidfd: a process that listens now and has this pid is the one the pidfd means.
        listener = _listener_pid(config.addr)
        if listener != config.pid:
            raise ReattachError(f"process {listener}, not {config.pid}, listens at {config.addr}")
    except ReattachError:
        os.close(pidfd)
        raise
    return pidfd


def _listener_pid(path: str) -> int:
    """Who called listen(2) on the socket at `path`. Does not wait: connecting takes no accept."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except OSError as error:
            raise ReattachError(f"nobody listens at {path}: {error.strerror}") from error
        credentials = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    pid, _uid, _gid = _UCRED.unpack(credentials)
    return pid
