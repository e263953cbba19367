"""The process that owns one task: what runs in it, and how a plugin opens and asks it."""

from trio_driver.executor.client import (
    REQUEST_LIMIT_S,
    OpenExecutor,
    open_executor,
    open_executor_stub,
)
from trio_driver.executor.containment import host_tier
from trio_driver.executor.edge import (
    driver_errors_as_status,
    executor_answers,
    rpc_error_of,
)
from trio_driver.executor.main import run_executor
from trio_driver.executor.rehearsal import rehearse
from trio_driver.executor.stats import ProcessSampler
from trio_driver.executor.task_run import TaskBody, TaskRun
from trio_driver.executor.workload import Workload

__all__ = [
    "REQUEST_LIMIT_S",
    "OpenExecutor",
    "ProcessSampler",
    "TaskBody",
    "TaskRun",
    "Workload",
    "driver_errors_as_status",
    "executor_answers",
    "host_tier",
    "open_executor",
    "open_executor_stub",
    "rehearse",
    "rpc_error_of",
    "run_executor",
]
