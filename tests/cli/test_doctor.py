"""`trio-driver doctor`: what is promised was tried, and nothing is left of the trial."""

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.host import REPOSITORY
from tests.support.tier import HostKind, host_of
from trio_driver.cli.forked import ForkedError, in_child
from trio_driver.cli.guarantees import limit_holds, nothing_outlives
from trio_driver.executor import Trial, host_tier
from trio_driver.linux import children_of
from trio_driver.state import run_cgroups

from .on_host import PROGRAM
from .program import LIMIT_S

pytestmark = pytest.mark.cgroup

HOLDS = "nothing of a task outlives it, however it hides"


def doctor(path: Path, *prefix: str) -> tuple[int, dict[str, Any], dict[str, dict[str, Any]]]:
    """Exit code, the diagnosis, and its guarantees by promise."""
    result = subprocess.run(
        [*prefix, *PROGRAM, "doctor", "--json", "--state-dir", str(path)],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert result.stderr == "" or "no limit" in result.stderr, result.stderr
    diagnosis: dict[str, Any] = json.loads(result.stdout)
    return result.returncode, diagnosis, {each["promise"]: each for each in diagnosis["guarantees"]}


def cgroups_of_trials() -> list[Path]:
    return [path for name, path in run_cgroups() if name.startswith("0" * 12)]


def test_this_host_can_run_tasks_and_nothing_is_left_of_the_trial(tmp_path: Path) -> None:
    code, diagnosis, promises = doctor(tmp_path / "state")
    assert code == 0
    assert diagnosis["containment"] == host_tier().value
    assert [
        each for each in promises.values() if each["is_essential"] and each["outcome"] == "no"
    ] == []
    assert list(tmp_path.iterdir()) == []
    assert cgroups_of_trials() == []


@pytest.mark.parametrize("kind", HostKind)
def test_each_kind_of_host_is_told_as_what_it_is(kind: HostKind) -> None:
    host = host_of(kind)
    if host is None:
        pytest.skip(f"this host cannot be {kind.value}")
    code, diagnosis, promises = doctor(Path(f"/tmp/td-doctor-{os.getpid()}"), *host.prefix)
    assert (code, diagnosis["containment"], diagnosis["uid"]) == (0, host.tier.value, host.uid)
    assert promises[HOLDS]["outcome"] == ("yes" if host.has_cgroup else "partly")
    if not host.has_cgroup:
        assert promises["memory limits of jobs hold"]["outcome"] == "no"
        assert all(each["change"] for each in promises.values() if each["outcome"] == "no")
    assert cgroups_of_trials() == []


@pytest.mark.parametrize(
    ("name", "mode", "text"),
    [("x" * 90, None, "too long"), ("state", 0o755, "must be 0700")],
    ids=["long", "open"],
)
def test_a_state_directory_that_cannot_be_used_is_told(
    tmp_path: Path, name: str, mode: int | None, text: str
) -> None:
    path = tmp_path / name
    if mode is not None:
        path.mkdir(mode=mode)
    code, _, promises = doctor(path)
    told = promises["records, locks and sockets are out of reach of tasks"]
    assert (code, told["outcome"]) == (1, "no")
    assert text in told["why"] + told["change"]


def test_few_descriptors_are_told(tmp_path: Path) -> None:
    command = ("sh", "-c", 'ulimit -n 256; exec "$@"', "sh")
    told = doctor(tmp_path, *command)[2]["there are file descriptors for many tasks"]
    assert told["outcome"] == "partly"
    assert "LimitNOFILE" in told["change"]


def test_people_read_one_promise_after_the_other(tmp_path: Path) -> None:
    result = subprocess.run(
        [*PROGRAM, "doctor", "--state-dir", str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = result.stdout.splitlines()
    assert lines[0].startswith(f"containment {host_tier().value}, Linux ")
    assert f"yes    {HOLDS}" in lines or f"partly {HOLDS}" in lines


GOOD = Trial(
    tier="cgroup-v2",
    uids=(0,),
    pids=(1, 2, 3, 4, 5),
    outside=(),
    is_born_inside=True,
    limits={"/x/memory.max": "1", "/x/cpu.weight": None},
    counts_oom_kills=True,
    end_s=0.01,
    left=(),
)


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({}, "yes"),
        ({"tier": "cgroup-v1"}, "yes"),
        ({"tier": "none", "outside": (1,)}, "partly"),
        ({"outside": (3,)}, "partly"),
        ({"left": ("pid 3",)}, "no"),
        ({"left": ("cgroup /x",), "tier": "none"}, "no"),
    ],
)
def test_what_was_seen_decides_what_is_promised(changes: dict[str, Any], outcome: str) -> None:
    told = nothing_outlives(HOLDS, msgspec.structs.replace(GOOD, **changes))
    assert told.outcome == outcome
    assert all(left in told.why for left in changes.get("left", ()))


def test_a_limit_that_the_kernel_did_not_take_is_not_promised() -> None:
    assert limit_holds("x", "memory", GOOD).outcome == "yes"
    assert limit_holds("x", "cpu", GOOD).outcome in ("partly", "no")


def fail() -> int:
    raise FileNotFoundError(2, "No such file or directory", "/x")


def die() -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


@pytest.mark.parametrize(("function", "text"), [(fail, "/x: No such file"), (die, "no answer")])
def test_a_child_that_fails_is_an_error_and_is_reaped(function: Any, text: str) -> None:
    before = children_of(os.getpid())
    with pytest.raises(ForkedError, match=text):
        in_child(function, int)
    assert children_of(os.getpid()) == before


def test_a_childs_result_comes_back() -> None:
    assert in_child(lambda: [1, 2], list[int]) == [1, 2]
