"""The fixtures, in a suite of somebody else's."""

import os
import re
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]

SUITE = """
import subprocess

async def test_clean(no_leaks):
    subprocess.run(["true"], check=True)

async def test_leaky(no_leaks, tmp_path):
    (tmp_path / "left").write_text("x")

def test_random(seed):
    assert seed.random() < 0, "always fails"
"""


def run_suite(tmp_path: Path, *arguments: str) -> str:
    (tmp_path / "test_suite.py").write_text(SUITE)
    (tmp_path / "pytest.ini").write_text("[pytest]\ntrio_mode = true\n")
    command = [sys.executable, "-m", "pytest", "-p", "trio_driver.testing.pytest_plugin"]
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        [*command, "-p", "no:cacheprovider", *arguments, str(tmp_path)],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout


def test_a_test_that_leaves_something_fails_and_one_that_does_not_passes(tmp_path: Path) -> None:
    output = run_suite(tmp_path, "-k", "clean or leaky")
    assert "1 failed, 1 passed, 1 deselected" in output
    assert re.search(r"LeakError: something was left", output)
    assert re.search(r"file .*/left", output)


def test_a_failure_prints_its_seed_and_the_seed_repeats_it(tmp_path: Path) -> None:
    first = run_suite(tmp_path, "-k", "random")
    number = re.search(r"repeat with --seed (\d+)", first)
    value = re.search(r"assert (0\.\d+) < 0", first)
    assert number is not None
    assert value is not None
    assert value[0] in run_suite(tmp_path, "-k", "random", "--seed", number[1])
