"""A task as `run` sees it."""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Generic, TypeVar

import msgspec

from trio_driver.executor import TaskRun, Workload
from trio_driver.model import TaskSpec

TaskConfigT = TypeVar("TaskConfigT", bound=msgspec.Struct)


class Task(Generic[TaskConfigT]):
    """One run of one task, in its executor."""

    def __init__(self, config: TaskConfigT, task_run: TaskRun) -> None:
        self.config = config
        """The task's `config` block."""
        self.spec: TaskSpec = task_run.spec
        """What Nomad says of the task: ids, directories, environment, user, resources."""
        self._task_run = task_run

    @property
    def main(self) -> Workload | None:
        """The first workload that was opened; signals go to it."""
        return self._task_run.main

    def open_workload(
        self,
        command: str,
        *args: str,
        env: Mapping[str, str] | None = None,
        work_dir: str = "",
        oom_score_adj: int = 0,
    ) -> AbstractAsyncContextManager[Workload]:
        """Run a command for the length of the block, as the task's user, within its limits, writing
        to its logs.

        Args:
            command: a path, or a name that is looked for in the task's directory and then in the
                agent's PATH.
            env: instead of the environment that Nomad gives the task.
            work_dir: absolute; the task's directory by default.
            oom_score_adj: -1000 to 1000; how eager the kernel is to kill it when memory is short.

        Raises:
            LaunchError: a step failed; it names the step and the value.

        If cancelled, or left in any other way, the command and its process group are killed and
        reaped.
        """
        return self._task_run.open_workload(
            command, args, env=env, work_dir=work_dir, oom_score_adj=oom_score_adj
        )

    def started(self) -> None:
        """Let StartTask answer now. For a task that runs no workload, or is ready only some time
        after its first."""
        self._task_run.mark_started()

    async def write_stdout(self, text: str) -> None:
        """Write to the task's stdout log; waits while the log reader is behind."""
        await self._task_run.write_stdout(text.encode())

    def tell(self, message: str, **annotations: str) -> None:
        """Tell the operator something: a line in `nomad alloc status`."""
        self._task_run.tell(message, annotations)

    def end(self) -> None:
        """End the task now, as if it had been stopped: `run` is cancelled."""
        self._task_run.end("the task ended itself")
