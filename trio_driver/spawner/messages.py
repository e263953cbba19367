"""What plugin and spawner say to each other: pure values, one datagram each.

The socket is SOCK_SEQPACKET, so that a message is a datagram and carries its descriptors with it. A
request brings the executor's end of its control connection, the reply a pidfd of the executor that
the kernel made for this fork.

Rules:
- A message that cannot be read is a `MessageError`: it ends the connection it came on and nothing
  else.
"""

import os
import resource
from typing import TypeVar

import msgspec

from trio_driver.linux import ProcessId

MAX_MESSAGE_BYTES = 64 * 1024
"""Above the longest request, whose parts are names, a PATH and limits; below the socket's default
send buffer."""

RLIMITS = (
    "RLIMIT_AS",
    "RLIMIT_CORE",
    "RLIMIT_CPU",
    "RLIMIT_DATA",
    "RLIMIT_FSIZE",
    "RLIMIT_MEMLOCK",
    "RLIMIT_MSGQUEUE",
    "RLIMIT_NICE",
    "RLIMIT_NOFILE",
    "RLIMIT_NPROC",
    "RLIMIT_RTPRIO",
    "RLIMIT_SIGPENDING",
    "RLIMIT_STACK",
)
"""What an agent can be given by its service unit and a task inherits in other drivers."""


class MessageError(Exception):
    """A datagram is not a message of this protocol."""


class ProcessLimits(msgspec.Struct, frozen=True):
    """What a workload inherits from the agent through the plugin, and not from a spawner that
    outlived it."""

    path: str
    umask: int
    rlimits: dict[str, tuple[int, int]]

    @classmethod
    def of_this_process(cls) -> "ProcessLimits":
        """Read them here and now."""
        umask = os.umask(0o077)
        os.umask(umask)
        rlimits = {name: resource.getrlimit(getattr(resource, name)) for name in RLIMITS}
        return cls(path=os.environ.get("PATH", os.defpath), umask=umask, rlimits=rlimits)


class SpawnRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Fork an executor for this run."""

    task_id: str
    alloc_id: str
    task_name: str
    alloc_root: str
    driver: str
    limits: ProcessLimits


class SpawnReply(msgspec.Struct, frozen=True):
    """Who the executor is, or why there is none."""

    pid: int = 0
    start_ticks: int = 0
    boot_id: str = ""
    error: str = ""

    @property
    def process(self) -> ProcessId:
        return ProcessId(self.pid, self.start_ticks, self.boot_id)


MessageT = TypeVar("MessageT", SpawnRequest, SpawnReply)


def encode(message: SpawnRequest | SpawnReply) -> bytes:
    """Raises MessageError if the message is too long for a datagram."""
    data = msgspec.json.encode(message)
    if len(data) > MAX_MESSAGE_BYTES:
        raise MessageError(
            f"message of {len(data)} bytes; at most {MAX_MESSAGE_BYTES} fit: shorten PATH or the task's names"
        )
    return data


def decode(message_type: type[MessageT], data: bytes) -> MessageT:
    """Raises MessageError if `data` is anything else."""
    try:
        return msgspec.json.decode(data, type=message_type)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MessageError(f"not a {message_type.__name__}: {error}") from error
