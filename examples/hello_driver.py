#!/usr/bin/env python3
"""A driver of its own: greets until it is stopped. Put it into `plugin_dir`, or run it with --plugin."""

import trio_driver
from trio_driver import Driver, PluginConfig, Struct, Task, TaskExit


class HelloPluginConfig(PluginConfig, frozen=True):
    shell: str = "sh"


class HelloConfig(Struct, frozen=True):
    greeting: str = "Hello, World!"


class Hello(Driver[HelloPluginConfig, HelloConfig]):
    name = "hello-world-example"

    async def run(self, task: Task[HelloConfig]) -> TaskExit:
        script = 'while :; do echo "$1"; sleep 1; done'
        async with task.open_workload(
            self.config.shell, "-c", script, "greeter", task.config.greeting
        ) as workload:
            return await workload.wait()


if __name__ == "__main__":
    trio_driver.main(Hello)
