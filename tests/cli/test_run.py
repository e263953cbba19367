"""`trio-driver run`: real plugins, real tasks, nothing left."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .program import LIMIT_S, PROJECT, PYTHON_PATH, Sandbox, open_sandbox

SHELL_JOB = """
job "j" {{
  meta {{
    word = "from meta"
  }}
  group "g" {{
{tasks}
  }}
}}
"""

SHELL_TASK = """
    task "{name}" {{
      driver = "trio"
      {extra}
      config {{
        command = "/bin/sh"
        args    = ["-c", <<EOF
{script}
EOF
        ]
      }}
    }}
"""

FOREVER = "while :; do sleep 0.05; done"


def job_of(scripts: dict[str, str], extra: str = "") -> str:
    tasks = (SHELL_TASK.format(name=n, script=s, extra=extra) for n, s in scripts.items())
    return SHELL_JOB.format(tasks="".join(tasks))


def test_the_readmes_first_command_works(sandbox: Sandbox) -> None:
    result = sandbox.run(str(PROJECT / "examples/hello.nomad.hcl"))
    assert (result.returncode, result.stdout.splitlines()[1:]) == (
        0,
        ["3 ...", "2 ...", "1 ...", "bye"],
    ), result.stderr
    assert result.stdout.startswith("hello from task hello, pid ")
    assert "hello: ended with code 0" in result.stderr.splitlines()


@pytest.mark.parametrize("name", ["pair", "signals"])
def test_every_example_is_accepted(sandbox: Sandbox, name: str) -> None:
    path = str(PROJECT / f"examples/{name}.nomad.hcl")
    with sandbox.start("--env", "LINES=1", path) as running:
        if name == "signals":
            running.wait_started()
            running.read_until("will go with me")
            running.send(signal.SIGINT)
        code, _, stderr = running.end()
    assert code == 0, stderr
    assert "ignored" not in stderr


@pytest.mark.parametrize(
    ("script", "code"), [("exit 0", 0), ("exit 7", 7), ("kill -KILL $$", 137), ("kill $$", 143)]
)
def test_the_exit_code_is_the_tasks(sandbox: Sandbox, script: str, code: int) -> None:
    assert sandbox.run("--", "sh", "-c", script).returncode == code


def test_output_is_complete_and_goes_where_it_belongs(sandbox: Sandbox) -> None:
    script = "head -c 300000 /dev/zero | tr '\\0' x; printf ' $HOME ${HOME} %%{x}'; echo oops >&2"
    result = sandbox.run("--env", "HOME=/h", "--", "sh", "-c", script)
    assert result.stdout == "x" * 300000 + " $HOME ${HOME} %{x}"
    assert "oops" in result.stderr.splitlines()


def test_output_arrives_while_the_task_runs(sandbox: Sandbox) -> None:
    with sandbox.start("--", "sh", "-c", f"printf now; {FOREVER}") as running:
        running.wait_started()
        running.read_until("now")
        running.send(signal.SIGTERM)
        assert running.end()[0] == 128 + signal.SIGINT  # Nomad's default kill_signal


def test_a_task_sees_what_an_agent_gives_it(sandbox: Sandbox) -> None:
    script = (
        "echo $NOMAD_META_word, $NOMAD_TASK_NAME; pwd;"
        "touch $NOMAD_TASK_DIR/a $NOMAD_ALLOC_DIR/data/b; stat -c %a $NOMAD_SECRETS_DIR/../tmp"
    )
    result = sandbox.run(sandbox.job(job_of({"look": script})))
    word, directory, mode = result.stdout.splitlines()
    assert (word, mode) == ("from meta, look", "1777")
    assert directory.startswith(str(sandbox.tmp))
    assert directory.endswith("/look")


def test_several_tasks_share_the_terminal_line_by_line(sandbox: Sandbox) -> None:
    result = sandbox.run(sandbox.job(job_of({"a": "echo 1; printf 2", "long": "echo 3"})))
    assert sorted(result.stdout.splitlines()) == ["a    | 1", "a    | 2", "long | 3"]
    assert result.returncode == 0


def test_a_failed_task_ends_its_siblings_and_gives_the_code(sandbox: Sandbox) -> None:
    good = f"touch $NOMAD_ALLOC_DIR/data/up; {FOREVER}"
    bad = "until [ -e $NOMAD_ALLOC_DIR/data/up ]; do sleep 0.05; done; exit 9"
    result = sandbox.run(sandbox.job(job_of({"good": good, "bad": bad})))
    assert result.returncode == 9
    assert "good: was ended by SIGINT" in result.stderr


def test_the_first_signal_asks_with_the_jobs_kill_signal(sandbox: Sandbox) -> None:
    script = f"trap 'echo tidy; exit 5' USR1; echo up; {FOREVER}"
    job = sandbox.job(job_of({"t": script}, 'kill_signal = "SIGUSR1"'))
    with sandbox.start(job) as running:
        running.wait_started()
        running.read_until("up")
        running.send(signal.SIGINT)
        code, stdout, stderr = running.end()
    assert (code, stdout) == (5, "tidy\n")
    assert "t: is asked to stop, within 5 s" in stderr


def test_the_second_signal_kills_what_ignores_the_first(sandbox: Sandbox) -> None:
    script = f"trap 'echo no' INT; echo up; {FOREVER}"
    job = sandbox.job(job_of({"t": script}, 'kill_timeout = "600s"'))
    with sandbox.start(job) as running:
        running.wait_started()
        running.read_until("up")
        running.send(signal.SIGINT)
        running.read_until("no")
        running.press_until("t: is killed")
        assert running.end()[0] == 128 + signal.SIGKILL


def test_a_signal_before_the_plugin_answers_ends_the_run(sandbox: Sandbox) -> None:
    silent = sandbox.root / "silent"
    silent.write_text(
        f"#!/bin/sh\necho started >&2; mkfifo {sandbox.tmp}/up; read x < {sandbox.tmp}/up"
    )
    silent.chmod(0o755)
    fifo = sandbox.tmp / "up"
    with sandbox.start("-v", "--plugin", str(silent), "--", "true") as running:
        running.read_until("started", stderr=True)
        running.send(signal.SIGINT)
        code, _, _ = running.end()
    fifo.unlink(missing_ok=True)
    assert code == 128 + signal.SIGINT


def test_a_task_is_recovered_when_the_plugin_is_killed(sandbox: Sandbox) -> None:
    go = sandbox.root / "go"
    os.mkfifo(go)
    with sandbox.start("--", "sh", "-c", f"echo up; read x < {go}; exit 7") as running:
        line = running.read_until("plugin: is healthy", stderr=True)
        running.read_until("up")
        sandbox.wait_committed(running)
        os.kill(int(line.partition("runs as pid ")[2].split()[0]), signal.SIGKILL)
        running.read_until("was recovered by the new plugin", stderr=True)
        os.close(os.open(go, os.O_WRONLY | os.O_NONBLOCK))
        assert running.end()[0] == 7


def test_the_tasks_are_stopped_when_nobody_reads_their_output(sandbox: Sandbox) -> None:
    with sandbox.start("--", "sh", "-c", "trap '' PIPE; while echo y; do :; done") as running:
        running.wait_started()
        running.read_until("y")
        assert running.process.stdout is not None
        running.process.stdout.close()
        running.read_until("output cannot be written: Broken pipe", stderr=True)
        assert running.process.wait(LIMIT_S) == 128 + signal.SIGINT


def test_what_is_ignored_is_said(sandbox: Sandbox) -> None:
    result = sandbox.run(sandbox.job(job_of({"t": "true"}, "leader = true")))
    assert result.returncode == 0
    assert 'task "t", leader: ignored, the run ends when all tasks' in result.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run tasks as somebody else")
def test_a_task_runs_as_its_user_and_may_write_its_directories(sandbox: Sandbox) -> None:
    sandbox.root.chmod(0o711)
    sandbox.tmp.chmod(0o711)
    script = "id -un; touch $NOMAD_TASK_DIR/a && ls -l $NOMAD_TASK_DIR/a | cut -d' ' -f3"
    result = sandbox.run("--user", "nobody", "--", "sh", "-c", script)
    assert result.stdout == "nobody\nnobody\n", result.stderr


@pytest.fixture
def user_sandbox() -> Iterator[Sandbox]:
    """A sandbox of a user who is not root, with an interpreter that this user may run."""
    if os.geteuid() != 0:
        with open_sandbox() as opened:
            yield opened
        return
    for python in (sys.executable, "/usr/bin/python3"):
        probe = [
            python,
            "-c",
            f"import sys, trio; assert sys.version_info[:2] == {sys.version_info[:2]}",
        ]
        env = {"PYTHONPATH": PYTHON_PATH}
        try:
            result = subprocess.run(probe, env=env, user=54321, check=False, capture_output=True)
        except OSError:
            continue
        if result.returncode == 0:
            with open_sandbox(python=python, uid=54321) as opened:
                yield opened
            return
    pytest.skip("no interpreter that a user who is not root may run")


def test_an_ordinary_user_can_run_the_example(user_sandbox: Sandbox) -> None:
    result = user_sandbox.run(str(PROJECT / "examples/hello.nomad.hcl"))
    assert result.returncode == 0, result.stderr
    assert "driver.trio.containment=none" in result.stderr


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        ((), 2, "run: accepted is either JOB.nomad.hcl or -- COMMAND ARGS..."),
        (("x", "--", "y"), 2, "run: accepted is either JOB.nomad.hcl or -- COMMAND ARGS..."),
        (("nope.hcl",), 2, "nope.hcl: No such file or directory (a command stands after --)"),
        (("--plugin", "/nope", "--", "x"), 2, "--plugin /nope: no such program"),
        (("--env", "A", "--", "x"), 2, "--env A: accepted is --env NAME=VALUE"),
        (("--plugin-config", "nope=1", "--", "x"), 2, "plugin config: "),
        (
            ("--plugin", "/bin/true", "--", "x"),
            1,
            "plugin /bin/true: the process closed its stdout",
        ),
        (("--", "/nope"), 1, 'nope: not started: command "/nope": No such file or directory'),
        (("--user", "nobody-at-all", "--", "true"), 1, "true: not started: "),
        (("--unknown",), 2, "No such option"),
    ],
)
def test_a_failure_is_one_line_and_a_code(
    sandbox: Sandbox, options: tuple[str, ...], code: int, message: str
) -> None:
    result = sandbox.run(*options)
    assert message in result.stderr
    assert result.returncode == code
    assert "Traceback" not in result.stderr


def test_a_job_that_cannot_be_run_names_file_and_line(sandbox: Sandbox) -> None:
    path = sandbox.job(job_of({"t": "true"}, "template { }"))
    result = sandbox.run(path)
    assert result.returncode == 2
    assert (
        f'trio-driver: {path}:10: task "t", template: not supported: only an agent' in result.stderr
    )
    path = sandbox.job(job_of({"t": "true"}).replace('"trio"', '"exec"'))
    result = sandbox.run(path)
    assert result.returncode == 2
    assert 'driver "exec"; accepted is "trio"' in result.stderr


def test_a_group_is_chosen_by_name(sandbox: Sandbox) -> None:
    text = job_of({"t": "echo first"}).rstrip().removesuffix("}")
    tasks = SHELL_TASK.format(name="t", script="echo second", extra="")
    path = sandbox.job(f'{text}\ngroup "h" {{\n{tasks}\n}}\n}}')
    assert sandbox.run("--group", "h", path).stdout == "second\n"
    assert "choose with --group: g, h" in sandbox.run(path).stderr
    assert '--group x: job "j" has g, h' in sandbox.run("--group", "x", path).stderr


def test_a_plugin_configuration_comes_from_a_file(sandbox: Sandbox) -> None:
    path = sandbox.root / "config.hcl"
    path.write_text("enabled = false\n")
    result = sandbox.run("--config", str(path), "--", "true")
    assert result.returncode == 1
    assert "plugin: is undetected: " in result.stderr


@pytest.mark.parametrize(
    ("strange", "code", "message"),
    [
        ("", 0, "x: ended with code 0"),
        ("device", 1, "plugin strange: is no task driver"),
        ("api", 1, "plugin strange: speaks API v0.2.0, not v0.1.0"),
        ("config", 1, "plugin: SetConfig: I do not like it"),
        ("topology", 1, f"plugin: SetConfig: {os.cpu_count()} cores, v0.1.0"),
        ("fingerprint", 1, "plugin: ended its Fingerprint stream"),
        ("health", 1, "plugin: is unhealthy: so so"),
        ("chroot", 1, "plugin: strange wants a chroot built for each task"),
        ("start", 1, "x: not started: no task today"),
        ("handle", 1, "x: StartTask: the driver gave no handle"),
        ("lost", 1, "x: failed: gone"),
        ("die", 1, "plugin: died 5 times"),
    ],
)
def test_any_plugin_is_held_to_the_protocol(
    sandbox: Sandbox, strange: str, code: int, message: str
) -> None:
    plugin = sandbox.script("strange", "tests.cli.strange_plugin")
    result = sandbox.run("--plugin", str(plugin), "--", "x", STRANGE=strange)
    assert message in result.stderr
    assert result.returncode == code
    assert "Traceback" not in result.stderr


def test_a_start_that_hangs_can_be_interrupted(sandbox: Sandbox) -> None:
    plugin = sandbox.script("strange", "tests.cli.strange_plugin")
    with sandbox.start("-v", "--plugin", str(plugin), "--", "x", STRANGE="hang") as running:
        running.read_until("x: starts\n", stderr=True)
        running.send(signal.SIGINT)
        code, _, stderr = running.end()
    assert code == 128 + signal.SIGINT
    assert "x: was stopped before it had started\n" in stderr


def test_the_third_signal_gives_up_a_task_that_the_driver_does_not_end(sandbox: Sandbox) -> None:
    plugin = sandbox.script("strange", "tests.cli.strange_plugin")
    with sandbox.start("--plugin", str(plugin), "--", "x", STRANGE="wait") as running:
        running.wait_started()
        for expected in ("x: is asked to stop", "x: is killed", "x: DestroyTask: "):
            running.press_until(expected)
        assert running.end()[0] == 128 + signal.SIGINT


def test_a_go_plugin_is_driven_like_our_own(sandbox: Sandbox) -> None:
    plugin = os.environ.get("TRIO_DRIVER_TEST_GO_PLUGIN", "")
    if not Path(plugin).is_file():
        pytest.skip("TRIO_DRIVER_TEST_GO_PLUGIN names no binary of raw_exec as a plugin")
    options = ("--plugin", plugin, "--plugin-config", "enabled=true")
    result = sandbox.run(*options, "--", "sh", "-c", "echo out; exit 4")
    assert (result.returncode, result.stdout) == (4, "out\n"), result.stderr
