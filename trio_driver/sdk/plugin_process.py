"""The plugin's process, from its start to its end.

Rules:
- Imported in no other process: what it needs (the transport, Nomad's services) no executor does.
"""

import os
import sys
from functools import partial

import trio

from trio_driver.goplugin import PluginProcess, prepare_process_once, serve_plugin
from trio_driver.linux import set_name
from trio_driver.sdk.base_service import BaseService
from trio_driver.sdk.driver import AnyDriver
from trio_driver.sdk.main import PLUGIN_NAME, SPAWNER_ROLE
from trio_driver.sdk.plugin import Plugin
from trio_driver.sdk.service import DriverService
from trio_driver.spawner import build_id


def be_plugin(driver_class: type[AnyDriver]) -> None:
    """Be the plugin of `driver_class`, until an agent ends it or none comes back.

    Raises:
        SystemExit: with status 1 and a hint on stderr when no agent started this process.
    """
    process = prepare_process_once()
    set_name(PLUGIN_NAME)
    trio.run(partial(_serve, driver_class, process))


async def _serve(driver_class: type[AnyDriver], process: PluginProcess) -> None:
    build = build_id()
    async with trio.open_nursery() as nursery:
        base = BaseService(driver_class)
        plugin = Plugin(
            base,
            nursery,
            spawner_command=[sys.executable, os.path.abspath(sys.argv[0]), SPAWNER_ROLE],
            build=build,
        )
        await serve_plugin([base, DriverService(driver_class, plugin)], process=process)
        await plugin.close()
        nursery.cancel_scope.cancel()
