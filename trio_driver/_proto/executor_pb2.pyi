# pyright: reportUnusedImport=false
from trio_driver._proto import driver_pb2 as _driver_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import Any as _Any, ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Request(_message.Message):
    __slots__ = ("start", "stop", "signal", "stats", "exec", "attach")
    START_FIELD_NUMBER: _ClassVar[int]
    STOP_FIELD_NUMBER: _ClassVar[int]
    SIGNAL_FIELD_NUMBER: _ClassVar[int]
    STATS_FIELD_NUMBER: _ClassVar[int]
    EXEC_FIELD_NUMBER: _ClassVar[int]
    ATTACH_FIELD_NUMBER: _ClassVar[int]
    start: StartRequest
    stop: StopRequest
    signal: SignalRequest
    stats: StatsRequest
    exec: ExecRequest
    attach: AttachRequest
    def __init__(self, start: _Optional[_Union[StartRequest, _Mapping[str, _Any]]] = ..., stop: _Optional[_Union[StopRequest, _Mapping[str, _Any]]] = ..., signal: _Optional[_Union[SignalRequest, _Mapping[str, _Any]]] = ..., stats: _Optional[_Union[StatsRequest, _Mapping[str, _Any]]] = ..., exec: _Optional[_Union[ExecRequest, _Mapping[str, _Any]]] = ..., attach: _Optional[_Union[AttachRequest, _Mapping[str, _Any]]] = ...) -> None: ...

class Answer(_message.Message):
    __slots__ = ("started", "done", "stats", "refused")
    STARTED_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    STATS_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    started: Started
    done: Done
    stats: _driver_pb2.TaskStats
    refused: Refused
    def __init__(self, started: _Optional[_Union[Started, _Mapping[str, _Any]]] = ..., done: _Optional[_Union[Done, _Mapping[str, _Any]]] = ..., stats: _Optional[_Union[_driver_pb2.TaskStats, _Mapping[str, _Any]]] = ..., refused: _Optional[_Union[Refused, _Mapping[str, _Any]]] = ...) -> None: ...

class StartRequest(_message.Message):
    __slots__ = ("task", "plugin_config", "task_config", "compute")
    TASK_FIELD_NUMBER: _ClassVar[int]
    PLUGIN_CONFIG_FIELD_NUMBER: _ClassVar[int]
    TASK_CONFIG_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_FIELD_NUMBER: _ClassVar[int]
    task: _driver_pb2.TaskConfig
    plugin_config: bytes
    task_config: bytes
    compute: Compute
    def __init__(self, task: _Optional[_Union[_driver_pb2.TaskConfig, _Mapping[str, _Any]]] = ..., plugin_config: _Optional[bytes] = ..., task_config: _Optional[bytes] = ..., compute: _Optional[_Union[Compute, _Mapping[str, _Any]]] = ...) -> None: ...

class Compute(_message.Message):
    __slots__ = ("total_mhz", "cores")
    TOTAL_MHZ_FIELD_NUMBER: _ClassVar[int]
    CORES_FIELD_NUMBER: _ClassVar[int]
    total_mhz: int
    cores: int
    def __init__(self, total_mhz: _Optional[int] = ..., cores: _Optional[int] = ...) -> None: ...

class AttachRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class StopRequest(_message.Message):
    __slots__ = ("signum", "grace_s")
    SIGNUM_FIELD_NUMBER: _ClassVar[int]
    GRACE_S_FIELD_NUMBER: _ClassVar[int]
    signum: int
    grace_s: float
    def __init__(self, signum: _Optional[int] = ..., grace_s: _Optional[float] = ...) -> None: ...

class SignalRequest(_message.Message):
    __slots__ = ("signum",)
    SIGNUM_FIELD_NUMBER: _ClassVar[int]
    signum: int
    def __init__(self, signum: _Optional[int] = ...) -> None: ...

class StatsRequest(_message.Message):
    __slots__ = ("interval_s",)
    INTERVAL_S_FIELD_NUMBER: _ClassVar[int]
    interval_s: float
    def __init__(self, interval_s: _Optional[float] = ...) -> None: ...

class ExecRequest(_message.Message):
    __slots__ = ("command", "tty", "merge_stderr", "no_stdin", "user_env", "limit_s")
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    TTY_FIELD_NUMBER: _ClassVar[int]
    MERGE_STDERR_FIELD_NUMBER: _ClassVar[int]
    NO_STDIN_FIELD_NUMBER: _ClassVar[int]
    USER_ENV_FIELD_NUMBER: _ClassVar[int]
    LIMIT_S_FIELD_NUMBER: _ClassVar[int]
    command: _containers.RepeatedScalarFieldContainer[str]
    tty: bool
    merge_stderr: bool
    no_stdin: bool
    user_env: bool
    limit_s: float
    def __init__(self, command: _Optional[_Iterable[str]] = ..., tty: _Optional[bool] = ..., merge_stderr: _Optional[bool] = ..., no_stdin: _Optional[bool] = ..., user_env: _Optional[bool] = ..., limit_s: _Optional[float] = ...) -> None: ...

class Started(_message.Message):
    __slots__ = ("workload_pid", "started_at_s")
    WORKLOAD_PID_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_S_FIELD_NUMBER: _ClassVar[int]
    workload_pid: int
    started_at_s: float
    def __init__(self, workload_pid: _Optional[int] = ..., started_at_s: _Optional[float] = ...) -> None: ...

class Done(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Refused(_message.Message):
    __slots__ = ("message", "recoverable")
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    RECOVERABLE_FIELD_NUMBER: _ClassVar[int]
    message: str
    recoverable: bool
    def __init__(self, message: _Optional[str] = ..., recoverable: _Optional[bool] = ...) -> None: ...
