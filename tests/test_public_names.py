"""The public names of each package, literally: a change of one is a change of this list, seen in review.

An author's driver depends on those of `trio_driver`; the others are front doors within the house.
"""

import importlib
import pkgutil

import pytest

import trio_driver

PUBLIC_NAMES: dict[str, list[str]] = {
    "trio_driver": [
        "Capabilities",
        "ConfigInvalidError",
        "Driver",
        "DriverError",
        "Exited",
        "Fingerprint",
        "Health",
        "LaunchError",
        "Lost",
        "PluginConfig",
        "Signaled",
        "Struct",
        "Task",
        "TaskExit",
        "TaskOptions",
        "TaskSpec",
        "Workload",
        "main",
    ],
    "trio_driver.rpc": [
        "MAX_MESSAGE_BYTES",
        "Channel",
        "ClientCall",
        "RpcError",
        "Server",
        "ServerCall",
        "Servicer",
        "Status",
        "StatusCode",
        "open_channel",
        "open_unix_channel",
    ],
    "trio_driver.hcl": [
        "ConfigError",
        "Duration",
        "Problem",
        "Struct",
        "decode",
        "doc",
        "encode",
        "example",
        "reference",
        "spec_of",
    ],
    "trio_driver.model": [
        "Capabilities",
        "Compute",
        "ConfigInvalidError",
        "DeniedIds",
        "DriverError",
        "ExecutorLostError",
        "Exited",
        "FenceHeldError",
        "Fingerprint",
        "Health",
        "LaunchError",
        "Lost",
        "Resources",
        "Signaled",
        "TaskEvent",
        "TaskExit",
        "TaskNotFoundError",
        "TaskOptions",
        "TaskSpec",
        "allowed_env",
        "describe_exit",
        "exit_result",
        "resources_of",
        "shell_status",
        "task_spec",
        "timestamp_of",
        "wait_task_response",
    ],
    "trio_driver.linux": [
        "TEMPORARY_SUFFIX",
        "Credentials",
        "ForeignLockError",
        "NotAFifoError",
        "ProcessId",
        "ReservedRecord",
        "UnknownSignalError",
        "UserNotFoundError",
        "boot_id",
        "cgroup",
        "children_of",
        "close_all_except",
        "descendants_of",
        "fd_count",
        "fds",
        "files",
        "fork_into",
        "has_ended",
        "identify",
        "is_alive",
        "is_pipe_full",
        "listen_unix",
        "lock_owner",
        "locks",
        "lookup",
        "open_beneath",
        "open_fifo_reader",
        "open_fifo_writer",
        "open_pidfd",
        "parent_of",
        "prctl",
        "process",
        "queued_bytes",
        "reserve_record",
        "set_child_subreaper",
        "set_name",
        "set_no_new_privs",
        "set_parent_death_signal",
        "signal_pidfd",
        "signals",
        "signum_of",
        "try_lock",
        "user",
        "wait_pidfd",
        "write_atomic",
        "write_once",
    ],
    "trio_driver.goplugin": [
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
    ],
    "trio_driver.spawner": [
        "ProcessLimits",
        "RunExecutor",
        "SpawnError",
        "SpawnRequest",
        "SpawnedExecutor",
        "Spawner",
        "build_id",
        "remove_stale_files",
        "run_spawner",
    ],
    "trio_driver.state": [
        "KILL_LIMIT_S",
        "LOST_REASON",
        "CommitRecord",
        "ContainmentRecord",
        "EventRecord",
        "ExecutorRecord",
        "ExitRecord",
        "Fence",
        "RecordError",
        "Remains",
        "Run",
        "RunState",
        "StateDirectory",
        "StateDirectoryError",
        "StuckError",
        "Tier",
        "default_path",
        "destroy_run",
        "end_run",
        "fence_name",
        "fence_owner",
        "find_state_directory",
        "kill_containment",
        "kill_fence_owner",
        "kill_run",
        "open_free_fence",
        "open_state_directory",
        "read_executor_or_none",
        "remove_free_fence",
        "remove_free_fences",
        "scope_name",
        "settle_run",
    ],
    "trio_driver.executor": [
        "OpenExecutor",
        "ProcessSampler",
        "TaskBody",
        "TaskRun",
        "Workload",
        "ask_executor",
        "credentials_of",
        "follow_stats",
        "host_tier",
        "open_executor",
        "rehearse",
        "run_executor",
    ],
    "trio_driver.sdk": [
        "PLUGIN_NAME",
        "Driver",
        "PluginConfig",
        "Task",
        "config_types",
        "main",
    ],
    "trio_driver.drivers": [
        "TrioDriver",
    ],
}

WITHOUT_NAMES = {"trio_driver._proto", "trio_driver.cli"}
"""Generated modules, imported one by one; and a program, which nobody imports."""


def test_every_package_is_listed() -> None:
    packages = {
        f"trio_driver.{module.name}"
        for module in pkgutil.iter_modules(trio_driver.__path__)
        if module.ispkg
    }
    assert packages == (PUBLIC_NAMES.keys() | WITHOUT_NAMES) - {"trio_driver"}


@pytest.mark.parametrize("package", PUBLIC_NAMES)
def test_the_public_names_are_these(package: str) -> None:
    assert importlib.import_module(package).__all__ == PUBLIC_NAMES[package]


@pytest.mark.parametrize("package", PUBLIC_NAMES)
def test_every_public_name_exists(package: str) -> None:
    module = importlib.import_module(package)
    assert [name for name in PUBLIC_NAMES[package] if not hasattr(module, name)] == []


@pytest.mark.parametrize("package", sorted(WITHOUT_NAMES))
def test_other_packages_have_no_public_names(package: str) -> None:
    assert not hasattr(importlib.import_module(package), "__all__")
