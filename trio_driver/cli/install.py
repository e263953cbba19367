"""`trio-driver install`: this program where an agent looks for plugins, and what to tell the agent.

The agent takes an executable file, or a link to one, out of its `plugin_dir`, if its configuration
has a `plugin` block with the file's name; it executes it as root. A link keeps the file's own
interpreter, so that a program in a virtual environment stays what it is.

Rules:
- All is checked before anything is changed, by starting the program as an agent does, too: one bad
  file in `plugin_dir` keeps an agent from starting.
- What is there and is not ours is never replaced.

Source: nomad-protocol §2.1, §2.3.
"""

import os
import sys
from pathlib import Path

import trio

from trio_driver import hcl
from trio_driver.cli.driver import identify_plugin
from trio_driver.cli.errors import CommandError, RunError
from trio_driver.cli.run_options import own_command
from trio_driver.cli.trust import weakness
from trio_driver.drivers import TrioDriver
from trio_driver.goplugin import HandshakeError, open_plugin
from trio_driver.sdk import config_types
from trio_driver.state import default_path

PROGRAM = "trio-driver"

CHECK_LIMIT_S = 60.0
"""For the program to start, answer and end; 0.5 s on an idle host."""

AGENT_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
}
"""What a service has: nothing of the shell that installs."""


class InstallError(CommandError):
    """The link cannot be made; the text says what to change."""


def install_program(plugin_dir: str, *, name: str, is_dry_run: bool) -> int:
    """Link this program into `plugin_dir` as `name`, and print the block to paste; returns the exit
    code.

    The block goes to stdout, all else to stderr.

    Raises:
        InstallError: something is in the way, or would let others change what the agent executes.
    """
    program = own_program()
    directory = _checked_directory(plugin_dir)
    link = directory / _checked_name(name)
    is_there = _is_installed(link, program)
    if os.geteuid() == 0:
        _check_program(program)
    _say(f"checked: {program} answers an agent: {identity_of(program)}")
    if is_there:
        _say(f"unchanged: {link} is this program already")
    elif is_dry_run:
        _say(f"would make: {link} -> {program}")
    else:
        _make_link(link, program)
        _say(f"made: {link} -> {program}")
    _say("the agent's configuration needs this; it is read at the agent's start:\n")
    print(plugin_block(name, directory))
    return 0


def own_program() -> Path:
    """The file that is this program: an installed console script.

    Raises:
        InstallError: there is none.
    """
    command = own_command(sys.argv[0])
    script = Path(command[0]) if len(command) == 1 else Path(sys.executable).with_name(PROGRAM)
    if not os.access(script, os.X_OK):
        raise InstallError(
            f"install: there is no {script} to link to; install the package (pip install), and run "
            f"its {PROGRAM}"
        )
    return script


def _checked_name(name: str) -> str:
    if not name or "/" in name or name.startswith(".") or name.endswith(".exe"):
        raise InstallError(
            f'install: --name "{name}": accepted is a file name that does not begin with "." or '
            'end with ".exe"'
        )
    return name


def _checked_directory(plugin_dir: str) -> Path:
    path = Path(os.path.abspath(plugin_dir))
    try:
        if not path.is_dir():
            problem = "is no directory" if path.exists() else "does not exist"
            raise InstallError(
                f"install: {path} {problem}; it is the plugin_dir of the agent's configuration, "
                f"DATA_DIR/plugins by default; to make it: install -d -m 755 {path}"
            )
        problem = weakness(path)
    except OSError as error:
        raise InstallError(f"install: {path}: {error.strerror}") from None
    if problem is not None:
        raise InstallError(
            f"install: what is in {path} is executed by the agent, and {problem}; "
            "make it root's alone (chown root:root, chmod go-w)"
        )
    return path


def _is_installed(link: Path, program: Path) -> bool:
    """Whether `link` is there and is this program.

    Raises:
        InstallError: something else is there.
    """
    if not os.path.lexists(link):
        return False
    if link.is_symlink() and (Path(os.readlink(link)) == program or link == program):
        return True
    if link.is_symlink():
        what = f"a link to {os.readlink(link)}" + (
            "" if link.exists() else ", which does not exist"
        )
    else:
        what = "a directory" if link.is_dir() else "a file"
    raise InstallError(
        f"install: {link} is {what}, not a link to {program}; remove it first (rm {link}), or choose "
        "another --name"
    )


def _check_program(program: Path) -> None:
    """Refuse to let root execute what others can change.

    Raises:
        InstallError: it names the place.
    """
    package = Path(__file__).parents[1]
    places = [program, Path(sys.executable), package, *filter(Path.exists, map(Path, sys.path[1:]))]
    for place in places:
        try:
            problem = weakness(place)
        except OSError as error:
            raise InstallError(f"install: {place}: {error.strerror}") from None
        if problem is not None:
            raise InstallError(
                f"install: the agent would execute {program} as root, which uses {place}, and "
                f"{problem}; install the package where only root can write: "
                "python3 -m venv /opt/trio-driver && /opt/trio-driver/bin/pip install trio_driver"
            )


def identity_of(program: Path) -> str:
    """Name and version that the program tells an agent, started in a service's environment.

    Raises:
        RunError: it does not start as a plugin.
    """

    async def ask() -> str:
        with trio.fail_after(CHECK_LIMIT_S):
            async with open_plugin([str(program)], env=AGENT_ENVIRONMENT) as client:
                name, version, _ = await identify_plugin(client)
                return f"driver {name}, version {version}"

    try:
        return trio.run(ask)
    except (HandshakeError, OSError, trio.TooSlowError) as error:
        raise RunError(f"install: {program} does not start as a plugin: {error}") from None


def _make_link(link: Path, program: Path) -> None:
    try:
        link.symlink_to(program)
    except OSError as error:
        raise InstallError(f"install: {link} cannot be made: {error.strerror}") from None


def plugin_block(name: str, directory: Path) -> str:
    """What an agent's configuration needs, every option with its default as a comment."""
    lines = [
        line if line.startswith("#") else f"# {line}"
        for line in hcl.example(config_types(TrioDriver)[0]).splitlines()
    ]
    options = "".join(f"    {line}\n" for line in lines)
    options = options.replace('state_dir = ""', f'state_dir = "{default_path()}"')
    return (
        f'# plugin_dir = "{directory}"   # unless it is there already\n\n'
        f'plugin "{name}" {{\n  config {{\n{options}  }}\n}}'
    )


def _say(text: str) -> None:
    print(text, file=sys.stderr)
