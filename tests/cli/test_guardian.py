"""Nothing is left when `trio-driver run` itself is killed: its guardian sees to it.

The fixture fails a test that leaves a process, a socket, a file or a record.
"""

import os
import signal

import pytest

from .program import Sandbox, wait_gone

SCRIPT = "setsid sleep 1000 & sleep 1000 & echo up; exec sleep 1000"


def _plugin_pid(lifecycle: str) -> int:
    return int(lifecycle.partition("runs as pid ")[2].split()[0])


def test_nothing_is_left_of_a_run_that_is_killed(sandbox: Sandbox) -> None:
    with sandbox.start("--", "sh", "-c", SCRIPT) as running:
        plugin = _plugin_pid(running.read_until("plugin: is healthy", stderr=True))
        running.read_until("up")
        sandbox.wait_committed(running)
        running.send(signal.SIGKILL)
        assert running.end()[0] == -signal.SIGKILL
    wait_gone([plugin])


def test_nothing_is_left_of_a_run_that_is_killed_together_with_its_plugin(sandbox: Sandbox) -> None:
    with sandbox.start("--", "sh", "-c", SCRIPT) as running:
        plugin = _plugin_pid(running.read_until("plugin: is healthy", stderr=True))
        running.read_until("up")
        sandbox.wait_committed(running)
        running.send(signal.SIGSTOP)  # or it would start another plugin
        os.kill(plugin, signal.SIGKILL)
        running.send(signal.SIGKILL)
        assert running.end()[0] == -signal.SIGKILL


@pytest.mark.parametrize("moment", ["runs as pid", "is healthy", "runs (started"])
def test_nothing_is_left_whenever_the_run_is_killed(sandbox: Sandbox, moment: str) -> None:
    with sandbox.start("--", "sleep", "1000") as running:
        running.read_until(moment, stderr=True)
        running.send(signal.SIGKILL)
        assert running.end()[0] == -signal.SIGKILL
