"""The one table between our types and the wire carries every field."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_driver._proto import driver_pb2
from trio_driver.model import (
    Exited,
    Lost,
    Resources,
    Signaled,
    TaskExit,
    TaskSpec,
    describe_exit,
    exit_result,
    resources_of,
    shell_status,
    task_spec,
    timestamp_of,
    wait_task_response,
)

MIB = 1 << 20

NOT_CARRIED = {
    "device_env",  # is in env as well
    "mounts",
    "devices",
    "dns",
    "task_group_name",
    "job_name",
    "job_id",
    "namespace",
    "node_name",
    "node_id",
    "parent_job_id",
}
"""Fields of TaskConfig that no driver of ours uses yet, or that the environment tells as well."""

OTHER_NAMES = {"network_path": "network_isolation_spec"}
"""Fields of ours that are a part of one of the wire."""

FULL_CONFIG = driver_pb2.TaskConfig(
    id="alloc/web/12345678",
    name="web",
    msgpack_driver_config=b"\x80",
    env={"A": "B"},
    user="nobody",
    alloc_dir="/data/alloc/alloc",
    stdout_path="/data/out",
    stderr_path="/data/err",
    alloc_id="alloc",
)
FULL_CONFIG.network_isolation_spec.path = "/run/netns/alloc"
FULL_CONFIG.resources.linux_resources.cpu_shares = 500


def test_a_task_spec_carries_every_field_but_those_listed() -> None:
    of_the_wire = {field.name for field in driver_pb2.TaskConfig.DESCRIPTOR.fields}
    ours = {OTHER_NAMES.get(field.name, field.name) for field in dataclasses.fields(TaskSpec)}
    assert of_the_wire - ours == NOT_CARRIED
    assert ours <= of_the_wire


def test_every_field_of_a_task_spec_has_the_value_of_the_wire() -> None:
    spec = task_spec(FULL_CONFIG)
    for field in dataclasses.fields(TaskSpec):
        value = getattr(spec, field.name)
        if field.name == "resources":
            assert value == Resources(cpu_shares_mhz=500)
        elif field.name == "network_path":
            assert value == "/run/netns/alloc"
        elif field.name == "env":
            assert value == {"A": "B"}
        else:
            assert value == getattr(FULL_CONFIG, field.name)
            assert value, f"{field.name} has no value in the example"


def test_the_directories_of_a_task_follow_from_its_allocation() -> None:
    spec = task_spec(FULL_CONFIG)
    assert spec.task_dir == "/data/alloc/alloc/web"
    assert spec.alloc_root == "/data/alloc"
    slashed = driver_pb2.TaskConfig(alloc_dir="/data/alloc/one/")
    assert task_spec(slashed).alloc_root == "/data/alloc"


@pytest.mark.parametrize(
    ("memory_mb", "memory_max_mb", "hard", "soft"),
    [
        (0, 0, 0, 0),
        (300, 0, 300 * MIB, 0),
        (300, 500, 500 * MIB, 300 * MIB),
        (300, -1, None, 300 * MIB),
    ],
)
def test_memory_is_hard_soft_or_unlimited(
    memory_mb: int, memory_max_mb: int, hard: int | None, soft: int
) -> None:
    message = driver_pb2.Resources()
    message.allocated_resources.memory.memory_mb = memory_mb
    message.allocated_resources.memory.memory_max_mb = memory_max_mb
    resources = resources_of(message)
    assert (resources.memory_hard_bytes, resources.memory_soft_bytes) == (hard, soft)


def test_linux_resources_are_taken_where_allocated_ones_say_nothing() -> None:
    message = driver_pb2.Resources()
    message.linux_resources.memory_limit_bytes = 77 * MIB
    message.linux_resources.cpuset_cpus = "1,3"
    message.linux_resources.cpuset_cgroup = "/sys/fs/cgroup/x"
    message.allocated_resources.cpu.cpu_shares = 250
    assert resources_of(message) == Resources(
        cpu_shares_mhz=250,
        memory_hard_bytes=77 * MIB,
        cpuset_cpus="1,3",
        cpuset_cgroup="/sys/fs/cgroup/x",
    )


EXITS: list[tuple[TaskExit, int, int, str, str]] = [
    (Exited(0), 0, 0, "", "exited with code 0"),
    (Exited(3), 3, 0, "", "exited with code 3"),
    (Exited(255), 255, 0, "", "exited with code 255"),
    (Signaled(9), 137, 9, "", "was ended by SIGKILL"),
    (Signaled(2), 130, 2, "", "was ended by SIGINT"),
    (Signaled(40), 168, 40, "", "was ended by signal 40"),
    (Lost("nobody saw it"), -1, 0, "nobody saw it", "was lost: nobody saw it"),
]


@pytest.mark.parametrize(("task_exit", "code", "signum", "err", "words"), EXITS)
def test_an_exit_is_told_in_nomads_integers_and_in_words(
    task_exit: TaskExit, code: int, signum: int, err: str, words: str
) -> None:
    assert shell_status(task_exit) == code
    assert describe_exit(task_exit) == words
    response = wait_task_response(task_exit, oom_killed=False)
    assert (response.result.exit_code, response.result.signal, response.err) == (code, signum, err)


def test_a_lost_task_is_never_a_success() -> None:
    response = wait_task_response(Lost("why"), oom_killed=False)
    is_success = response.result.exit_code == 0 and response.result.signal == 0 and not response.err
    assert not is_success


def test_out_of_memory_is_told_whatever_the_exit() -> None:
    for task_exit in (Exited(0), Signaled(9), Lost("x")):
        assert exit_result(task_exit, oom_killed=True).oom_killed


@given(st.floats(min_value=0, max_value=4e9))
def test_a_timestamp_is_exact_to_a_microsecond(unix_s: float) -> None:
    timestamp = timestamp_of(unix_s)
    assert 0 <= timestamp.nanos < 1_000_000_000
    assert abs(timestamp.seconds + timestamp.nanos / 1e9 - unix_s) < 1e-6


def test_gos_zero_time_is_a_timestamp() -> None:
    assert timestamp_of(-62135596800.0).seconds == -62135596800
