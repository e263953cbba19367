"""A task as Nomad describes it, and what is told of it while it runs."""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Compute:
    """The CPU capacity of the node; zeros when the agent did not tell (nomad-protocol §2.4)."""

    total_mhz: int = 0
    cores: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """The limits of one task.

    `cpu_share` is the part of the node's compute that the job has, 0 when nothing was said.
    `memory_hard_bytes` is None for "no hard limit" (memory_max = -1), 0 for "nothing was said";
    `memory_soft_bytes` is 0 unless the job sets memory_max (nomad-protocol §4.3).
    """

    cpu_shares_mhz: int = 0
    cpu_share: float = 0.0
    memory_hard_bytes: int | None = 0
    memory_soft_bytes: int = 0
    cpuset_cpus: str = ""
    cpuset_cgroup: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSpec:
    """One run of one task, as StartTask brought it."""

    id: str
    alloc_id: str
    name: str
    alloc_dir: str
    user: str
    stdout_path: str
    stderr_path: str
    env: Mapping[str, str]
    resources: Resources
    msgpack_driver_config: bytes
    network_path: str = ""
    """The group's network namespace; empty for the host's network."""

    @property
    def task_dir(self) -> str:
        """The task's own directory on the host; the task may write everything below it."""
        return os.path.join(self.alloc_dir, self.name)

    @property
    def alloc_root(self) -> str:
        """The parent of all allocation directories of the agent: tells whose task this is."""
        return os.path.dirname(self.alloc_dir.rstrip("/"))


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskEvent:
    """A line for `nomad alloc status`."""

    task_id: str
    alloc_id: str
    task_name: str
    message: str
    annotations: Mapping[str, str] = field(default_factory=dict[str, str])
    timestamp_s: float = field(default_factory=time.time)
