"""The failures that end a command with one line instead of a traceback."""


class CommandError(Exception):
    """The text is all its user needs; `exit_code` is what the shell sees."""

    exit_code = 1


class JobError(CommandError):
    """A job or option cannot be used as it is written: names place, value and what is accepted."""

    exit_code = 2


class RunError(CommandError):
    """The plugin or a task could not be started, or was lost."""
