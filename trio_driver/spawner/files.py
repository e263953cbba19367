"""The files of spawners in a state directory, and the removal of those that a killed one left.

    spawner-<build>.lock      held by the spawner of that build for as long as it lives
    spawner-<build>.socket    plugins ask there
    spawner-<build>.log       its stdout and stderr, made by the plugin that starts it
    spawner-<build>.stage/    where it rehearses, before it listens

Rules:
- What is removed is removed under the lock: a spawner that starts meanwhile finds it held, and the
  plugin that started it tries again.
- A log without a lock may be that of a spawner on its way to the lock, or of one that did not get
  there and is read by somebody; it is stale when it is old.
"""

import shutil
import time
from contextlib import suppress
from pathlib import Path

from trio_driver.linux import ForeignLockError
from trio_driver.state import StateDirectory, fence_owner, try_hold_fence

YOUNG_S = 600.0
"""A spawner takes a second to its lock; who was told to look into a log has looked by then."""

SUFFIXES = (".lock", ".socket", ".log")


def socket_path_of(state: StateDirectory, build: str) -> Path:
    return state.path / f"spawner-{build}.socket"


def lock_path_of(state: StateDirectory, build: str) -> Path:
    return state.path / f"spawner-{build}.lock"


def log_path_of(state: StateDirectory, build: str) -> Path:
    return state.path / f"spawner-{build}.log"


def stage_path_of(state: StateDirectory, build: str) -> Path:
    return state.path / f"spawner-{build}.stage"


def files_of(state: StateDirectory, build: str) -> list[Path]:
    """The files of the build's spawner that there are."""
    paths = (lock_path_of, socket_path_of, log_path_of)
    return [path for of in paths if (path := of(state, build)).exists()]


def stale_builds(state: StateDirectory) -> list[str]:
    """Builds whose spawner has left files and is dead."""
    found = (path for suffix in SUFFIXES for path in state.path.glob(f"spawner-*{suffix}"))
    builds = {path.stem.removeprefix("spawner-") for path in found}
    return sorted(build for build in builds if _is_stale(state, build))


def remove_files(state: StateDirectory, build: str) -> bool:
    """Remove what a dead spawner of `build` left; False when it lives."""
    with suppress(FileNotFoundError), try_hold_fence(lock_path_of(state, build)) as is_held:
        if is_held:
            # The lock last: until then nobody else has the name.
            shutil.rmtree(stage_path_of(state, build), ignore_errors=True)
            for path in (socket_path_of, log_path_of, lock_path_of):
                path(state, build).unlink(missing_ok=True)
            return True
    return False


def remove_stale_files(state: StateDirectory) -> None:
    """Remove what killed spawners left, of whatever build."""
    for build in stale_builds(state):
        remove_files(state, build)


def _is_stale(state: StateDirectory, build: str) -> bool:
    if lock_path_of(state, build).exists():
        try:
            return fence_owner(lock_path_of(state, build)) is None
        except ForeignLockError:  # a spawner outside our pid namespace
            return False
    ages_s: list[float] = []
    for path in files_of(state, build):
        with suppress(FileNotFoundError):
            ages_s.append(time.time() - path.stat().st_mtime)
    return bool(ages_s) and min(ages_s) > YOUNG_S
