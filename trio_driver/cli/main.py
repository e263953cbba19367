"""The entry of the console script: plugin, fork server, or command line.

Rules:
- This module imports nothing that takes time; each of the three imports its own.

Must not know: what any of them does.
"""

import os
import sys
from collections.abc import Mapping, Sequence

COOKIE_NAME = "NOMAD_PLUGIN_MAGIC_COOKIE"
"""An agent sets it for its plugins (nomad-protocol §1.1); the plugin checks the value."""

SPAWNER_ARGUMENT = "spawner"
"""The plugin starts its fork server as this program with this first argument."""


def is_plugin(arguments: Sequence[str], environ: Mapping[str, str]) -> bool:
    """Whether an agent, or a plugin of ours, started this program with `arguments`."""
    if arguments:
        return arguments[0] == SPAWNER_ARGUMENT
    return COOKIE_NAME in environ


def main() -> None:
    """Run as what this process was started for; ends the process with its exit code."""
    if is_plugin(sys.argv[1:], os.environ):
        from trio_driver.drivers import TrioDriver
        from trio_driver.sdk import main as driver_main

        driver_main(TrioDriver)
    else:
        from trio_driver.cli.commands import run_command_line

        sys.exit(run_command_line(sys.argv[1:]))


if __name__ == "__main__":
    main()
