"""What tasks of the tests do: shell scripts that say `ready` on stdout when they have done it."""

import sys

from trio_driver.linux import cgroup

SLEEP = "echo ready; exec sleep 1000"
"""One process."""

FAMILY = """
sleep 1000 &
setsid sleep 1000 &
(setsid sleep 1000 &)
(setsid sh -c '(sleep 1000 & sleep 1000) & exec sleep 1000' &)
echo ready
exec sleep 1000
"""
"""A child, one in a session of its own, a double fork, and a tree below one; see `FAMILY_SIZE`."""

FAMILY_SIZE = 7

REFORKING = f"""
exec {sys.executable} -c '
import os, time
for _ in range(8):
    if os.fork() == 0:
        os.setsid()
        while True:
            if os.fork():
                os._exit(0)
            time.sleep(0.001)
os.write(1, b"ready")
time.sleep(1000)
'
"""
"""Eight chains of processes, each in a session of its own, of which no one lives longer than some milliseconds."""

DEAF = "trap '' INT TERM HUP; echo ready; while :; do sleep 1000; done"
"""Ignores every polite signal."""


def leaving_children(code: int, *, escape: bool = False) -> str:
    """The main process exits with `code`; children in other sessions remain, out of the cgroup if
    `escape`."""
    mounts = cgroup.find_mounts()
    roots = [path for path in (mounts.unified, *mounts.v1.values()) if path is not None]
    out = "".join(f"echo 0 > {root}/cgroup.procs; " for root in roots) if escape else ""
    return f"""
setsid sh -c '{out}echo one; exec sleep 1000' &
(setsid sh -c '{out}echo two; (sleep 1000 & exec sleep 1000)' &)
read go < "$GO"
exit {code}
"""


HIDDEN = """
(setsid sleep 1000 > /dev/null 2>&1 < /dev/null &)
(setsid sh -c '(sleep 1000 & exec sleep 1000)' > /dev/null 2>&1 < /dev/null &)
"""
"""Four processes in two sessions of their own, whose parents are gone, and which hold no stream; see `HIDDEN_SIZE`."""

HIDDEN_SIZE = 4
