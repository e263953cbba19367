"""Which run a word on the command line names, and the state directory that it is looked for in.

A word names a run by its task id, by the beginning of a task id (which is its allocation's id), by
`ALLOCATION/TASK` with the beginning of an allocation's id, by the name of its task, or by the name of
its directory. It must name exactly one.

Must not know: what is done with the run.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trio_driver.cli.errors import CommandError, RunError
from trio_driver.state import (
    ExecutorRecord,
    RecordError,
    Run,
    RunState,
    StateDirectory,
    StateDirectoryError,
    default_path,
    find_state_directory,
    read_executor_or_none,
)

MIN_PREFIX_CHARS = 4
"""A shorter beginning of an id is a slip of the finger."""

MAX_NAMED = 20
"""Most tasks that an error lists."""


class TaskNameError(CommandError):
    """A word names no task, or several."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class NamedRun:
    """A run, and its record if that can be read."""

    run: Run
    record: ExecutorRecord | None

    @property
    def label(self) -> str:
        """A short name for people: that of the task and the beginning of its allocation's id."""
        if self.record is None:
            return self.run.name
        return f"{self.record.task_name} {self.record.alloc_id[:8]}"

    @property
    def is_live(self) -> bool:
        """Whether its executor lives."""
        try:
            return self.run.state() in (RunState.PROVISIONAL, RunState.COMMITTED)
        except RecordError:
            return False

    def is_named(self, word: str) -> bool:
        """Whether `word` means this run, perhaps among others."""
        if word == self.run.name:
            return True
        if self.record is None:
            return False
        if word in (self.record.task_name, self.record.task_id, self.record.alloc_id):
            return True
        beginning, slash, task_name = word.partition("/")
        if len(beginning) < MIN_PREFIX_CHARS:
            return False
        if slash and task_name == self.record.task_name:
            return self.record.alloc_id.startswith(beginning)
        return self.record.task_id.startswith(word) or self.record.alloc_id.startswith(word)


def state_path(state_dir: str | Path | None) -> Path:
    """The state directory of a command's `--state-dir`."""
    return Path(state_dir) if state_dir else default_path()


def open_state(state_dir: str | Path | None, command: str) -> StateDirectory | None:
    """The state directory of a command; None when there is none. Makes nothing.

    Raises:
        RunError: it is not this user's alone.
    """
    path = state_path(state_dir)
    try:
        return find_state_directory(path)
    except StateDirectoryError as error:
        raise RunError(f"{command}: {error}{hint_of_root(path)}") from None


def hint_of_root(path: Path) -> str:
    """What an ordinary user should know who looks for root's tasks in `path`."""
    root_path = default_path(0)
    if default_path() == root_path or not root_path.exists():
        return ""
    if path == root_path:
        return " (look there as root)"
    return f" (the tasks of root's plugins are in {root_path}: look there as root)"


def named_runs(state: StateDirectory | None) -> list[NamedRun]:
    """All runs of the state directory."""
    if state is None:
        return []
    return [NamedRun(run, read_executor_or_none(run)) for run in state.runs()]


def find_run(
    word: str, runs: Sequence[NamedRun], where: Path, *, prefer_live: bool = False
) -> NamedRun:
    """The one of `runs` that `word` names.

    Args:
        where: the state directory, for the error's text.
        prefer_live: of several, take the one that lives, if there is only one.

    Raises:
        TaskNameError: it names none of them, or several.
    """
    found = [run for run in runs if run.is_named(word)]
    exact = [run for run in found if word in (run.run.name, run.record and run.record.task_id)]
    if len(exact or found) > 1 and prefer_live:
        found = [run for run in found if run.is_live] or found
    match exact or found:
        case [run]:
            return run
        case []:
            raise TaskNameError(_none_text(word, runs, where))
        case several:
            listed = _listing(several)
            raise TaskNameError(
                f'"{word}" names {len(several)} tasks; name one by more of its id, or as '
                f"ALLOCATION/TASK:{listed}"
            )


def find_all(words: Sequence[str], runs: Sequence[NamedRun], where: Path) -> list[NamedRun]:
    """The runs that `words` name, each once.

    Raises:
        TaskNameError: as `find_run`, for the first word that cannot be used.
    """
    return list(
        {run.run.name: run for run in (find_run(word, runs, where) for word in words)}.values()
    )


def _none_text(word: str, runs: Sequence[NamedRun], where: Path) -> str:
    if not runs:
        return f'no task "{word}": there are no tasks in {where}{hint_of_root(where)}'
    return f'no task "{word}" in {where}{hint_of_root(where)}; there are:{_listing(runs)}'


def _listing(runs: Sequence[NamedRun]) -> str:
    def line(run: NamedRun) -> str:
        return f"\n  {run.run.name if run.record is None else run.record.task_id}"

    more = f"\n  and {len(runs) - MAX_NAMED} more" if len(runs) > MAX_NAMED else ""
    return "".join(map(line, runs[:MAX_NAMED])) + more
