"""The driver under test, installed as an operator does it: one symlink, one `plugin` block.

`TRIO_DRIVER_TEST_DRIVER=raw_exec` runs the same jobs with Nomad's own driver instead: it tells a
fault of these tests, or a property of Nomad, from a fault of ours.
"""

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

PLUGIN_FILE = "trio-driver"
"""The file's name in `plugin_dir`; the `plugin` block must have the same."""

DRIVER = os.environ.get("TRIO_DRIVER_TEST_DRIVER", "trio")
"""The `driver` of all jobs here."""

IS_OURS = DRIVER == "trio"

ours_only = pytest.mark.skipif(not IS_OURS, reason="about processes or texts of ours")
"""For tests that make no sense with a driver of Nomad's."""

PROJECT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class PluginConfig:
    """What stands in the plugin's `config` block besides `state_dir`, as HCL by name."""

    options: dict[str, str] = field(default_factory=dict[str, str])

    def hcl(self, state_dir: Path) -> str:
        """The whole `plugin` block of the agent's configuration."""
        options = (
            {"state_dir": f'"{state_dir}"', **self.options} if IS_OURS else {"enabled": "true"}
        )
        lines = "\n".join(f"    {name} = {value}" for name, value in options.items())
        return f'plugin "{PLUGIN_FILE if IS_OURS else DRIVER}" {{\n  config {{\n{lines}\n  }}\n}}\n'


def install(plugin_dir: Path, script_dir: Path) -> None:
    """Link the console script into `plugin_dir`; nothing to do for a driver of Nomad's own."""
    if IS_OURS:
        (plugin_dir / PLUGIN_FILE).symlink_to(_console_script(script_dir))


def _console_script(script_dir: Path) -> Path:
    """The console script of this environment, or one like it where the project is not installed."""
    installed = Path(sys.executable).parent / PLUGIN_FILE
    if installed.exists():
        return installed
    script = script_dir / PLUGIN_FILE
    script.write_text(
        f"#!{sys.executable}\nimport sys\n\nsys.path.insert(0, {str(PROJECT)!r})\n"
        "from trio_driver.cli.main import main\n\n"
        "if __name__ == '__main__':\n    sys.exit(main())\n"
    )
    script.chmod(0o755)
    return script
