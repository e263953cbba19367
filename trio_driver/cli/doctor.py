"""`trio-driver doctor`: what this host can guarantee, tried for real, and what to change for more.

Must not know: how anything is tried.
"""

import os
from collections.abc import Mapping

import msgspec
from rich.console import Console
from rich.text import Text

from trio_driver.cli.guarantees import Guarantee, all_guarantees
from trio_driver.cli.tasks import state_path
from trio_driver.executor import host_tier

STYLES: Mapping[str, str] = {"yes": "green", "partly": "yellow", "no": "bold red"}


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True):
    """All of it. `containment` is the node attribute `driver.trio.containment`."""

    containment: str
    uid: int
    kernel: str
    state_dir: str
    guarantees: tuple[Guarantee, ...]


def diagnose(state_dir: str | None, *, as_json: bool) -> int:
    """Try everything and print it; returns the exit code: 1 when no task can run on this host."""
    path = state_path(state_dir)
    containment = host_tier().value
    console = Console(highlight=False, soft_wrap=True)
    if not as_json:
        console.print(
            Text(f"containment {containment}, Linux {os.uname().release}, uid {os.geteuid()}")
        )
    guarantees: list[Guarantee] = []
    for guarantee in all_guarantees(path):
        guarantees.append(guarantee)
        if not as_json:
            _show(console, guarantee)
    if as_json:
        diagnosis = Diagnosis(
            containment=containment,
            uid=os.geteuid(),
            kernel=os.uname().release,
            state_dir=str(path),
            guarantees=tuple(guarantees),
        )
        print(msgspec.json.format(msgspec.json.encode(diagnosis)).decode())
    return 1 if any(_is_fatal(each) for each in guarantees) else 0


def _is_fatal(guarantee: Guarantee) -> bool:
    return guarantee.is_essential and guarantee.outcome == "no"


def _show(console: Console, guarantee: Guarantee) -> None:
    outcome = (f"{guarantee.outcome:<7}", STYLES[guarantee.outcome])
    note = ("  (without it no task can run)", "bold red") if _is_fatal(guarantee) else ""
    console.print(Text.assemble(outcome, (guarantee.promise, "bold"), note))
    console.print(Text(f"       {guarantee.why}"))
    if guarantee.change:
        console.print(Text.assemble("       ", ("change: ", "bold"), guarantee.change))
