"""What a driver's file does when it is executed: as Nomad's plugin, or as the plugin's spawner.

    trio_driver.main(Shell)

Rules:
- One file, two roles, told by the arguments: none is the plugin, `spawner …` the fork server.
- Everything that an executor needs is imported before the role is looked at, so that both roles are
  one build; what only the plugin needs is not, for each fork would copy it.
"""

import logging
import sys
from functools import partial
from pathlib import Path

from trio_driver.executor import rehearse, run_executor
from trio_driver.linux import ProcessId
from trio_driver.sdk.body import DriverBody
from trio_driver.sdk.driver import AnyDriver
from trio_driver.sdk.levels import set_log_level
from trio_driver.spawner import SpawnRequest, run_spawner
from trio_driver.state import StateDirectory, open_state_directory

SPAWNER_ROLE = "spawner"

PLUGIN_NAME = "trio-plugin"
"""What the process is called in lists of processes, beside trio-spawner and trio-executor."""

LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s [%(process)d] %(message)s"


def main(driver_class: type[AnyDriver]) -> None:
    """Be the plugin or the spawner of `driver_class`, whichever this process was started as; does
    not return.

    Raises:
        SystemExit: always; with status 1 and a hint on stderr when neither an agent nor a plugin
            started this process.
    """
    match sys.argv[1:]:
        case [role, level, state_dir, build, ready_fd] if role == SPAWNER_ROLE:
            logging.basicConfig(level=logging.INFO, format=LOG_FORMAT)
            set_log_level(level)
            _be_spawner(driver_class, Path(state_dir), build, int(ready_fd))
        case _:
            from trio_driver.sdk.plugin_process import be_plugin

            be_plugin(driver_class)
    raise SystemExit(0)


def _be_spawner(driver_class: type[AnyDriver], path: Path, build: str, ready_fd: int) -> None:
    def run(
        state: StateDirectory, request: SpawnRequest, plugin: ProcessId, control_fd: int
    ) -> None:
        run_executor(state, request, plugin, control_fd, DriverBody(driver_class))

    rehearsal = partial(rehearse, DriverBody(driver_class))
    run_spawner(open_state_directory(path), build, run, rehearsal, ready_fd=ready_fd)
