"""Early: preparing the process once, by whoever comes first.

That is the import of `trio_driver`, so that no library that is imported after it spoils the
handshake by printing (H2), or else the driver's `main()`.

Must not know: what preparing means.
"""

from __future__ import annotations

import functools
import os
import sys

from trio_driver.goplugin.handshake import NOMAD_COOKIE, NOMAD_COOKIE_NAME
from trio_driver.goplugin.process import PluginProcess, prepare_process


@functools.cache
def prepare_process_once() -> PluginProcess:
    """As `prepare_process`; the second call returns what the first one did."""
    return prepare_process()


def prepare_if_plugin() -> None:
    """Prepare the process if a Nomad agent started it as a plugin.

    The sign is the cookie, and no arguments: with arguments it may be another program of ours that
    inherited the environment; its `main()` knows.
    """
    if len(sys.argv) == 1 and os.environ.get(NOMAD_COOKIE_NAME) == NOMAD_COOKIE:
        prepare_process_once()
