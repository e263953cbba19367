"""The contract of a Nomad driver, checked against a running plugin: ours, yours, or one in Go.

    async def test_my_driver():
        await check_driver(MyDriver, stays={"command": "sleep", "args": ["1000"]}, ends={"command": "true"})

`python -m trio_driver.testing.contract PLUGIN --stays '{…}' --ends '{…}'` prints every claim with its
verdict, for a plugin's file of any language.

Rules:
- Each claim (see `claims`) has a plugin of its own: what one breaks, the next does not see.
"""

import argparse
import inspect
import json
import os
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import trio

from trio_driver.sdk import Driver
from trio_driver.testing.claims import CLAIMS, Claim, Tasks
from trio_driver.testing.driver_host import open_driver_host
from trio_driver.testing.leaks import Snapshot, adopting, end_processes_since

CLAIM_LIMIT_S = 60.0

LEFTOVERS_LIMIT_S = 10.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """A claim, and why it does not hold; None when it does."""

    claim: str
    problem: str | None

    def __str__(self) -> str:
        return (
            f"holds  {self.claim}"
            if self.problem is None
            else f"FAILS  {self.claim}: {self.problem}"
        )


class ContractError(AssertionError):
    """The driver breaks the contract; the text has a line for each claim that fails."""


async def check_driver(
    driver: type[Driver[Any, Any]] | str | os.PathLike[str] | Sequence[str],
    *,
    stays: Mapping[str, object],
    ends: Mapping[str, object],
    plugin_config: Mapping[str, object] | None = None,
    but: Iterable[str] = (),
) -> None:
    """Check all claims on the driver.

    Args:
        driver: a class that can be imported by its name, the path of a plugin's file, or a command.
        stays: config block of a task that runs until it is stopped.
        ends: config block of a task that ends by itself, within seconds, successfully.
        plugin_config: the plugin's own `config` block.
        but: names of claims that this driver does not make.

    Raises:
        ContractError: at least one fails.
    """
    with tempfile.TemporaryDirectory(prefix="trio-driver-") as directory:
        command = command_of(driver, Path(directory))
        verdicts = [
            await judge(claim, command, Tasks(stays, ends), plugin_config or {})
            for claim in CLAIMS
            if claim.__name__ not in set(but)
        ]
    if broken := [str(verdict) for verdict in verdicts if verdict.problem is not None]:
        raise ContractError("\n".join(["the driver breaks its contract:", *broken]))


def command_of(
    driver: type[Driver[Any, Any]] | str | os.PathLike[str] | Sequence[str], directory: Path
) -> list[str]:
    """What starts the plugin; for a class, a file below `directory` that does."""
    match driver:
        case type():
            file = directory / "plugin.py"
            file.write_text(plugin_file(driver), encoding="utf-8")
            return [sys.executable, str(file)]
        case str() | os.PathLike():
            return [os.fspath(driver)]
        case _:
            return list(driver)


def plugin_file(driver: type[Driver[Any, Any]]) -> str:
    """A plugin's file for a class, which is found where it was found here."""
    paths = [os.path.abspath(path) for path in sys.path]
    return (
        f"import sys\n\nsys.path[:0] = {paths!r}\n\nimport trio_driver\n"
        f"from {driver.__module__} import {driver.__qualname__}\n\n"
        f'if __name__ == "__main__":\n    trio_driver.main({driver.__qualname__})\n'
    )


async def judge(
    claim: Claim, command: Sequence[str], tasks: Tasks, plugin_config: Mapping[str, object]
) -> Verdict:
    """Check one claim, on a plugin of its own."""
    text = (inspect.getdoc(claim) or "").partition("\n")[0].rstrip(".")
    problem: str | None = None
    with adopting():
        before = Snapshot.of_processes()
        try:
            with trio.fail_after(CLAIM_LIMIT_S):
                async with open_driver_host(command, plugin_config=plugin_config) as host:
                    await claim(host, tasks)
        except Exception as error:
            problem = describe(error)
        with trio.move_on_after(LEFTOVERS_LIMIT_S):
            await end_processes_since(before)
    return Verdict(f"{claim.__name__}: {text}", problem)


def describe(error: BaseException) -> str:
    """In one line."""
    if isinstance(error, BaseExceptionGroup):
        inner = cast("BaseExceptionGroup[BaseException]", error).exceptions
        return "; ".join(map(describe, inner))
    words = " ".join(str(error).split())
    return f"{type(error).__name__}: {words}" if words else type(error).__name__


async def report(arguments: argparse.Namespace) -> int:
    """Print each verdict as it comes; how many claims fail."""
    tasks = Tasks(json.loads(arguments.stays), json.loads(arguments.ends))
    config = json.loads(arguments.plugin_config)
    failed = 0
    for claim in CLAIMS:
        verdict = await judge(claim, arguments.plugin, tasks, config)
        failed += verdict.problem is not None
        print(verdict, flush=True)
    print(f"{len(CLAIMS) - failed} of {len(CLAIMS)} claims hold")
    return failed


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m trio_driver.testing.contract")
    parser.add_argument("plugin", nargs="+", help="the plugin's file, and its arguments")
    parser.add_argument("--stays", required=True, metavar="JSON", help="a task that stays")
    parser.add_argument("--ends", required=True, metavar="JSON", help="a task that ends")
    parser.add_argument("--plugin-config", default="{}", metavar="JSON")
    return min(1, trio.run(report, parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
