"""The driver `trio`: runs a command on the host, as raw_exec does, and leaves nothing of it."""

from typing import Annotated, Literal

import msgspec

from trio_driver import hcl
from trio_driver.model import ULIMIT_NAMES, ConfigInvalidError, TaskExit, TaskOptions
from trio_driver.sdk import Driver, PluginConfig, Task

MAX_OOM_SCORE_ADJ = 1000
"""Source: proc_pid_oom_score_adj(5)."""


class TrioTaskConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The `config` block of a task."""

    command: Annotated[
        str,
        hcl.doc("Program to run: a path, or a name in the task's directory or the agent's PATH."),
    ]
    args: Annotated[list[str], hcl.doc("Arguments of the program.")] = []
    work_dir: Annotated[
        str,
        hcl.doc(
            "Directory to run in, an absolute path on the host; the task's directory by default."
        ),
    ] = ""
    oom_score_adj: Annotated[
        int,
        hcl.doc(
            "How eager the kernel is to kill the task when memory is short: 0 to 1000, the most eager."
        ),
    ] = 0
    denied_envvars: Annotated[
        list[str],
        hcl.doc(
            "Environment variables that the task does not get, beside the plugin's denied_envvars: "
            "patterns in which * stands for any text."
        ),
    ] = []
    stop: Annotated[
        list[str],
        hcl.doc(
            "How the task is asked to end, instead of by kill_signal: one signal after the other, each "
            'to "main" or to its process "group", and for how long, as in ["SIGTERM group 10s", "SIGINT '
            'main 2s"]. Then, and when kill_timeout is over, everything is killed.'
        ),
    ] = []
    stop_after_driver_loss: Annotated[
        hcl.Duration | None,
        hcl.doc(
            "Stop the task when neither plugin nor agent has looked after it for so long, at least 2s. "
            "By default it outlives both."
        ),
    ] = None
    pid_mode: Annotated[
        Literal["host", "private"],
        hcl.doc(
            "private: the task has a pid namespace and a /proc of its own, sees no other process, and "
            "the kernel ends everything in it together."
        ),
    ] = "host"
    cpu_hard_limit: Annotated[
        bool,
        hcl.doc(
            "Whether the task gets no more CPU time than its share of the node, even if the rest is idle."
        ),
    ] = False
    pids_limit: Annotated[
        int | None, hcl.doc("Most processes and threads that the task may have at a time.")
    ] = None
    ulimit: Annotated[
        dict[str, str],
        hcl.doc(
            'Limits of each process, "soft:hard" or one value for both, a number or unlimited: '
            f"{', '.join(ULIMIT_NAMES)}."
        ),
    ] = {}
    cgroup_v2_override: Annotated[
        str,
        hcl.doc(
            "An existing v2 cgroup to run below, instead of Nomad's: absolute, or below the mount. "
            "Its limits hold, the job's are not written."
        ),
    ] = ""
    cgroup_v1_override: Annotated[
        dict[str, str],
        hcl.doc(
            "Existing v1 cgroups to join, by controller, instead of Nomad's: paths below the "
            "controller's mount. Their limits hold, the job's are not written."
        ),
    ] = {}


class TrioDriver(Driver[PluginConfig, TrioTaskConfig]):
    """Runs one command as the task."""

    name = "trio"

    async def run(self, task: Task[TrioTaskConfig]) -> TaskExit:
        config = task.config
        async with task.open_workload(
            config.command,
            *config.args,
            work_dir=config.work_dir,
            oom_score_adj=config.oom_score_adj,
        ) as workload:
            return await workload.wait()

    def validate(self, config: TrioTaskConfig) -> None:
        if not config.command:
            raise ConfigInvalidError('command "" is not accepted: name a program')
        if config.work_dir and not config.work_dir.startswith("/"):
            raise ConfigInvalidError(
                f'work_dir must be an absolute path, "{config.work_dir}" is relative'
            )
        if config.oom_score_adj < 0:
            raise ConfigInvalidError(
                f"oom_score_adj must not be negative: {config.oom_score_adj} is not accepted; "
                f"expected 0 to {MAX_OOM_SCORE_ADJ}"
            )
        if config.oom_score_adj > MAX_OOM_SCORE_ADJ:
            raise ConfigInvalidError(
                f"oom_score_adj {config.oom_score_adj} is not accepted; "
                f"expected 0 to {MAX_OOM_SCORE_ADJ}"
            )

    def options(self, config: TrioTaskConfig) -> TaskOptions:
        return TaskOptions(
            cgroup_v2_override=config.cgroup_v2_override,
            cgroup_v1_override=config.cgroup_v1_override,
            stop=tuple(config.stop),
            stop_after_driver_loss_s=config.stop_after_driver_loss,
            private_pids=config.pid_mode == "private",
            cpu_hard_limit=config.cpu_hard_limit,
            pids_limit=config.pids_limit,
            ulimits=config.ulimit,
            denied_envvars=tuple(config.denied_envvars),
        )
