"""What may go wrong with a task, typed, each with the text that its user needs.

Rules:
- An error is raised once, where it is found, and logged once, at the RPC edge.
- `recoverable` decides whether Nomad's restart policy may try again: false for what only a change
  of the job or of the host can cure, true for what another attempt may find gone.
"""

import os


class DriverError(Exception):
    """A failure that the user of the driver can understand; its text goes to Nomad as it is."""

    recoverable = False


class ConfigInvalidError(DriverError):
    """The job or the plugin configuration holds a value that is not accepted."""


class LaunchError(DriverError):
    """A step between fork and exec, or one that prepares it, failed.

    The text names the step and the value, as in `work_dir "/nope": No such file or directory`.
    """

    def __init__(self, step: str, value: str, reason: str, *, recoverable: bool = False) -> None:
        super().__init__(f'{step} "{value}": {reason}' if value else f"{step}: {reason}")
        self.step = step
        self.value = value
        self.reason = reason
        self.recoverable = recoverable

    @classmethod
    def from_errno(cls, step: str, value: str, number: int) -> "LaunchError":
        """The same for a system call that failed with errno `number`."""
        return cls(step, value, os.strerror(number))


class FenceHeldError(DriverError):
    """Another executor of the same (allocation, task) holds the fence and does not end."""

    recoverable = True


class ExecutorLostError(DriverError):
    """The executor ended, or stopped answering, before it did what it was asked."""

    recoverable = True


class NotRunningError(DriverError):
    """The task has ended, or is about to."""


class TaskNotFoundError(DriverError):
    """No record of this task id exists."""

    def __init__(self, task_id: str) -> None:
        super().__init__(f"task not found: no record of {task_id!r}")
