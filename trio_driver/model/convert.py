"""The one table between our types and the wire; every field of a conversion stands here and nowhere
else."""

from google.protobuf.timestamp_pb2 import Timestamp

from trio_driver._proto import driver_pb2
from trio_driver.model.exit import Lost, Signaled, TaskExit, shell_status
from trio_driver.model.task import Resources, TaskSpec

MIB = 1 << 20


def resources_of(message: driver_pb2.Resources) -> Resources:
    """Nomad's resources as limits; absent parts stay "nothing was said" (nomad-protocol.md
    §4.3)."""
    memory = message.allocated_resources.memory
    linux = message.linux_resources
    hard: int | None = memory.memory_mb * MIB
    soft = 0
    if memory.memory_max_mb > 0:
        hard, soft = memory.memory_max_mb * MIB, memory.memory_mb * MIB
    elif memory.memory_max_mb < 0:
        hard, soft = None, memory.memory_mb * MIB
    if hard == 0:
        hard = linux.memory_limit_bytes
    return Resources(
        cpu_shares_mhz=linux.cpu_shares or message.allocated_resources.cpu.cpu_shares,
        cpu_share=linux.PercentTicks,
        memory_hard_bytes=hard,
        memory_soft_bytes=soft,
        cpuset_cpus=linux.cpuset_cpus,
        cpuset_cgroup=linux.cpuset_cgroup,
    )


def task_spec(message: driver_pb2.TaskConfig) -> TaskSpec:
    """The run that a TaskConfig describes."""
    return TaskSpec(
        id=message.id,
        alloc_id=message.alloc_id,
        name=message.name,
        alloc_dir=message.alloc_dir,
        user=message.user,
        stdout_path=message.stdout_path,
        stderr_path=message.stderr_path,
        env=dict(message.env),
        resources=resources_of(message.resources),
        msgpack_driver_config=message.msgpack_driver_config,
        network_path=message.network_isolation_spec.path,
    )


def exit_result(task_exit: TaskExit, *, oom_killed: bool) -> driver_pb2.ExitResult:
    """The integers that Nomad expects (nomad-protocol §4.7)."""
    return driver_pb2.ExitResult(
        exit_code=shell_status(task_exit),
        signal=task_exit.signum if isinstance(task_exit, Signaled) else 0,
        oom_killed=oom_killed,
    )


def wait_task_response(task_exit: TaskExit, *, oom_killed: bool) -> driver_pb2.WaitTaskResponse:
    """Answer WaitTask: a lost task carries its reason as `err`, so that it never counts as
    success."""
    return driver_pb2.WaitTaskResponse(
        result=exit_result(task_exit, oom_killed=oom_killed),
        err=task_exit.reason if isinstance(task_exit, Lost) else "",
    )


def timestamp_of(unix_s: float) -> Timestamp:
    """Seconds since the epoch as a protobuf timestamp."""
    seconds, fraction = divmod(unix_s, 1)
    return Timestamp(seconds=int(seconds), nanos=int(fraction * 1e9))
