"""Job files to jobs: everything is used, reported or refused."""

from pathlib import Path

import pytest

from trio_driver.cli.errors import JobError
from trio_driver.cli.job import Job, Resources, command_job
from trio_driver.cli.job_file import parse_duration_s, read_config, read_job

from .program import PROJECT

MINIMAL = 'job "j" {\n group "g" {\n task "t" {\n driver = "trio"\n%s\n}\n}\n}'


def job_of(text: str, **variables: str) -> Job:
    return read_job(text, path="f.hcl", variables=variables)


def task_text(text: str) -> str:
    return MINIMAL % text


FULL_JOB = """
variable "who" {
  type    = string
  default = "world"
}
job "hello" {
  datacenters = ["*", "here"]
  type        = "batch"
  namespace   = "dev"
  meta {
    a = "job"
    b = "job"
  }
  group "greeters" {
    meta = { b = "group" }
    task "greet" {
      driver = "trio"
      user   = "nobody"
      config {
        command = "echo"
        args    = ["hello ${var.who}", "${NOMAD_META_a}"]
        options { x = 1 }
        options { y = 2 }
        limits = { z = 3 }
      }
      env { LANG = "C" }
      resources {
        cpu        = 200
        memory     = 64
        memory_max = 128
      }
      kill_signal  = "SIGTERM"
      kill_timeout = "1m30s"
      logs { disabled = true }
    }
  }
}
"""


def test_a_full_job_is_read() -> None:
    job = job_of(FULL_JOB)
    [group] = job.groups
    [task] = group.tasks
    assert (job.id, job.name, job.type, job.namespace) == ("hello", "hello", "batch", "dev")
    assert job.datacenter == "here"
    assert {name: setting.text for name, setting in group.meta.items()} == {
        "a": "job",
        "b": "group",
    }
    assert task.config == {
        "command": "echo",
        "args": ["hello world", "${NOMAD_META_a}"],
        "options": [{"x": 1}, {"y": 2}],
        "limits": [{"z": 3}],
    }
    assert task.user is not None
    assert task.user.text == "nobody"
    assert task.env["LANG"].text == "C"
    assert task.resources == Resources(cpu_mhz=200, memory_mib=64, memory_max_mib=128)
    assert (task.kill_signal, task.kill_timeout_s, task.logs) == ("SIGTERM", 90.0, False)
    assert job.warnings == ()


def test_labels_of_config_blocks_become_nested_objects() -> None:
    job = job_of(task_text('config { mount "a" "b" { ro = true } }'))
    assert job.groups[0].tasks[0].config["mount"] == [{"a": [{"b": [{"ro": True}]}]}]


def test_what_only_servers_act_on_is_ignored_with_a_line_each() -> None:
    job = job_of(
        'job "j" {\n priority = upper("x")\n update { max_parallel = 1 }\n group "g" {\n'
        ' count = 3\n task "t" {\n driver = "trio"\n service { port = "x" }\n } } }'
    )
    assert job.warnings == (
        'f.hcl:2: job "j", priority: ignored, there is one node to place it on',
        'f.hcl:3: job "j", update: ignored, there are no servers to act on it',
        'f.hcl:5: group "g", count: one instance runs',
        'f.hcl:8: task "t", service: ignored, there is no service registry',
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (task_text("template { }"), 'f.hcl:5: task "t", template: not supported: only an agent'),
        (task_text("artifact { }"), 'f.hcl:5: task "t", artifact: not supported'),
        (task_text("lifecycle { }"), 'f.hcl:5: task "t", lifecycle: not supported'),
        (task_text("resources { cores = 2 }"), "f.hcl:5: resources, cores: not supported"),
        (
            task_text("confg { }"),
            'f.hcl:5: task "t", confg: not known here; did you mean "config"?',
        ),
        (task_text("config { }\nconfig { }"), "f.hcl:6: config: a second config block"),
        (task_text("config = 1"), 'f.hcl:5: task "t", config: accepted is a block'),
        (task_text("config {\n a = 1\n a { }\n}"), "f.hcl:7: a: is set as a block and as a value"),
        (task_text('kill_timeout = "soon"'), "f.hcl:5: task \"t\", kill_timeout: 'soon' is not a"),
        (task_text('kill_signal = "SIGNOPE"'), 'f.hcl:5: task "t", kill_signal: '),
        (
            task_text("resources { memory = 1 }"),
            "f.hcl:5: resources, memory: 1; accepted is a whole",
        ),
        (
            task_text("resources { cpu = true }"),
            "f.hcl:5: resources, cpu: True; accepted is a whole",
        ),
        (
            task_text("resources {\n memory = 64\n memory_max = 32\n}"),
            "f.hcl:7: resources, memory_max: 32 is less than memory (64)",
        ),
        (
            task_text('logs { disabled = "no" }'),
            "f.hcl:5: logs, disabled: 'no'; accepted: true, fa",
        ),
        (task_text("meta = 1"), 'f.hcl:5: task "t", meta: 1; accepted is an object'),
        (task_text("env {\n a { }\n}"), "f.hcl:6: a: no block is accepted in env"),
        (
            task_text("config { a = var.x }"),
            'f.hcl:5: config, a: no variable named "var.x"; declared:',
        ),
        (task_text("driver = var.x"), 'f.hcl:5: "driver" is set twice'),
        ('job "j" { }', 'f.hcl:1: job "j": has no group block'),
        ('job "j" {\ngroup "g" { } }', 'f.hcl:2: group "g": has no task block'),
        ('job "j" {\ngroup "g" {\ntask "t" { } } }', 'f.hcl:3: task "t": has no driver'),
        ('job "j" {\ngroup "g" {\ntask "a/b" { } } }', 'f.hcl:3: task "a/b": a task\'s name is'),
        ('job "j" {\n type = "cron" }', 'f.hcl:2: job "j", type: type "cron"; accepted: batch, '),
        ("job { }", "f.hcl:1: job: accepted is one label"),
        ("", "f.hcl:1: 0 job blocks"),
        ('locals { }\njob "j" {}', "f.hcl:1: locals: not supported: variables with a default"),
        (
            'variable "x" { }',
            'f.hcl:1: variable "x": has no default; give it one, or run with --var',
        ),
        ('job "j" { type = upper("x") }', 'f.hcl:1: job "j", type: the expression `upper("x")` is'),
        (
            'job "j" { type = NOMAD_X }',
            'f.hcl:1: job "j", type: type "${NOMAD_X}"; accepted: batch',
        ),
    ],
)
def test_a_refusal_names_file_line_block_and_what_is_accepted(text: str, message: str) -> None:
    with pytest.raises(JobError) as caught:
        job_of(text)
    assert str(caught.value).startswith(message)


