"""`trio-driver ps`: what lives, as one tree or as JSON."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from trio_driver.cli.ps import age, look, short, tree_of
from trio_driver.cli.snapshot import ProcessView, RunView, Snapshot, SpawnerView
from trio_driver.state import open_state_directory

from .program import Sandbox

NOW_S = 1_000_000.0


def shown(snapshot: Snapshot) -> list[str]:
    console = Console(width=120, color_system=None)
    with console.capture() as capture:
        console.print(tree_of(snapshot, now_s=NOW_S))
    return [line.rstrip() for line in capture.get().splitlines()]


def ps(sandbox: Sandbox, *options: str) -> str:
    command = [str(sandbox.program), "ps", "--state-dir", str(sandbox.state_dir), *options]
    result = sandbox.run_command(command)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_a_running_task_is_shown_with_all_that_belongs_to_it(sandbox: Sandbox) -> None:
    script = "sleep 86399 & echo up; while :; do sleep 0.1; done"
    with sandbox.start("--", "sh", "-c", script) as running:
        running.wait_started()
        sandbox.wait_committed(running)
        running.read_until("up")
        found: dict[str, Any] = json.loads(ps(sandbox, "--json"))
        tree = ps(sandbox)
        running.send(signal.SIGINT)
        assert running.end()[0] == 130
    [run] = found["runs"]
    [spawner] = found["spawners"]
    assert (run["state"], run["task"], run["driver"]) == ("committed", "sh", "trio")
    assert run["spawner_pid"] == spawner["pid"]
    assert run["plugin_pid"] in [plugin["pid"] for plugin in found["plugins"]]
    [main] = [process for process in run["workload"] if process["parent"] == run["executor_pid"]]
    [child] = [process for process in run["workload"] if process["command"] == ["sleep", "86399"]]
    assert main["command"][1:] == ["-c", script]
    assert child["parent"] == main["pid"]
    memory = (spawner["pss_bytes"], run["executor_pss_bytes"], main["pss_bytes"])
    assert all(0 < each < 100_000_000 for each in memory), memory
    for pid in (spawner["pid"], run["executor_pid"], main["pid"], child["pid"]):
        assert str(pid) in tree
    assert "sh committed" in tree


def test_nothing_is_left_to_show_after_a_run(sandbox: Sandbox) -> None:
    sandbox.run("--", "true")
    found = json.loads(ps(sandbox, "--json"))
    assert (found["runs"], found["state_dir"]) == ([], str(sandbox.state_dir))


def test_looking_makes_nothing(tmp_path: Path) -> None:
    assert look(tmp_path / "state") == Snapshot(state_dir=str(tmp_path / "state"))
    assert list(tmp_path.iterdir()) == []


def test_a_directory_of_somebody_else_is_refused_in_words(sandbox: Sandbox) -> None:
    sandbox.state_dir.mkdir(mode=0o755)
    command = [str(sandbox.program), "ps", "--state-dir", str(sandbox.state_dir)]
    result = sandbox.run_command(command)
    sandbox.state_dir.chmod(0o700)
    assert result.returncode == 1
    assert result.stderr.startswith("trio-driver: ps: ")
    for name in ("locks", "runs"):
        (sandbox.state_dir / name).mkdir(exist_ok=True)


def test_a_torn_record_is_shown_as_unreadable(tmp_path: Path) -> None:
    state = open_state_directory(tmp_path / "state")
    run = state.run_of(task_id="a/b/c", alloc_id="a", task_name="b")
    run.create()
    (run.path / "executor.json").write_text("{")
    assert [(view.name, view.state) for view in look(state.path).runs] == [(run.name, "unreadable")]


def test_a_run_without_records_yet_is_provisional(tmp_path: Path) -> None:
    state = open_state_directory(tmp_path / "state")
    run = state.run_of(task_id="a/b/c", alloc_id="a", task_name="b")
    run.create()
    assert [(view.name, view.state) for view in look(state.path).runs] == [
        (run.name, "provisional")
    ]


SNAPSHOT = Snapshot(
    state_dir="/run/x",
    plugins=(ProcessView(pid=10, parent=1, command=("trio-driver",)),),
    spawners=(SpawnerView(pid=20, build="abc"),),
    runs=(
        RunView(
            name="1-1",
            state="committed",
            task="web",
            task_id="0123456789/web/1",
            alloc_id="0123456789",
            executor_pid=30,
            spawner_pid=20,
            workload=(
                ProcessView(pid=42, parent=41, command=("sleep", "1")),
                ProcessView(pid=41, parent=40, command=("sh", "-c", "a\n  b")),
                ProcessView(pid=40, parent=30, command=("init",)),
                ProcessView(pid=43, parent=1, command=("stray",)),
            ),
            created_at_s=NOW_S - 90,
        ),
        RunView(
            name="2-2",
            state="ended",
            task="job",
            alloc_id="9876543210",
            created_at_s=NOW_S - 9000,
            ended_at_s=NOW_S - 7300,
            outcome="exited with code 3",
        ),
        RunView(name="3-3", state="unreadable"),
    ),
)


def test_the_tree_has_each_process_below_its_parent() -> None:
    assert shown(SNAPSHOT) == [
        "/run/x",
        "├── plugin 10  trio-driver",
        "├── spawner 20  build abc",
        "│   └── executor 30 web committed 90s  alloc 01234567",
        "│       ├── workload 40  init",
        "│       │   └── 41  sh -c a b",
        "│       │       └── 42  sleep 1",
        "│       └── workload 43  stray",
        "├── run job ended: exited with code 3 2h  alloc 98765432",
        "└── run 3-3 unreadable",
    ]


def test_an_empty_tree_says_so() -> None:
    assert shown(Snapshot(state_dir="/run/x")) == ["/run/x", "└── nothing"]


@pytest.mark.parametrize(
    ("seconds", "text"), [(-5, "0s"), (119, "119s"), (120, "2m"), (7200, "2h"), (200_000, "2d")]
)
def test_ages_are_short(seconds: float, text: str) -> None:
    assert age(seconds) == text


def test_a_long_command_is_cut() -> None:
    assert len(short(["x" * 100])) == 60
    assert short(["x" * 100]).endswith("...")
