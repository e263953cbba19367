"""What a driver may ask of the framework for one task, beside running its commands.

Rules:
- A combination that cannot be is refused where it is made, with a text that names option and value.
- Whether the *host* can do what is asked is found out by whoever does it: it is an error there, and
  never ignored.
"""

import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from trio_driver.model.denied import DeniedIds
from trio_driver.model.errors import ConfigInvalidError
from trio_driver.model.ulimits import parse_ulimits

MIN_DRIVER_LOSS_S = 2.0
"""A plugin that is started needs a moment to find its tasks; an agent's restart takes longer."""

MAX_PIDS = 1 << 22
"""More pids than the kernel has. Source: PID_MAX_LIMIT."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskOptions:
    """One task's; each field is also an option of the driver `trio`, under the same name.

    Raises:
        ConfigInvalidError: a value, or a combination of them, is not accepted.
    """

    cgroup_v2_override: str = ""
    """An existing v2 cgroup, absolute or below the mount: the run's own is made in it, and no limit
    is written."""
    cgroup_v1_override: Mapping[str, str] = field(default_factory=dict[str, str])
    """Existing v1 cgroups by controller, each below the controller's mount: joined instead of
    Nomad's, and no limit is written."""
    cpu_hard_limit: bool = False
    """Whether the task gets no more CPU time than its share of the node, not even idle one."""
    pids_limit: int | None = None
    """Most processes and threads that the task may have at a time."""
    ulimits: Mapping[str, str] = field(default_factory=dict[str, str])
    """Limits of each process: `{"nofile": "2048:4096", "core": "0"}`."""
    stop: tuple[str, ...] = ()
    """How the task is asked to end, rung by rung, instead of by the driver's `stop`: signal, to
    whom, how long, as in `SIGTERM group 10s`."""
    stop_after_driver_loss_s: float | None = None
    """The task is stopped when no plugin with an agent has looked after it for so many seconds."""
    private_pids: bool = False
    """Whether each workload has a pid namespace of its own, with which everything in it ends."""
    denied_envvars: tuple[str, ...] = ()
    """Patterns of variables that the task does not get; `*` stands for any text."""
    denied_ids: DeniedIds = field(default_factory=DeniedIds)
    """Filled in by the framework from the plugin's configuration."""

    def __post_init__(self) -> None:
        if self.cgroup_v2_override and self.cgroup_v1_override:
            raise ConfigInvalidError(
                "only one of cgroups_v1_override and cgroups_v2_override may be set: "
                f"cgroup_v1_override names {', '.join(self.cgroup_v1_override)}, "
                f'cgroup_v2_override is "{self.cgroup_v2_override}"'
            )
        _refuse_ways_up("cgroup_v2_override", [self.cgroup_v2_override])
        for controller, path in self.cgroup_v1_override.items():
            if not path:
                raise ConfigInvalidError(
                    f'cgroup_v1_override.{controller} "" is not accepted: name an existing cgroup'
                )
        _refuse_ways_up("cgroup_v1_override", self.cgroup_v1_override.values())
        parse_ulimits(self.ulimits)
        self._check_limits()
        loss_s = self.stop_after_driver_loss_s
        if loss_s is not None and loss_s < MIN_DRIVER_LOSS_S:
            raise ConfigInvalidError(
                f'stop_after_driver_loss "{loss_s:g}s" is not accepted; '
                f'expected "{MIN_DRIVER_LOSS_S:g}s" or more'
            )

    def _check_limits(self) -> None:
        asked = {"cpu_hard_limit": self.cpu_hard_limit, "pids_limit": self.pids_limit is not None}
        if self.has_override and any(asked.values()):
            option = next(name for name, is_asked in asked.items() if is_asked)
            raise ConfigInvalidError(
                f"{option} cannot be combined with cgroup_v1_override or cgroup_v2_override: "
                "the limits of such a cgroup are its owner's"
            )
        if self.pids_limit is not None and not 1 <= self.pids_limit <= MAX_PIDS:
            raise ConfigInvalidError(
                f"pids_limit {self.pids_limit} is not accepted; expected 1 to {MAX_PIDS}"
            )

    @property
    def has_override(self) -> bool:
        """Whether the limits are those of somebody else's cgroup."""
        return bool(self.cgroup_v2_override or self.cgroup_v1_override)


def _refuse_ways_up(option: str, paths: Iterable[str]) -> None:
    for path in paths:
        if ".." in path.split(posixpath.sep):
            raise ConfigInvalidError(
                f'{option} "{path}" is not accepted: expected the path of a cgroup without ".."'
            )
