"""What the model of a task's lifetime is made of: mechanisms, runs, and everything at one moment.

Must not know: what happens next; see `lifecycle`.
"""

import enum
from dataclasses import dataclass, replace

RUNS = 2
"""Most runs of the task: the second one shows what the first can do to it."""


class Mechanism(enum.Enum):
    """What keeps the promise. `--without` takes its value."""

    FENCE = "fence"
    """No executor makes anything before it holds the lock of its task."""
    COMMIT_AFTER_REPLY = "commit-after-reply"
    """A run is committed only when Nomad has the handle."""
    LEASE = "lease"
    """A provisional executor ends when the connection to its plugin does."""
    SPAWNER_WATCH = "spawner-watch"
    """The spawner ends what a dead executor leaves, and a provisional executor that is too stuck to
    notice the end of its plugin."""
    PLUGIN_WATCH = "plugin-watch"
    """The plugin sees the end of every executor that Nomad has the handle of."""
    PARENT_DEATH_SIGNAL = "parent-death-signal"
    """The kernel kills the main process with its executor."""
    SWEEP = "sweep"
    """A plugin or a spawner that starts ends what dead executors left."""
    RECORD_FIRST = "record-first"
    """What must be known to end a run is on disk before there is anything to end."""
    SPARE_SPAWNER = "spare-spawner"
    """While tasks run, the plugin starts another spawner for one that died."""


ALL = frozenset(Mechanism)


class Executor(enum.IntEnum):
    """How far an executor is; each step is seen by others."""

    NONE = 0
    FORKED = 1
    FENCED = 2
    RECORDED = 3
    RUNNING = 4
    DEAD = 5


@dataclass(frozen=True, slots=True)
class Run:
    """One run: its executor, its workload, and what is on disk."""

    executor: Executor = Executor.NONE
    is_stopped: bool = False
    starter_lives: bool = True
    """Whether the plugin that asked for it does."""
    adopter_lives: bool = True
    """Whether the spawner that forked it does: the kernel gives it what a dead executor leaves."""
    main: bool = False
    stray: bool = False
    has_record: bool = False
    is_committed: bool = False
    was_told: bool = False
    """Its handle was written to the agent."""
    is_settled: bool = False
    """Its end is recorded, or it was removed."""

    @property
    def executor_lives(self) -> bool:
        return Executor.NONE < self.executor < Executor.DEAD

    @property
    def is_abandoned(self) -> bool:
        """Provisional, and whoever asked for it is gone."""
        return self.executor_lives and not self.is_committed and not self.starter_lives

    @property
    def needs_settling(self) -> bool:
        """Its executor is dead, and nobody has ended the rest."""
        return self.executor is Executor.DEAD and not self.is_settled

    def killed(self, mechanisms: frozenset[Mechanism]) -> "Run":
        """What the kernel makes of it when its executor is killed."""
        main = self.main and Mechanism.PARENT_DEATH_SIGNAL not in mechanisms
        return replace(self, executor=Executor.DEAD, is_stopped=False, main=main)

    def ended(self) -> "Run":
        """By its executor, or by somebody who can find all of it: nothing lives, the end is told."""
        return replace(
            self,
            executor=Executor.DEAD,
            is_stopped=False,
            main=False,
            stray=False,
            is_settled=True,
        )


class Start(enum.IntEnum):
    """How far StartTask is, in the plugin."""

    IDLE = 0
    ASKED = 1
    SPAWNED = 2
    REPLIED = 3


@dataclass(frozen=True, slots=True)
class State:
    """Everything, at one moment."""

    has_cgroups: bool
    mechanisms: frozenset[Mechanism]
    plugin_lives: bool = True
    spawner_lives: bool = False
    start: Start = Start.IDLE
    starting: int = 0
    """The run that is being started."""
    handle: int | None = None
    """The run whose handle Nomad has."""
    runs: tuple[Run, ...] = (Run(),) * RUNS
    faults: int = 0

    def has(self, mechanism: Mechanism) -> bool:
        return mechanism in self.mechanisms

    def with_run(self, index: int, run: Run) -> "State":
        return replace(self, runs=(*self.runs[:index], run, *self.runs[index + 1 :]))

    def plugin_watches(self, index: int) -> bool:
        """Whether a living plugin sees the end of this executor at once."""
        is_starting = self.start in (Start.SPAWNED, Start.REPLIED) and self.starting == index
        is_known = self.handle == index and self.has(Mechanism.PLUGIN_WATCH)
        return self.plugin_lives and (is_starting or is_known)

    def spawner_watches(self, index: int) -> bool:
        """Whether a living spawner does, and of a plugin that it belonged to."""
        run = self.runs[index]
        is_found = self.has(Mechanism.SWEEP) and run.has_record
        knows = run.adopter_lives or is_found
        return self.spawner_lives and self.has(Mechanism.SPAWNER_WATCH) and knows

    def is_swept(self, index: int) -> bool:
        """Whether a living plugin will find the run when it looks at the state directory."""
        return self.plugin_lives and self.has(Mechanism.SWEEP) and self.runs[index].has_record

    def can_find_workload(self, index: int) -> bool:
        """Whether what a dead executor left can be found: by its cgroup, or as the children of the
        spawner that adopted it."""
        run = self.runs[index]
        return self.has_cgroups or (self.spawner_lives and run.adopter_lives)
