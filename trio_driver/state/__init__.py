"""What survives us on disk: one directory a run, one lock file a task, and how to end a run from it
alone."""

from trio_driver.state.directory import (
    Run,
    RunState,
    StateDirectory,
    fence_name,
)
from trio_driver.state.fence import (
    Fence,
    fence_owner,
    kill_fence_owner,
    open_free_fence,
    remove_free_fence,
)
from trio_driver.state.opening import (
    StateDirectoryError,
    default_path,
    find_state_directory,
    open_state_directory,
)
from trio_driver.state.reaper import (
    KILL_LIMIT_S,
    LOST_REASON,
    Remains,
    StuckError,
    destroy_run,
    end_run,
    kill_containment,
    kill_run,
    read_executor_or_none,
    remove_free_fences,
    settle_run,
)
from trio_driver.state.records import (
    CommitRecord,
    ContainmentRecord,
    EventRecord,
    ExecutorRecord,
    ExitRecord,
    RecordError,
    Tier,
    scope_name,
)

__all__ = [
    "KILL_LIMIT_S",
    "LOST_REASON",
    "CommitRecord",
    "ContainmentRecord",
    "EventRecord",
    "ExecutorRecord",
    "ExitRecord",
    "Fence",
    "RecordError",
    "Remains",
    "Run",
    "RunState",
    "StateDirectory",
    "StateDirectoryError",
    "StuckError",
    "Tier",
    "default_path",
    "destroy_run",
    "end_run",
    "fence_name",
    "fence_owner",
    "find_state_directory",
    "kill_containment",
    "kill_fence_owner",
    "kill_run",
    "open_free_fence",
    "open_state_directory",
    "read_executor_or_none",
    "remove_free_fence",
    "remove_free_fences",
    "scope_name",
    "settle_run",
]
