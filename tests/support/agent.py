"""An agent that can be killed: starts a plugin, says where it is, and lives on without doing anything with it."""

import sys

import trio

from trio_driver.goplugin import open_plugin


async def main() -> None:
    """Arguments: the plugin's command."""
    async with open_plugin(sys.argv[1:]) as client:
        print(client.reattach_config.encode(), flush=True)
        await trio.sleep_forever()


if __name__ == "__main__":
    trio.run(main)
