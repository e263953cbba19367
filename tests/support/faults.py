"""Kill points: a process of ours gets a signal just before a system call that the test names.

The plugin file `faulty` watches its own audited events (files, sockets, forks) and, when the armed
one comes, signals itself. Nothing is patched: everything before the point has happened, nothing
after it has.

Armed through a symbolic link beside the plugin's TMPDIR, for the spawner inherits no other word of
ours; its target is the order, so that arming is atomic and reading it is one system call.
"""

import contextlib
import os
import signal
from dataclasses import dataclass
from pathlib import Path

LINK_NAME = "fault"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """`signum` to a process of `role` before its `nth` event of that name with `part` in an
    argument.

    `role` is plugin, spawner, executor or child (a workload between fork and exec); `event` as in
    Python's audit table, `*` for all.
    """

    role: str
    event: str = "*"
    part: str = ""
    nth: int = 1
    signum: int = signal.SIGKILL

    @property
    def order(self) -> str:
        return "|".join((self.role, self.event, self.part, str(self.nth), str(int(self.signum))))


class Faults:
    """The armed fault of one host; at most one at a time, and it fires once."""

    def __init__(self, home: Path) -> None:
        self._link = home / LINK_NAME

    def arm(self, fault: Fault) -> None:
        """From now on; it counts from here."""
        self.disarm()
        os.symlink(fault.order, self._link)

    @property
    def is_armed(self) -> bool:
        """Until it has fired: then the process has the signal."""
        return os.path.lexists(self._link)

    def disarm(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._link)
