"""A Nomad task driver on Trio, and the kit to write others: a driver is one class with one async
function.

    class Hello(Driver[PluginConfig, HelloConfig]):
        name = "hello"

        async def run(self, task: Task[HelloConfig]) -> TaskExit:
            async with task.open_workload("/bin/echo", task.config.greeting) as workload:
                return await workload.wait()

    if __name__ == "__main__":
        trio_driver.main(Hello)

The names below are the author's surface; README.md says how to install a driver, NOTES.md how it
works.

Importing this package has one effect, and only in a process that a Nomad agent started as a plugin:
what the process prints from then on goes to the agent's log. An agent takes the first line on
stdout for the handshake (H2), so that a `print` at the top of a driver's file would end the plugin
otherwise.
"""

import importlib
import os
import sys
from typing import TYPE_CHECKING

if len(sys.argv) == 1 and "NOMAD_PLUGIN_MAGIC_COOKIE" in os.environ:
    from trio_driver.goplugin import prepare_if_plugin

    prepare_if_plugin()

if TYPE_CHECKING:
    from trio_driver.executor import Workload
    from trio_driver.hcl import Struct
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
        TaskOptions,
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
    "TaskOptions",
    "TaskSpec",
    "Workload",
    "main",
]

_HOMES = {
    "Driver": "sdk",
    "PluginConfig": "sdk",
    "Struct": "hcl",
    "Task": "sdk",
    "Workload": "executor",
    "main": "sdk",
}
"""Where the names live that `model` does not hold. They are imported when they are asked for: each
package is usable alone."""


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = importlib.import_module(f"{__name__}.{_HOMES.get(name, 'model')}")
    value: object = getattr(home, name)
    globals()[name] = value
    return value
