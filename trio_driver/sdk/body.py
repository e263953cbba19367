"""A driver as the executor runs it: decodes the task's configuration, then calls the author's
functions.

Rules:
- It is made in the task's own process, from what StartTask sent; nothing is shared with the plugin.
"""

import contextlib
import dataclasses
import logging

import msgspec

from trio_driver.executor import TaskRun
from trio_driver.model import DeniedIds, TaskExit, TaskOptions
from trio_driver.sdk.driver import AnyDriver, PluginConfig, config_types
from trio_driver.sdk.levels import set_log_level
from trio_driver.sdk.task import Task

LOGGER = logging.getLogger("trio_driver.sdk")


class DriverBody:
    """The driver's part of the task of this process."""

    def __init__(self, driver_class: type[AnyDriver]) -> None:
        self._driver_class = driver_class
        self._plugin_config_type, self._task_config_type = config_types(driver_class)
        self._driver: AnyDriver | None = None
        self._task: Task[msgspec.Struct] | None = None

    def warm_up(self) -> None:
        """Build the decoders of both configurations."""
        for config_type in (self._plugin_config_type, self._task_config_type):
            with contextlib.suppress(msgspec.ValidationError):
                msgspec.msgpack.decode(b"\x80", type=config_type)  # an empty map

    def prepare(self, task_run: TaskRun) -> TaskOptions:
        """What the task asks of the framework; see `Driver.options`."""
        # Both were checked by the plugin, which is of this build, and encoded again.
        plugin_config: PluginConfig = msgspec.msgpack.decode(
            task_run.plugin_config, type=self._plugin_config_type
        )
        task_config = msgspec.msgpack.decode(task_run.task_config, type=self._task_config_type)
        set_log_level(plugin_config.log_level)
        self._driver = self._driver_class(plugin_config)
        self._task = Task(task_config, task_run)
        denied = DeniedIds.parse(plugin_config.denied_host_uids, plugin_config.denied_host_gids)
        return dataclasses.replace(self._driver.options(task_config), denied_ids=denied)

    async def run(self, task_run: TaskRun) -> TaskExit:
        """Be the task; see `Driver.run`."""
        assert self._driver is not None, "it was prepared"
        assert self._task is not None, "it was prepared"
        return await self._driver.run(self._task)

    async def stop(self, task_run: TaskRun, signum: int) -> None:
        """Ask the task to end; one that has not come to its `run` yet is cancelled."""
        if self._driver is None or self._task is None:
            task_run.end("the task was stopped before it ran")
            return
        await self._driver.stop(self._task, signum)

    def signal(self, task_run: TaskRun, signum: int) -> None:
        """Deliver a signal that a user sent; there is nobody to deliver it to before `run`."""
        if self._driver is not None and self._task is not None:
            self._driver.signal(self._task, signum)
