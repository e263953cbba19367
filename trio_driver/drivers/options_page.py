"""The reference page of every option, generated from the classes that declare them.

    python -m trio_driver.drivers.options_page docs/options.md

A test compares the page with what this writes. Must not know: what the options do.
"""

from __future__ import annotations

import sys
from pathlib import Path

from trio_driver import hcl
from trio_driver.drivers.trio import TrioDriver, TrioTaskConfig
from trio_driver.sdk import PluginConfig

COMMAND = "python -m trio_driver.drivers.options_page docs/options.md"

HEAD = f"""\
<!-- Generated: {COMMAND} -->

# Options of the driver `{TrioDriver.name}`

A wrong value is refused with a text that names the option, the value and what is accepted. A
duration is a text with units, such as `"90s"` or `"1h30m"`. A map may be written `x {{ ... }}` or
`x = {{ ... }}`; written twice, the later value of a key counts.
"""

TASK = """
## The `config` block of a task

```hcl
task "name" {
  driver = "trio"

  config {
    command = "/usr/bin/env"
  }
}
```

"""

PLUGIN = """
## The `config` block of the plugin

The plugin's block of the agent's configuration has the name of the file in `plugin_dir`.

```hcl
plugin "trio-driver" {
  config {
    log_level = "debug"
  }
}
```

"""


def page() -> str:
    """The page as Markdown."""
    return HEAD + TASK + hcl.reference(TrioTaskConfig) + PLUGIN + hcl.reference(PluginConfig)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(), encoding="utf-8")
