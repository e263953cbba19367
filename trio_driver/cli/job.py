"""A job as this program runs it: frozen values.

Names that only the node knows (`${NOMAD_META_x}`) stay in their texts until a task is built.

Must not know: where a job came from, the plugin, the protocol, directories.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from trio_driver.cli.errors import JobError
from trio_driver.cli.values import Plain, UnresolvedError, escape, substitute

DEFAULT_CPU_MHZ = 100
DEFAULT_MEMORY_MIB = 300
"""What Nomad gives a task without a `resources` block."""

DEFAULT_KILL_TIMEOUT_S = 5.0
"""Source: nomad-protocol §4.8."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A text of the job that may name what only the node knows, and where it stands."""

    place: str
    text: str

    def resolved(self, variables: Mapping[str, str]) -> str:
        """The text with every `${name}` replaced.

        Raises:
            JobError: there is no such name.
        """
        try:
            return substitute(self.text, variables)
        except UnresolvedError as error:
            raise JobError(f"{self.place}: {error}") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What a task asks for; `memory_max_mib` 0: not said, -1: no limit."""

    cpu_mhz: int = DEFAULT_CPU_MHZ
    memory_mib: int = DEFAULT_MEMORY_MIB
    memory_max_mib: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One task of a group.

    `driver` is empty when any will do. `config` is in the form that Nomad's own parser produces.
    `fixed_env` wins over `env` and is used as it is.
    """

    name: str
    place: str
    driver: str = ""
    config: Mapping[str, Plain] = field(default_factory=dict[str, Plain])
    env: Mapping[str, Setting] = field(default_factory=dict[str, Setting])
    fixed_env: Mapping[str, str] = field(default_factory=dict[str, str])
    meta: Mapping[str, Setting] = field(default_factory=dict[str, Setting])
    user: Setting | None = None
    resources: Resources = Resources()
    kill_signal: str = ""
    kill_timeout_s: float = DEFAULT_KILL_TIMEOUT_S
    logs: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Tasks that run together; `meta` includes the job's."""

    name: str
    tasks: tuple[Task, ...]
    meta: Mapping[str, Setting] = field(default_factory=dict[str, Setting])


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job; `warnings` says what of it has no effect here."""

    id: str
    name: str
    groups: tuple[Group, ...]
    type: str = "service"
    namespace: str = "default"
    region: str = "global"
    datacenter: str = "dc1"
    warnings: tuple[str, ...] = ()


def command_job(command: str, arguments: list[str]) -> Job:
    """The job of one task that runs `command`, for any driver that takes `command` and `args`."""
    name = command.rstrip("/").rpartition("/")[2] or "task"
    config: dict[str, Plain] = {"command": escape(command)}
    if arguments:
        config["args"] = [escape(argument) for argument in arguments]
    task = Task(name=name, place="the command line", config=config)
    group = Group(name=name, tasks=(task,))
    return Job(id=name, name=name, type="batch", groups=(group,))
