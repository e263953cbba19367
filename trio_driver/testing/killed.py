"""Runs a scenario in this process, and kills the process at a checkpoint of it.

What `Point.run` starts for `Fault.KILL`; the order comes on stdin, pickled by it.
"""

import importlib
import os
import pickle
import signal
import sys
from collections.abc import Awaitable, Callable

import trio

from trio_driver.testing.trap import trapped


async def run_until_killed(
    scenario: Callable[..., Awaitable[object]], args: tuple[object, ...], number: int
) -> None:
    """Run `scenario(*args)`, whose `number`-th checkpoint is the last that this process sees."""

    def kill(_task: trio.lowlevel.Task) -> bool:
        os.kill(os.getpid(), signal.SIGKILL)
        return True

    with trapped(number, kill):
        await scenario(*args)


if __name__ == "__main__":
    importlib.import_module("trio.testing")  # as pytest-trio does: modules of tests rely on it
    trio.run(run_until_killed, *pickle.loads(sys.stdin.buffer.read()))
