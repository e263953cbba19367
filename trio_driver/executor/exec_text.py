"""What execve(2) can take of a job's texts: none with a NUL in it, and an environment of `name=value`.

Texts in errors are names of options and variables: a variable's value may be a secret.
"""

from collections.abc import Mapping, Sequence

from trio_driver.model import LaunchError


def check_texts(**options: str | Sequence[str]) -> None:
    """Refuse a text that the kernel would cut short.

    Raises:
        LaunchError: an option has a NUL in it; it is named.
    """
    for option, value in options.items():
        if any("\0" in text for text in ([value] if isinstance(value, str) else value)):
            raise LaunchError(option, "", "must not contain NUL")


def exec_environ(env: Mapping[str, str]) -> dict[str, str]:
    """`env` as a process will read it: a name ends at its first `=`, wherever the job put that one.

    Raises:
        LaunchError: a variable has no name, or a NUL in it.
    """
    environ: dict[str, str] = {}
    for name, value in env.items():
        if "\0" in name or "\0" in value:
            raise LaunchError("env", name.replace("\0", ""), "must not contain NUL")
        bare, separator, rest = name.partition("=")
        if not bare:
            raise LaunchError("env", name, "a variable needs a name")
        environ[bare] = f"{rest}={value}" if separator else value
    return environ
