"""An agent that can be killed: starts the sample plugin, says where it is, and lives on."""

from __future__ import annotations

import sys

import trio

from trio_driver.goplugin import open_plugin


async def main() -> None:
    """Arguments: the plugin's command."""
    async with open_plugin(sys.argv[1:]) as client:
        print(client.reattach_config.encode(), flush=True)
        await trio.sleep_forever()


trio.run(main)
