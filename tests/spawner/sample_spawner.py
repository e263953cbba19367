"""A spawner whose executors do what the task's name says, and tell over their control socket.

Arguments: state directory, build, the descriptor to tell that it is ready on.
"""

import json
import os
import signal
import socket
import sys
from pathlib import Path

from trio_driver.linux import ProcessId, identify, set_name
from trio_driver.spawner import SpawnRequest, run_spawner
from trio_driver.state import (
    CommitRecord,
    ExecutorRecord,
    Fence,
    StateDirectory,
    open_state_directory,
)


def run_executor(
    state: StateDirectory, request: SpawnRequest, plugin: ProcessId, control_fd: int
) -> None:
    set_name("trio-executor")
    control = socket.socket(fileno=control_fd)
    run = state.run_of(
        task_id=request.task_id, alloc_id=request.alloc_id, task_name=request.task_name
    )
    assert Fence.try_take(state.lock_path(run.fence)) is not None
    run.create()
    process = identify(os.getpid())
    assert process is not None
    run.write_executor(
        ExecutorRecord(
            task_id=request.task_id,
            alloc_id=request.alloc_id,
            task_name=request.task_name,
            alloc_root=request.alloc_root,
            driver=request.driver,
            pid=process.pid,
            start_ticks=process.start_ticks,
            boot_id=process.boot_id,
            plugin_pid=plugin.pid,
            plugin_start_ticks=plugin.start_ticks,
            created_at_s=0.0,
        )
    )
    if request.task_name == "committed":
        run.commit(CommitRecord(0, 1.0))
    if request.task_name == "raises":
        raise RuntimeError("an executor's bug")
    if request.task_name == "leaves-a-stray" and os.fork() == 0:
        signal.pause()
    control.send(json.dumps(facts(plugin)).encode())
    if request.task_name == "deaf":
        signal.pause()
    control.recv(1)  # until told, or the plugin has gone


def facts(plugin: ProcessId) -> dict[str, object]:
    """What this fork has of its parent."""
    fds = [int(name) for name in os.listdir("/proc/self/fd")]
    return {
        "fds": sorted(fd for fd in fds if os.path.lexists(f"/proc/self/fd/{fd}")),
        "session": os.getsid(0) == os.getpid(),
        "mask": [int(signum) for signum in signal.pthread_sigmask(signal.SIG_BLOCK, ())],
        "sigchld": repr(signal.getsignal(signal.SIGCHLD)),
        "plugin_pid": plugin.pid,
    }


if __name__ == "__main__":
    directory, build, ready_fd = sys.argv[1:]
    run_spawner(
        open_state_directory(Path(directory)),
        build,
        run_executor,
        lambda _directory: None,
        ready_fd=int(ready_fd),
    )
