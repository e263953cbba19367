"""Our own types: frozen values, no input or output.

Owns what a task is, how one ends, and what may go wrong with one, in Nomad's words. `convert` is
the only place that translates between these types and the wire.
"""

from trio_driver.model.convert import (
    exit_result,
    resources_of,
    task_spec,
    timestamp_of,
    wait_task_response,
)
from trio_driver.model.denied import DeniedIds, allowed_env
from trio_driver.model.driver import Capabilities, Fingerprint, Health
from trio_driver.model.errors import (
    ConfigInvalidError,
    DriverError,
    ExecutorLostError,
    FenceHeldError,
    LaunchError,
    NotRunningError,
    TaskNotFoundError,
)
from trio_driver.model.exit import Exited, Lost, Signaled, TaskExit, describe_exit, shell_status
from trio_driver.model.options import TaskOptions
from trio_driver.model.task import Compute, Resources, TaskEvent, TaskSpec
from trio_driver.model.told import (
    Line,
    adopted_line,
    driver_loss_line,
    ended_line,
    executor_lost_line,
    killed_line,
    not_applied_line,
    orphan_line,
    other_signal_line,
    out_of_memory_line,
    rung_line,
    started_line,
    stopping_line,
    stuck_line,
)
from trio_driver.model.ulimits import ULIMIT_NAMES, parse_ulimits

__all__ = [
    "ULIMIT_NAMES",
    "Capabilities",
    "Compute",
    "ConfigInvalidError",
    "DeniedIds",
    "DriverError",
    "ExecutorLostError",
    "Exited",
    "FenceHeldError",
    "Fingerprint",
    "Health",
    "LaunchError",
    "Line",
    "Lost",
    "NotRunningError",
    "Resources",
    "Signaled",
    "TaskEvent",
    "TaskExit",
    "TaskNotFoundError",
    "TaskOptions",
    "TaskSpec",
    "adopted_line",
    "allowed_env",
    "describe_exit",
    "driver_loss_line",
    "ended_line",
    "executor_lost_line",
    "exit_result",
    "killed_line",
    "not_applied_line",
    "orphan_line",
    "other_signal_line",
    "out_of_memory_line",
    "parse_ulimits",
    "resources_of",
    "rung_line",
    "shell_status",
    "started_line",
    "stopping_line",
    "stuck_line",
    "task_spec",
    "timestamp_of",
    "wait_task_response",
]
