"""A task of a job as the TaskConfig that an agent would send, environment included.

Pure: values in, a message out. What it says is nomad-protocol §4.2, §4.3 and Appendix B.

Must not know: the plugin's connection, the terminal.
"""

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from trio_driver._proto import driver_pb2, hclspec_pb2
from trio_driver.cli.errors import JobError
from trio_driver.cli.job import Group, Job, Resources, Task
from trio_driver.cli.node import Node, host_environment
from trio_driver.cli.templates import render
from trio_driver.cli.values import Plain, UnresolvedError
from trio_driver.hcl import ConfigError, encode

MIB = 1 << 20

_CLEANED = re.compile(r"[^A-Za-z0-9_.]|^[0-9]")
"""What Nomad replaces by `_` in the names of NOMAD_META_ variables."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocation:
    """One run of a group on a node.

    `images` says that the driver brings its own file system: its tasks see fixed paths and no host
    environment (fs_isolation IMAGE).
    """

    id: str
    directory: Path
    job: Job
    group: Group
    node: Node
    environ: Mapping[str, str]
    images: bool = False
    attributes: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def log_dir(self) -> Path:
        """Where the log pipes are."""
        return self.directory / "alloc" / "logs"


def new_task_id(allocation: Allocation, task: Task) -> str:
    """An id for one run of the task: `<alloc id>/<task>/<8 hex>`."""
    return f"{allocation.id}/{task.name}/{uuid.uuid4().hex[:8]}"


def log_path(allocation: Allocation, task: Task, stream: str) -> Path:
    """The pipe for `stream` ("stdout" or "stderr") of the task, or /dev/null."""
    if not task.logs:
        return Path("/dev/null")
    return allocation.log_dir / f".{task.name}.{stream}.fifo"


def build_task_config(
    allocation: Allocation, task: Task, *, spec: hclspec_pb2.Spec
) -> driver_pb2.TaskConfig:
    """The message of StartTask, but for what only a cluster has: ports, volumes, devices.

    Args:
        allocation: where the task runs.
        task: what runs.
        spec: the driver's schema of its configuration.

    Raises:
        JobError: a reference in the job has no value; the schema does not allow the configuration.
    """
    env = build_env(allocation, task)
    variables = {**node_facts(allocation), **env}
    packed = _encode(spec, task.config, variables, path=f"{task.place}, config")
    return driver_pb2.TaskConfig(
        id=new_task_id(allocation, task),
        name=task.name,
        msgpack_driver_config=packed,
        env=env,
        resources=resources_message(task.resources, allocation.node),
        user=task.user.resolved(variables) if task.user else "",
        alloc_dir=str(allocation.directory),
        stdout_path=str(log_path(allocation, task, "stdout")),
        stderr_path=str(log_path(allocation, task, "stderr")),
        task_group_name=allocation.group.name,
        job_name=allocation.job.name,
        alloc_id=allocation.id,
        job_id=allocation.job.id,
        namespace=allocation.job.namespace,
        node_name=allocation.node.name,
        node_id=allocation.node.id,
    )


def _encode(
    spec: hclspec_pb2.Spec, config: Mapping[str, Plain], variables: Mapping[str, str], *, path: str
) -> bytes:
    rendered: dict[str, Plain] = {}
    for name, value in config.items():
        try:
            rendered[name] = render(value, variables)
        except UnresolvedError as error:
            raise JobError(f"{path}.{name}: {error}") from None
    try:
        return encode(spec, rendered, path=path)
    except ConfigError as error:
        raise JobError(str(error)) from None


def resources_message(resources: Resources, node: Node) -> driver_pb2.Resources:
    """The limits in all the places where drivers look (nomad-protocol §4.3).

    `cpuset_cgroup` stays empty: no cgroup was made for the task.
    """
    hard_mib = max(resources.memory_mib, resources.memory_max_mib)
    usable_mhz = node.usable_mhz
    return driver_pb2.Resources(
        allocated_resources=driver_pb2.AllocatedTaskResources(
            cpu=driver_pb2.AllocatedCpuResources(cpu_shares=resources.cpu_mhz),
            memory=driver_pb2.AllocatedMemoryResources(
                memory_mb=resources.memory_mib, memory_max_mb=resources.memory_max_mib
            ),
        ),
        linux_resources=driver_pb2.LinuxResources(
            cpu_shares=resources.cpu_mhz,
            memory_limit_bytes=hard_mib * MIB,
            PercentTicks=resources.cpu_mhz / usable_mhz if usable_mhz else 0.0,
        ),
    )


def build_env(allocation: Allocation, task: Task) -> dict[str, str]:
    """The task's complete environment; a later group of names wins over an earlier one.

    Order: computed, host (only names still free), the job's `env`. Source: nomad-protocol B.1.

    Raises:
        JobError: a reference in `meta` or `env` has no value.
    """
    facts = node_facts(allocation)
    env = {**_directories(allocation, task), **_limits(task), **_identity(allocation, task)}
    for name, setting in {**allocation.group.meta, **task.meta}.items():
        cleaned = _CLEANED.sub("_", name)
        text = setting.resolved({**facts, **env})
        env[f"NOMAD_META_{cleaned}"] = env[f"NOMAD_META_{cleaned.upper()}"] = text
    if not allocation.images:
        env = {**host_environment(allocation.environ), **env}
    variables = {**facts, **env}
    own = {name: setting.resolved(variables) for name, setting in task.env.items()}
    return {**env, **own, **task.fixed_env}


def node_facts(allocation: Allocation) -> dict[str, str]:
    """What names of the job stand for on this node, but for the environment.

    `meta.` is the node's: the job's own is in NOMAD_META_ variables (nomad-protocol §3.4).
    """
    node = allocation.node
    attributes = {**node.attributes(), **allocation.attributes}
    return {
        "node.class": "",
        "node.datacenter": allocation.job.datacenter,
        "node.pool": "default",
        "node.region": allocation.job.region,
        "node.unique.id": node.id,
        "node.unique.name": node.name,
        **{f"attr.{name}": text for name, text in attributes.items()},
        **{f"meta.{name}": text for name, text in node.meta.items()},
    }


def _directories(allocation: Allocation, task: Task) -> dict[str, str]:
    if allocation.images:
        shared, own = Path("/alloc"), Path("/")
    else:
        shared, own = allocation.directory / "alloc", allocation.directory / task.name
    return {
        "NOMAD_ALLOC_DIR": str(shared),
        "NOMAD_SECRETS_DIR": str(own / "secrets"),
        "NOMAD_TASK_DIR": str(own / "local"),
    }


def _limits(task: Task) -> dict[str, str]:
    limits = {
        "NOMAD_CPU_LIMIT": task.resources.cpu_mhz,
        "NOMAD_MEMORY_LIMIT": task.resources.memory_mib,
        "NOMAD_MEMORY_MAX_LIMIT": max(task.resources.memory_max_mib, 0),
    }
    return {name: str(value) for name, value in limits.items() if value}


def _identity(allocation: Allocation, task: Task) -> dict[str, str]:
    job, group = allocation.job, allocation.group
    return {
        "NOMAD_ALLOC_ID": allocation.id,
        "NOMAD_ALLOC_INDEX": "0",
        "NOMAD_ALLOC_NAME": f"{job.id}.{group.name}[0]",
        "NOMAD_DC": job.datacenter,
        "NOMAD_GROUP_NAME": group.name,
        "NOMAD_JOB_ID": job.id,
        "NOMAD_JOB_NAME": job.name,
        "NOMAD_NAMESPACE": job.namespace,
        "NOMAD_REGION": job.region,
        "NOMAD_SHORT_ALLOC_ID": allocation.id[:8],
        "NOMAD_TASK_NAME": task.name,
    }
