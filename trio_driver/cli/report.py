"""What a run tells its user: one line an event, on stderr, beside the tasks' own output.

Rules:
- Colours and times only where a person looks; elsewhere plain lines that can be searched.
- A terminal that is gone is no reason to fail: the run goes on without words.

Must not know: plugins, jobs.
"""

import enum
import time
from collections.abc import Mapping

from rich.console import Console
from rich.text import Text


class Tone(enum.Enum):
    """How a line looks; the values are rich's styles."""

    DETAIL = "dim"
    PLAIN = ""
    GOOD = "green"
    WARN = "yellow"
    BAD = "bold red"


SUBJECT_COLUMNS = 10
"""Room for the name of a task before the text; a longer one moves the text."""


class Report:
    """Lines of a run. `details` shows those of tone DETAIL, too."""

    def __init__(self, console: Console, *, details: bool = False) -> None:
        self._console = console
        self._details = details
        self._start_s = time.monotonic()

    def say(self, subject: str, text: str, *, tone: Tone = Tone.PLAIN) -> None:
        """One line about `subject`, a task's name or "plugin"."""
        if tone is Tone.DETAIL and not self._details:
            return
        line = self._person_line(subject, text, tone) if self._console.is_terminal else None
        try:
            self._console.print(line or Text(f"{subject}: {text}"), soft_wrap=True, highlight=False)
        except OSError:
            self._console.quiet = True

    def _person_line(self, subject: str, text: str, tone: Tone) -> Text:
        elapsed_s = time.monotonic() - self._start_s
        return Text.assemble(
            (f"{elapsed_s:7.2f}s  ", "dim"),
            (f"{subject:<{SUBJECT_COLUMNS}}", "bold"),
            " ",
            (text, tone.value),
        )


def join_fields(fields: Mapping[str, object]) -> str:
    """Key/value pairs after a text: ` (a=1, b=2)`; nothing when there are none."""
    text = ", ".join(f"{key}={value}" for key, value in sorted(fields.items()))
    return f" ({text})" if text else ""
