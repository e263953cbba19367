"""The one living instance of a driver, replaced when its process dies, as an agent does.

Must not know: tasks.
"""

import enum
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import trio
from trio_util import AsyncValue, wait_any

from trio_driver.cli.driver import Driver, Launch, open_driver
from trio_driver.cli.errors import RunError
from trio_driver.cli.report import Tone

MAX_CRASHES = 5
"""A plugin that has died this often in one run will not get better. An agent never gives up."""


class _Absent(enum.Enum):
    """Why there is no driver."""

    STARTING = "starting"
    OVER = "over"


class Supply:
    """Where those who need the driver get it."""

    def __init__(self, launch: Launch) -> None:
        self._launch = launch
        self._current = AsyncValue[Driver | _Absent](_Absent.STARTING)
        self._done = trio.Event()

    async def driver(self, *, other_than: Driver | None = None) -> Driver:
        """The living instance; waits while there is none.

        Args:
            other_than: an instance that is known to be dead.

        Raises:
            RunError: there will be none any more.
        """

        def is_answer(value: Driver | _Absent) -> bool:
            return value is not _Absent.STARTING and value is not other_than

        match await self._current.wait_value(is_answer):
            case Driver() as driver:
                return driver
            case _:
                raise RunError("plugin: is gone")

    async def keep(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run the plugin until `end`, again when it dies; started once it takes tasks.

        Raises:
            RunError: it cannot be started, or has died `MAX_CRASHES` times.
        """
        try:
            for crashes in range(MAX_CRASHES):
                if crashes:
                    self._launch.report.say("plugin", "died; starts again", tone=Tone.WARN)
                async with open_driver(self._launch) as driver:
                    self._current.value = driver
                    if not crashes:
                        task_status.started()
                    await wait_any(driver.wait_lost, self._done.wait)
                    self._current.value = _Absent.STARTING
                if self._done.is_set():
                    return
            raise RunError(f"plugin: died {MAX_CRASHES} times")
        finally:
            self._current.value = _Absent.OVER

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
