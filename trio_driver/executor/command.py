"""Which file a job's `command` names.

Rules (nomad-protocol §8.10):
- The first that exists wins: below the task's `local`, below the task's directory, the absolute
  path itself, then the agent's PATH. The task's own PATH is not used.
- Only a file of the task's own directory is made executable, and never through a link: a name in
  there is the task's to replace, and a mode is not to be changed on whatever it points to.
"""

import os
import stat

from trio_driver.linux import open_beneath
from trio_driver.model import LaunchError

EXECUTABLE = 0o555


def find_command(command: str, *, task_dir: str, path: str) -> str:
    """The absolute path of the file to execute.

    Raises:
        LaunchError: `command` is empty, or no such file exists.
    """
    if not command:
        raise LaunchError("command", command, "must not be empty")
    for candidate in (f"local/{command.lstrip('/')}", command.lstrip("/")):
        full = os.path.join(task_dir, candidate)
        if task_dir and os.path.isfile(full):
            _make_executable(task_dir, candidate)
            return full
    if os.path.isabs(command):
        if os.path.exists(command):
            return command
        raise LaunchError("command", command, "No such file or directory")
    if (found := _find_in_path(command, path)) is not None:
        return found
    raise LaunchError(
        "command", command, f"found neither in {task_dir} nor in the agent's PATH ({path})"
    )


def find_session_command(command: str, *, work_dir: str, task_dir: str, path: str) -> str:
    """The absolute path of the file that a command in a session names.

    As a shell in `work_dir` would find it, with the agent's PATH; else as the job's own command.

    Raises:
        LaunchError: `command` is empty, or no such file exists.

    Source: nomad-protocol §8.6.
    """
    if "/" in command:
        full = os.path.join(work_dir, command)
        if os.path.exists(full):
            return full
    elif command and (found := _find_in_path(command, path)) is not None:
        return found
    return find_command(command, task_dir=task_dir, path=path)


def _find_in_path(command: str, path: str) -> str | None:
    for directory in path.split(":"):
        full = os.path.join(directory or ".", command)
        if os.path.isfile(full) and os.access(full, os.X_OK):
            return os.path.abspath(full)
    return None


def _make_executable(task_dir: str, below: str) -> None:
    """Add r-x for all to a downloaded file, if it is a plain file of the task's directory; else
    leave it alone."""
    try:
        dir_fd = os.open(task_dir, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fd = open_beneath(dir_fd, below, os.O_RDONLY | os.O_NONBLOCK)
        finally:
            os.close(dir_fd)
    except (OSError, ValueError):
        return  # exec will say what is wrong with it
    try:
        status = os.fstat(fd)
        mode = stat.S_IMODE(status.st_mode)
        # A second name for the file could be one outside: hard links are left alone too.
        if (
            stat.S_ISREG(status.st_mode)
            and status.st_nlink == 1
            and mode & EXECUTABLE != EXECUTABLE
        ):
            os.fchmod(fd, mode | EXECUTABLE)
    except PermissionError:
        return
    finally:
        os.close(fd)
