"""A Nomad task driver on Trio, and the kit to write others: a driver is one class with one async function.

    class Hello(Driver[PluginConfig, HelloConfig]):
        name = "hello"

        async def run(self, task: Task[HelloConfig]) -> TaskExit:
            async with task.open_workload("/bin/echo", task.config.greeting) as workload:
                return await workload.wait()

    if __name__ == "__main__":
        trio_driver.main(Hello)

The names below are the author's surface; README.md says how to install a driver, NOTES.md how it works.
"""

from msgspec import Struct

from trio_driver.executor import Workload
from trio_driver.model import (
    Capabilities,
    ConfigInvalidError,
    DriverError,
    Exited,
    Fingerprint,
    Health,
    LaunchError,
    Lost,
    Signaled,
    TaskExit,
    TaskSpec,
)
from trio_driver.sdk import Driver, PluginConfig, Task, main

__all__ = [
    "Capabilities",
    "ConfigInvalidError",
    "Driver",
    "DriverError",
    "Exited",
    "Fingerprint",
    "Health",
    "LaunchError",
    "Lost",
    "PluginConfig",
    "Signaled",
    "Struct",
    "Task",
    "TaskExit",
    "TaskSpec",
    "Workload",
    "main",
]
