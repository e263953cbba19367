"""go-plugin: both halves of the protocol between a Nomad agent and its plugins.

`serve_plugin` is the plugin's half, `open_plugin` and `reattach` are the agent's. Each is usable
alone; together they test each other, and the second one drives plugins written in Go as well.
"""

from trio_driver.goplugin.child import PipeHeldError
from trio_driver.goplugin.client import PluginClient, open_plugin, reattach
from trio_driver.goplugin.early import prepare_if_plugin, prepare_process_once
from trio_driver.goplugin.handshake import (
    NOMAD_COOKIE_NAME,
    CookieError,
    Handshake,
    HandshakeError,
    PluginEnvironment,
    host_environment,
)
from trio_driver.goplugin.hclog import LINE_LIMIT_BYTES, Level, LogReader, LogRecord, encode_record
from trio_driver.goplugin.listener import stale_sockets
from trio_driver.goplugin.log_handler import TRACE, HclogHandler
from trio_driver.goplugin.process import PluginProcess, prepare_process
from trio_driver.goplugin.reattach import ReattachConfig, ReattachError
from trio_driver.goplugin.server import serve_plugin

__all__ = [
    "LINE_LIMIT_BYTES",
    "NOMAD_COOKIE_NAME",
    "TRACE",
    "CookieError",
    "Handshake",
    "HandshakeError",
    "HclogHandler",
    "Level",
    "LogReader",
    "LogRecord",
    "PipeHeldError",
    "PluginClient",
    "PluginEnvironment",
    "PluginProcess",
    "ReattachConfig",
    "ReattachError",
    "encode_record",
    "host_environment",
    "open_plugin",
    "prepare_if_plugin",
    "prepare_process",
    "prepare_process_once",
    "reattach",
    "serve_plugin",
    "stale_sockets",
]
