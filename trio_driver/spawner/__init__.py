"""The fork server: one small process that forks executors on request and ends what they leave
behind."""

from trio_driver.spawner.build import build_id
from trio_driver.spawner.client import SpawnedExecutor, Spawner, SpawnError
from trio_driver.spawner.files import files_of, remove_files, remove_stale_files, stale_builds
from trio_driver.spawner.home import enter_home, leave_home
from trio_driver.spawner.messages import ProcessLimits, SpawnRequest
from trio_driver.spawner.zygote import RunExecutor, run_spawner

__all__ = [
    "ProcessLimits",
    "RunExecutor",
    "SpawnError",
    "SpawnRequest",
    "SpawnedExecutor",
    "Spawner",
    "build_id",
    "enter_home",
    "files_of",
    "leave_home",
    "remove_files",
    "remove_stale_files",
    "run_spawner",
    "stale_builds",
]
