"""What the two processes of a driver's file import."""

import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]


def test_what_executors_are_forked_from_has_no_transport() -> None:
    program = "import sys, trio_driver.drivers, trio_driver.sdk; print(*sys.modules, sep='\\n')"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    modules = set(done.stdout.split())
    assert "trio_driver.executor" in modules
    assert not modules & {"purerpc", "h2", "anyio", "trio_driver.rpc", "trio_driver.goplugin"}
