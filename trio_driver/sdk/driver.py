"""What a driver's author writes: one class, with one async function that must be there.

    class Shell(Driver[PluginConfig, TaskConfig]):
        name = "shell"

        async def run(self, task: Task[TaskConfig]) -> TaskExit:
            async with task.open_workload(task.config.command, *task.config.args) as workload:
                return await workload.wait()

    if __name__ == "__main__":
        trio_driver.main(Shell)

Rules:
- `run`, `stop` and `signal` run in the task's own executor process, `options` in both, everything
  else in the plugin. The two share no memory: what `run` must know comes with the task and the configuration.
- There is nothing to kill and nothing to recover: a lifetime is a block, and the framework owns the
  process.
"""

from collections.abc import AsyncGenerator
from typing import Annotated, Any, ClassVar, Generic, TypeVar, get_args, get_origin

import msgspec

from trio_driver import hcl
from trio_driver.model import Capabilities, Fingerprint, Health, TaskExit, TaskOptions
from trio_driver.sdk.levels import LogLevel
from trio_driver.sdk.task import Task, TaskConfigT


class PluginConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Options of the `plugin` block that every driver has; a driver with more of them subclasses
    it."""

    enabled: Annotated[bool, hcl.doc("Whether tasks may use the driver.")] = True
    state_dir: Annotated[
        str,
        hcl.doc(
            "Root-only directory for records, locks and sockets, an absolute path; by default "
            "/run/trio-driver. Plugins of several agents may share it."
        ),
    ] = ""
    orphan_grace: Annotated[
        hcl.Duration,
        hcl.doc("How long a running task that no agent asks for is kept before it is destroyed."),
    ] = 600.0
    denied_host_uids: Annotated[
        str,
        hcl.doc(
            "Users that no task may run as, whatever their names: numbers and ranges, such as 0-99,65534."
        ),
    ] = ""
    denied_host_gids: Annotated[
        str, hcl.doc("The same for groups, a task's supplementary ones included.")
    ] = ""
    denied_envvars: Annotated[
        list[str],
        hcl.doc(
            "Environment variables that no task gets: patterns in which * stands for any text."
        ),
    ] = []
    log_level: Annotated[LogLevel, hcl.doc("The least that plugin, spawner and executors log.")] = (
        "info"
    )


PluginConfigT = TypeVar("PluginConfigT", bound=PluginConfig)


class Driver(Generic[PluginConfigT, TaskConfigT]):
    """A Nomad task driver; see the module."""

    name: ClassVar[str]
    """What a job writes in `driver = "…"`: letters, digits, `_` and `-`."""

    version: ClassVar[str] = "0.1.0"
    """Shown by Nomad; of two plugins with one name, it takes the higher version."""

    capabilities: ClassVar[Capabilities] = Capabilities()

    def __init__(self, config: PluginConfigT) -> None:
        self.config = config

    async def run(self, task: Task[TaskConfigT]) -> TaskExit:
        """Be the task, in its own process, and tell how it ended.

        Cancelled when the task must end. What it opens as a block is closed then; it has
        `UNWIND_LIMIT_S` for it. StartTask answers when the first workload runs, or when
        `task.started()` was called.
        """
        raise NotImplementedError(f"{type(self).__name__} must define `async def run(self, task)`")

    def validate(self, config: TaskConfigT) -> None:
        """Refuse a task before anything is made for it.

        Raises:
            ConfigInvalidError: the text goes to the user; it should name the option and what is
                accepted.
        """

    def options(self, config: TaskConfigT) -> TaskOptions:
        """What the framework shall do for a task beside running its commands. By default nothing.

        Called in the plugin, after `validate`, and again in the task's process.

        Raises:
            ConfigInvalidError: as `validate`.
        """
        return TaskOptions()

    async def fingerprint(self) -> AsyncGenerator[Fingerprint]:
        """What the node shows of the driver: yield at once, then on each change. The end means "no
        more changes"."""
        yield Fingerprint(health=Health.HEALTHY, description="Healthy")

    async def stop(self, task: Task[TaskConfigT], signum: int) -> None:
        """Ask the task to end; everything is killed when the grace time is over. By default: signal
        the main process."""
        if task.main is None:
            task.end()
        else:
            task.main.send_signal(signum)

    def signal(self, task: Task[TaskConfigT], signum: int) -> None:
        """Deliver a signal that a user sent. By default: to the main process."""
        if task.main is not None:
            task.main.send_signal(signum)


AnyDriver = Driver[Any, Any]
"""Some driver, where its configuration is only passed on."""


def config_types(
    driver_class: type[AnyDriver],
) -> tuple[type[PluginConfig], type[msgspec.Struct]]:
    """The two configuration classes that a driver class was declared with.

    Raises:
        TypeError: the class does not say, as in `class Shell(Driver)`.
    """
    for base_class in driver_class.__mro__:
        for base in getattr(base_class, "__orig_bases__", ()):
            if get_origin(base) is Driver:
                plugin_config, task_config = get_args(base)
                return plugin_config, task_config
    raise TypeError(
        f"declare it as `class {driver_class.__name__}(Driver[PluginConfig, TaskConfig])`"
    )
