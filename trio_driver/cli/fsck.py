"""`trio-driver fsck`: what is left of what no longer lives, found and, if wanted, removed.

Rules:
- Only what two looks, a moment apart, have both found is told: a run that just ends is no finding.
- Without `--repair` nothing is changed.

Must not know: what can be found.
"""

import msgspec
import trio
from rich.console import Console
from rich.text import Text

from trio_driver.cli.findings import Finding, survey
from trio_driver.cli.tasks import open_state, state_path
from trio_driver.state import RecordError, StateDirectory, StuckError

BETWEEN_LOOKS_S = 0.5
"""A plugin or spawner that lives settles what a death leaves within some ten milliseconds."""


class FindingView(msgspec.Struct, frozen=True, kw_only=True):
    """A finding as it is printed. `result` is None when no repair was asked for."""

    kind: str
    what: str
    why: str
    repair: str
    is_repairable: bool
    result: str | None = None
    is_left: bool = True


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All of it."""

    state_dir: str
    runs: int
    findings: tuple[FindingView, ...]


def check(state_dir: str | None, *, repairs: bool, as_json: bool) -> int:
    """Compare, print, and repair; returns the exit code: 1 when anything is left to be done.

    Raises:
        RunError: the state directory is not this user's alone.
    """
    state = open_state(state_dir, "fsck") or StateDirectory(state_path(state_dir))
    findings = trio.run(_look_twice, state, repairs)
    report = Report(
        state_dir=str(state.path), runs=len(list(state.runs())), findings=tuple(findings)
    )
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(report)).decode())
    else:
        _show(report, repairs=repairs)
    return 1 if any(finding.is_left for finding in findings) else 0


async def _look_twice(state: StateDirectory, repairs: bool) -> list[FindingView]:
    before = {finding.key for finding in survey(state)}
    if before:
        await trio.sleep(BETWEEN_LOOKS_S)
    findings = [finding for finding in survey(state) if finding.key in before]
    return [await _repaired(finding) if repairs else _view(finding) for finding in findings]


def _view(finding: Finding, result: str | None = None, *, is_left: bool = True) -> FindingView:
    return FindingView(
        kind=finding.kind,
        what=finding.what,
        why=finding.why,
        repair=finding.cure,
        is_repairable=finding.fix is not None,
        result=result,
        is_left=is_left,
    )


async def _repaired(finding: Finding) -> FindingView:
    if finding.fix is None:
        return _view(finding, "left alone")
    try:
        is_done = await finding.fix()
    except (StuckError, RecordError, OSError) as error:
        return _view(finding, f"not repaired: {error}")
    return _view(finding, "repaired" if is_done else "in use by now: left alone", is_left=False)


def _show(report: Report, *, repairs: bool) -> None:
    console = Console(highlight=False, soft_wrap=True)
    count = len(report.findings)
    runs = f"{report.runs} run{'' if report.runs == 1 else 's'}"
    if not count:
        console.print(Text(f"{report.state_dir}: {runs}, nothing to repair"))
        return
    console.print(Text(f"{report.state_dir}: {runs}, {count} finding{'' if count == 1 else 's'}"))
    for finding in report.findings:
        console.print(Text.assemble("\n", (finding.kind, "bold yellow"), f"  {finding.what}"))
        console.print(Text(f"  why     {finding.why}"))
        console.print(Text(f"  repair  {finding.repair}"))
        if finding.result is not None:
            style = "bold red" if finding.is_left else "green"
            console.print(Text.assemble("  done    ", (finding.result, style)))
    if not repairs and any(finding.is_repairable for finding in report.findings):
        console.print(Text("\nNothing was changed; --repair does what stands beside `repair`."))