def test_variables_come_from_the_command_line_in_the_type_of_their_default() -> None:
    text = (
        'variable "mb" { default = 64 }\nvariable "a" { default = ["x"] }\nvariable "s" { }\n'
        + task_text("resources { memory = var.mb }\nconfig {\n args = var.a\n name = var.s\n}")
    )
    [task] = job_of(text, mb="128", s="5", a='["y", "z"]').groups[0].tasks
    assert task.resources.memory_mib == 128
    assert (task.config["args"], task.config["name"]) == (["y", "z"], "5")
    with pytest.raises(JobError, match='no variable "nope" is declared'):
        job_of(text, nope="1", s="5")
    with pytest.raises(JobError, match="--var: '\\[' is not an HCL expression"):
        job_of(text, mb="[", s="5")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5s", 5.0), ("1m30s", 90.0), ("500ms", 0.5), ("1.5h", 5400.0), ("0s", 0.0)],
)
def test_durations_are_read_as_nomad_writes_them(text: str, seconds: float) -> None:
    assert parse_duration_s(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "5 s", "s", "-5s", "5sx", "1d"])
def test_other_texts_are_no_durations(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration_s(text)


def test_a_plugin_configuration_is_one_body() -> None:
    assert read_config('enabled = true\nlabels { a = "b" }', path="c") == {
        "enabled": True,
        "labels": [{"a": "b"}],
    }
    with pytest.raises(JobError, match="c:2: x: the expression `1\\+1` is not supported"):
        read_config("\nx = 1 + 1", path="c")


def test_an_escape_in_a_plugin_configuration_is_left_for_its_one_evaluation() -> None:
    assert read_config('x = "$${a} ${b}"', path="c") == {"x": "$${a} ${b}"}


def test_a_command_is_a_job_of_one_task() -> None:
    job = command_job("/bin/sh", ["-c", "true"])
    [task] = job.groups[0].tasks
    assert (job.id, task.name, task.driver) == ("sh", "sh", "")
    assert task.config["args"] == ["-c", "true"]
    assert "args" not in command_job("true", []).groups[0].tasks[0].config


def test_text_of_a_command_is_never_evaluated() -> None:
    [task] = command_job("sh", ["-c", "echo ${HOME} %{x}"]).groups[0].tasks
    assert task.config["args"] == ["-c", "echo $${HOME} %%{x}"]


@pytest.mark.parametrize(
    "path", sorted((PROJECT / "examples").glob("*.nomad.hcl")), ids=lambda path: path.name
)
def test_every_example_is_a_job_that_uses_nothing_in_vain(path: Path) -> None:
    job = read_job(path.read_text(), path=path.name, variables={})
    assert job.warnings == ()
    assert path.name == f"{job.id}.nomad.hcl"
