"""Figures: many measurements as one line of a table.

Must not know: what was measured.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One thing that was measured many times, in `unit`."""

    name: str
    unit: str
    values: Sequence[float]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    def percentile(self, percent: int) -> float:
        """The value that `percent` of all values do not exceed (nearest rank)."""
        ranked = sorted(self.values)
        return ranked[max(0, -(-len(ranked) * percent // 100) - 1)]

    def __str__(self) -> str:
        low, high = self.percentile(10), self.percentile(90)
        return f"{self.median:.2f} {self.unit} ({low:.2f} to {high:.2f}; {len(self.values)} runs)"


def table(rows: Sequence[tuple[Figure, Figure | None]]) -> str:
    """A Markdown table of ours, theirs and the ratio of the medians."""
    lines = ["| | trio: median (p10 to p90) | raw_exec | ratio |", "|---|---|---|---|"]
    for ours, theirs in rows:
        other = str(theirs) if theirs else "-"
        ratio = f"{ours.median / theirs.median:.2f}" if theirs and theirs.median else "-"
        lines.append(f"| {ours.name} | {ours} | {other} | {ratio} |")
    return "\n".join(lines)
