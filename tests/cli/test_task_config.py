"""Tasks to the messages that an agent sends."""

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from trio_driver._proto import driver_pb2
from trio_driver.cli.errors import JobError
from trio_driver.cli.job_file import read_job
from trio_driver.cli.node import Core, Node
from trio_driver.cli.task_config import Allocation, build_env, build_task_config
from trio_driver.hcl import spec_of

NODE = Node(
    id="node-id",
    name="here",
    cores=tuple(
        Core(id=i, socket_id=0, node_id=0, usable=i > 0, base_mhz=0, max_mhz=0, guess_mhz=1000)
        for i in range(3)
    ),
    distances=((10,),),
    meta={"rack": "r1"},
)
ALLOC_ID = "01234567-89ab-cdef-0123-456789abcdef"


class Config(msgspec.Struct):
    """What the driver of these tests takes."""

    texts: list[str] = []
    labels: dict[str, str] = {}


ENVIRON = {"PATH": "/bin", "HOME": "/root", "NOMAD_TOKEN": "secret", "AWS_SECRET_ACCESS_KEY": "s"}

JOB = """job "j" {
  meta {
    a-b = "job"
  }
  group "g" {
    task "t" { driver = "x"
%s
} } }"""


def allocation_of(task: str, *, images: bool = False) -> Allocation:
    job = read_job(JOB % task, path="f", variables={})
    return Allocation(
        id=ALLOC_ID,
        directory=Path("/alloc-root") / ALLOC_ID,
        job=job,
        group=job.groups[0],
        node=NODE,
        environ=ENVIRON,
        images=images,
        attributes={"driver.x.version": "1"},
    )


def env_of(task: str, *, images: bool = False) -> dict[str, str]:
    allocation = allocation_of(task, images=images)
    return build_env(allocation, allocation.group.tasks[0])


def message_of(task: str) -> driver_pb2.TaskConfig:
    allocation = allocation_of(task)
    return build_task_config(allocation, allocation.group.tasks[0], spec=spec_of(Config))


def test_the_environment_is_an_agents() -> None:
    root = f"/alloc-root/{ALLOC_ID}"
    assert env_of(
        'resources {\n cpu = 50\n memory = 20\n memory_max = -1\n}\nenv {\n HOME = "/x"\n}'
    ) == {
        "HOME": "/x",
        "NOMAD_ALLOC_DIR": f"{root}/alloc",
        "NOMAD_ALLOC_ID": ALLOC_ID,
        "NOMAD_ALLOC_INDEX": "0",
        "NOMAD_ALLOC_NAME": "j.g[0]",
        "NOMAD_CPU_LIMIT": "50",
        "NOMAD_DC": "dc1",
        "NOMAD_GROUP_NAME": "g",
        "NOMAD_JOB_ID": "j",
        "NOMAD_JOB_NAME": "j",
        "NOMAD_MEMORY_LIMIT": "20",
        "NOMAD_META_A_B": "job",
        "NOMAD_META_a_b": "job",
        "NOMAD_NAMESPACE": "default",
        "NOMAD_REGION": "global",
        "NOMAD_SECRETS_DIR": f"{root}/t/secrets",
        "NOMAD_SHORT_ALLOC_ID": "01234567",
        "NOMAD_TASK_DIR": f"{root}/t/local",
        "NOMAD_TASK_NAME": "t",
        "PATH": "/bin",
    }


def test_a_driver_with_images_shows_fixed_paths_and_no_host() -> None:
    env = env_of("", images=True)
    assert (env["NOMAD_ALLOC_DIR"], env["NOMAD_TASK_DIR"]) == ("/alloc", "/local")
    assert "PATH" not in env


