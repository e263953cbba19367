"""The process that owns one task: what runs in it, and how a plugin opens and asks it."""

from trio_driver.executor.client import (
    OpenExecutor,
    ask_executor,
    attach_to_executor,
    follow_stats,
    open_executor,
)
from trio_driver.executor.containment import host_tier
from trio_driver.executor.credentials import credentials_of
from trio_driver.executor.exec_client import ExecSession, ExecSpec, open_exec
from trio_driver.executor.ladder import parse_ladder
from trio_driver.executor.main import run_executor
from trio_driver.executor.rehearsal import rehearse
from trio_driver.executor.task_run import TaskBody, TaskRun
from trio_driver.executor.trial import Trial, try_task
from trio_driver.executor.usage import Look, ProcessLook, build_stats, look_at_processes
from trio_driver.executor.workload import Workload

__all__ = [
    "ExecSession",
    "ExecSpec",
    "Look",
    "OpenExecutor",
    "ProcessLook",
    "TaskBody",
    "TaskRun",
    "Trial",
    "Workload",
    "ask_executor",
    "attach_to_executor",
    "build_stats",
    "credentials_of",
    "follow_stats",
    "host_tier",
    "look_at_processes",
    "open_exec",
    "open_executor",
    "parse_ladder",
    "rehearse",
    "run_executor",
    "try_task",
]
