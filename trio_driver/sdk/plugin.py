"""What a plugin process has beside its services: opened by the first call that needs it, ended with
the process.

Rules:
- Opening does nothing that waits and starts no process: Init and RecoverTask hold up an agent's
  start (H18).
"""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

import trio

from trio_driver.model import ConfigInvalidError
from trio_driver.sdk.base_service import BaseService, Configured
from trio_driver.sdk.events import TaskEvents
from trio_driver.sdk.levels import set_log_level
from trio_driver.sdk.orphans import OrphanWatch
from trio_driver.sdk.start import TaskStarter
from trio_driver.sdk.stats import TaskStatistics
from trio_driver.sdk.tasks import Tasks
from trio_driver.spawner import Spawner
from trio_driver.state import (
    StateDirectory,
    StateDirectoryError,
    default_path,
    open_state_directory,
)


class OpenedPlugin:
    """The parts that belong to one state directory."""

    def __init__(
        self,
        configured: Configured,
        state: StateDirectory,
        nursery: trio.Nursery,
        events: TaskEvents,
        *,
        spawner_command: Sequence[str],
        build: str,
    ) -> None:
        self.state = state
        self.tasks = Tasks(state, nursery, events)
        self.statistics = TaskStatistics(configured.compute)
        self.spawner = spawner = Spawner(state, spawner_command, build, nursery)
        nursery.start_soon(spawner.keep, self.tasks.live)
        nursery.start_soon(self.tasks.follow_events)
        self.starter = TaskStarter(
            configured,
            state=state,
            spawner=spawner,
            tasks=self.tasks,
        )
        grace_s = configured.driver.config.orphan_grace
        self.orphans = OrphanWatch(state, self.tasks, grace_s=grace_s)
        nursery.start_soon(self.orphans.run)


class Plugin:
    """See the module."""

    def __init__(
        self,
        base: BaseService,
        nursery: trio.Nursery,
        *,
        spawner_command: Sequence[str],
        build: str,
    ) -> None:
        self.events = TaskEvents()
        self._base = base
        self._nursery = nursery
        self._spawner_command = spawner_command
        self._build = build
        self._opened: OpenedPlugin | None = None

    @property
    def configured(self) -> Configured:
        """What SetConfig brought."""
        return self._base.configured

    def open(self) -> OpenedPlugin:
        """Open what tasks need, once. Does not wait.

        Raises:
            ConfigInvalidError: the state directory cannot be used; the text says what to change.
        """
        if self._opened is None:
            config = self.configured.driver.config
            set_log_level(config.log_level)
            path = config.state_dir
            try:
                state = open_state_directory(Path(path) if path else default_path())
            except StateDirectoryError as error:
                raise ConfigInvalidError(str(error)) from error
            self._opened = OpenedPlugin(
                self.configured,
                state,
                self._nursery,
                self.events,
                spawner_command=[*self._spawner_command, config.log_level],
                build=self._build,
            )
        return self._opened

    async def close(self) -> None:
        """The plugin ends. Its tasks do not; if there are none, the spawner ends with it."""
        if self._opened is not None and self._opened.tasks.live.value == 0:
            await self._opened.spawner.part()

    @contextmanager
    def listening(self) -> Generator[None]:
        """An agent is connected for the length of the block."""
        opened = self.open()
        orphans = opened.orphans
        orphans.listeners += 1
        try:
            with opened.tasks.agent_connected():
                yield
        finally:
            orphans.listeners -= 1
