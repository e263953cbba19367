"""What is printed of a host when its test has failed."""

from collections.abc import Iterable
from pathlib import Path

from .family import Family
from .plugin import RunningPlugin


def print_logs(plugins: Iterable[RunningPlugin], state_dir: Path, family: Family) -> None:
    """The logs of plugins, spawners and executors, and the processes that there are."""
    for plugin in plugins:
        for record in plugin.log:
            level, said = record.level, f"{record.message} {record.fields}"
            print(f"plugin {plugin.process.pid}: {level} {said}")
    for path in [*state_dir.glob("spawner-*.log"), *state_dir.glob("runs/*/log")]:
        print(f"{path}:\n{path.read_text(errors='replace')}")
    print(f"processes:\n{family.listing()}")
