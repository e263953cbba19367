"""A canary: purerpc pins h2 below 4, and one day it will not. `rpc` works with today's h2 already.

The newest h2 is installed into a directory of its own, and the tests that talk to raw peers run
once more in a process that finds it first. Without a package index, or without pip, they are
skipped.
"""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]

INSTALL_LIMIT_S = 60
RUN_LIMIT_S = 300
"""Seconds that the tests may take on a busy machine; some ten on an idle one."""

TESTS = (
    "test_client_raw.py",
    "test_flow_control.py",
    "test_reply.py",
    "test_server_connection.py",
    "test_server_lifetimes.py",
    "test_server_malformed.py",
    "test_server_grpcio.py",
    "test_wire.py",
)

SITECUSTOMIZE = """\
import h2.events  # purerpc names an event that h2 4 calls differently

h2.events.PingAcknowledged = getattr(h2.events, "PingAcknowledged", h2.events.PingAckReceived)
"""


def install(target: Path, *what: str) -> None:
    """Put the newest of `what` into `target`, or skip the test."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--retries", "0", "--timeout", "10", "--target", str(target), *what]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=INSTALL_LIMIT_S)
    except (OSError, subprocess.SubprocessError) as error:
        pytest.skip(f"no newest {', '.join(what)} for the canary: pip cannot install it ({error})")


def version_in(target: Path, name: str) -> str:
    (found,) = importlib.metadata.distributions(name=name, path=[str(target)])
    return found.version


def test_the_newest_h2_passes_the_tests_of_raw_peers(tmp_path: Path) -> None:
    target = tmp_path / "newest"
    install(target, "h2", "hpack", "hyperframe")
    assert int(version_in(target, "h2").split(".")[0]) >= 4
    (target / "sitecustomize.py").write_text(SITECUSTOMIZE)
    environment = os.environ | {"PYTHONPATH": f"{target}:{PROJECT}"}
    tests = [str(Path(__file__).parent / name) for name in TESTS]
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
    command += ["--basetemp", str(tmp_path / "inner")]
    found = subprocess.run(
        [sys.executable, "-c", "import h2; print(h2.__file__)"],
        env=environment,
        cwd=PROJECT,
        check=True,
        capture_output=True,
        text=True,
    )
    assert found.stdout.startswith(str(target))
    run = subprocess.run(
        command, env=environment, cwd=PROJECT, capture_output=True, text=True, timeout=RUN_LIMIT_S
    )
    assert run.returncode == 0, f"with h2 {version_in(target, 'h2')}:\n{run.stdout}{run.stderr}"


def test_the_newest_purerpc_still_needs_an_old_h2(tmp_path: Path) -> None:
    install(tmp_path, "purerpc")
    (purerpc,) = importlib.metadata.distributions(name="purerpc", path=[str(tmp_path)])
    pins = [requirement for requirement in purerpc.requires or () if requirement.startswith("h2")]
    assert any("<4" in pin.replace(" ", "") for pin in pins), (
        f"purerpc {purerpc.version} needs {pins}: name h2>=4 in pyproject.toml, and drop what is "
        "said of h2 3 in rpc, here and in NOTES.md"
    )
