"""The driver `trio`: runs a command on the host, as raw_exec does, and leaves nothing of it."""

from typing import Annotated

import msgspec

from trio_driver import hcl
from trio_driver.model import ConfigInvalidError, TaskExit
from trio_driver.sdk import Driver, PluginConfig, Task


class TrioTaskConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The `config` block of a task."""

    command: Annotated[
        str,
        hcl.doc("Program to run: a path, or a name in the task's directory or the agent's PATH."),
    ]
    args: Annotated[list[str], hcl.doc("Arguments of the program.")] = []
    work_dir: Annotated[
        str,
        hcl.doc(
            "Directory to run in, an absolute path on the host; the task's directory by default."
        ),
    ] = ""


class TrioDriver(Driver[PluginConfig, TrioTaskConfig]):
    """Runs one command as the task."""

    name = "trio"

    async def run(self, task: Task[TrioTaskConfig]) -> TaskExit:
        config = task.config
        async with task.open_workload(
            config.command, *config.args, work_dir=config.work_dir
        ) as workload:
            return await workload.wait()

    def validate(self, config: TrioTaskConfig) -> None:
        if not config.command:
            raise ConfigInvalidError('command "" is not accepted: name a program')
        if config.work_dir and not config.work_dir.startswith("/"):
            raise ConfigInvalidError(
                f'work_dir must be an absolute path, "{config.work_dir}" is relative'
            )
