"""The program beside plugins and tasks of a test's own host."""

import subprocess
import sys
from collections.abc import Mapping

import trio

from tests.support.host import REPOSITORY, Host

from .program import LIMIT_S

PROGRAM = (sys.executable, "-m", "trio_driver.cli.main")


async def trio_driver(
    host: Host,
    command: str,
    *words: str,
    env: Mapping[str, str] | None = None,
    stdin: bytes = b"",
) -> "subprocess.CompletedProcess[str]":
    """`trio-driver COMMAND --state-dir … WORDS`, to its end."""
    with trio.fail_after(LIMIT_S):
        result = await trio.run_process(
            [*PROGRAM, command, "--state-dir", str(host.state_dir), *words],
            stdin=stdin,
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            env={**host.environ, "PYTHONPATH": str(REPOSITORY), **(env or {})},
        )
    return subprocess.CompletedProcess(
        result.args, result.returncode, result.stdout.decode(), result.stderr.decode()
    )
