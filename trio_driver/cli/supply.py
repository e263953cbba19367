"""The one living instance of a driver, replaced when its process dies, as an agent does.

Must not know: tasks.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import trio
from trio_util import AsyncValue, wait_any

from trio_driver.cli.driver import Driver, Launch, open_driver
from trio_driver.cli.errors import RunError
from trio_driver.cli.report import Tone

MAX_CRASHES = 5
"""A plugin that has died this often in one run will not get better. An agent never gives up."""


class Supply:
    """Where those who need the driver get it."""

    def __init__(self, launch: Launch) -> None:
        self._launch = launch
        self._current = AsyncValue[Driver | None](None)
        self._done = trio.Event()

    async def driver(self, *, other_than: Driver | None = None) -> Driver:
        """The living instance; waits while there is none.

        Args:
            other_than: an instance that is known to be dead.
        """

        def is_wanted(driver: Driver | None) -> bool:
            return driver is not None and driver is not other_than

        found = await self._current.wait_value(is_wanted)
        assert found is not None
        return found

    async def keep(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run the plugin until `end`, again when it dies; started once it takes tasks.

        Raises:
            RunError: it cannot be started, or has died `MAX_CRASHES` times.
        """
        for crashes in range(MAX_CRASHES):
            async with open_driver(self._launch) as driver:
                self._current.value = driver
                if not crashes:
                    task_status.started()
                await wait_any(driver.wait_lost, self._done.wait)
                self._current.value = None
            if self._done.is_set():
                return
            pid = driver.client.process.pid
            self._launch.report.say("plugin", f"{pid} died; starting another", tone=Tone.WARN)
        raise RunError(f"plugin: died {MAX_CRASHES} times")

    def end(self) -> None:
        """Let `keep` shut the plugin down and return."""
        self._done.set()


@asynccontextmanager
async def open_supply(launch: Launch) -> AsyncGenerator[Supply]:
    """A driver for the length of the block; leaving it shuts the plugin down.

    Raises:
        RunError: the plugin cannot be started. In an ExceptionGroup, like what the block raises.
    """
    supply = Supply(launch)
    async with trio.open_nursery() as nursery:
        await nursery.start(supply.keep)
        yield supply
        supply.end()