def test_a_computed_name_wins_over_the_hosts() -> None:
    allocation = allocation_of("")
    task = allocation.group.tasks[0]
    host = {**ENVIRON, "NOMAD_ALLOC_ID": "theirs"}
    changed = Allocation(
        id=ALLOC_ID,
        directory=allocation.directory,
        job=allocation.job,
        group=allocation.group,
        node=NODE,
        environ=host,
    )
    assert build_env(changed, task)["NOMAD_ALLOC_ID"] == ALLOC_ID


def test_references_are_replaced_in_config_env_meta_and_user() -> None:
    message = message_of(
        """
        user = "${NOMAD_META_who}"
        meta { who = "nobody" }
        env { P = "${PATH}:/more" }
        config {
          texts = ["${env["P"]}", "${meta.rack}", attr.driver.x.version, "$$${no}", NOMAD_TASK_NAME]
          labels { c = "${node.unique.name}/${attr.cpu.numcores}" }
        }
        """
    )
    assert msgspec.msgpack.decode(message.msgpack_driver_config) == {
        "texts": ["/bin:/more", "r1", "1", "${no}", "t"],
        "labels": [{"c": "here/3"}],
    }
    assert message.user == "nobody"
    assert message.env["P"] == "/bin:/more"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('config { texts = ["${nope}"] }', 'f:6: task "t", config.texts: no variable named "'),
        ('config { texts = [env["nope"]] }', 'f:6: task "t", config.texts: no variable named "'),
        ("config { texts = [meta.x] }", 'f:6: task "t", config.texts: no variable named "'),
        ("config { nope = 1 }", 'f:6: task "t", config'),
        ('env { A = "${NOMAD_NOPE}" }', 'f:7: task "t", env.A: no variable named "NOMAD_NOPE"'),
        ('meta { A = "${NOPE}" }', 'f:7: task "t", meta.A: no variable named "NOPE"'),
        ('user = "${nope}"', 'f:7: task "t", user: no variable named "nope"'),
    ],
)
def test_what_an_agent_would_refuse_is_an_error_that_names_it(text: str, message: str) -> None:
    with pytest.raises(JobError) as caught:
        message_of(text)
    assert str(caught.value).startswith(message)


def test_environment_from_the_command_line_wins_and_is_used_as_it_is() -> None:
    allocation = allocation_of('env { A = "job" }')
    task = replace(allocation.group.tasks[0], fixed_env={"A": "${X}"})
    assert build_env(allocation, task)["A"] == "${X}"


def test_the_message_carries_identity_paths_and_limits() -> None:
    message = message_of("resources {\n cpu = 500\n memory = 64\n memory_max = 128\n}")
    alloc_id, task, suffix = message.id.split("/")
    assert (alloc_id, task, len(suffix), int(suffix, 16) >= 0) == (ALLOC_ID, "t", 8, True)
    assert (message.name, message.alloc_id, message.node_id) == ("t", ALLOC_ID, "node-id")
    assert (message.job_id, message.job_name, message.task_group_name) == ("j", "j", "g")
    assert (message.namespace, message.node_name) == ("default", "here")
    assert message.alloc_dir == f"/alloc-root/{ALLOC_ID}"
    assert message.stdout_path == f"/alloc-root/{ALLOC_ID}/alloc/logs/.t.stdout.fifo"
    assert message.stderr_path == f"/alloc-root/{ALLOC_ID}/alloc/logs/.t.stderr.fifo"
    limits = message.resources
    assert limits.allocated_resources.cpu.cpu_shares == limits.linux_resources.cpu_shares == 500
    assert limits.allocated_resources.memory.memory_mb == 64
    assert limits.allocated_resources.memory.memory_max_mb == 128
    assert limits.linux_resources.memory_limit_bytes == 128 << 20
    assert limits.linux_resources.PercentTicks == 0.25
    assert limits.linux_resources.cpuset_cgroup == ""


def test_a_task_without_logs_writes_to_nowhere() -> None:
    message = message_of("logs { enabled = false }")
    assert message.stdout_path == message.stderr_path == "/dev/null"
