"""A driver with a fault that its author would not notice: the node never shows it."""

from collections.abc import AsyncGenerator

import trio

from trio_driver import Driver, Exited, Fingerprint, Health, PluginConfig, Struct, Task, TaskExit


class NoConfig(Struct, frozen=True, kw_only=True):
    """No options."""


class Silent(Driver[PluginConfig, NoConfig]):
    """Looks for something before it says anything, and does not find it."""

    name = "silent"

    async def fingerprint(self) -> AsyncGenerator[Fingerprint]:
        await trio.sleep_forever()
        yield Fingerprint(health=Health.HEALTHY, description="never told")

    async def run(self, task: Task[NoConfig]) -> TaskExit:
        return Exited(0)
