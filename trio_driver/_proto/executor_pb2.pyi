# pyright: reportUnusedImport=false
from trio_driver._proto import driver_pb2 as _driver_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import Any as _Any, ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class StartRequest(_message.Message):
    __slots__ = ("task", "msgpack_plugin_config", "compute")
    TASK_FIELD_NUMBER: _ClassVar[int]
    MSGPACK_PLUGIN_CONFIG_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_FIELD_NUMBER: _ClassVar[int]
    task: _driver_pb2.TaskConfig
    msgpack_plugin_config: bytes
    compute: Compute
    def __init__(self, task: _Optional[_Union[_driver_pb2.TaskConfig, _Mapping[str, _Any]]] = ..., msgpack_plugin_config: _Optional[bytes] = ..., compute: _Optional[_Union[Compute, _Mapping[str, _Any]]] = ...) -> None: ...

class Compute(_message.Message):
    __slots__ = ("total_mhz", "cores")
    TOTAL_MHZ_FIELD_NUMBER: _ClassVar[int]
    CORES_FIELD_NUMBER: _ClassVar[int]
    total_mhz: int
    cores: int
    def __init__(self, total_mhz: _Optional[int] = ..., cores: _Optional[int] = ...) -> None: ...

class StartResponse(_message.Message):
    __slots__ = ("workload_pid", "started_at_s")
    WORKLOAD_PID_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_S_FIELD_NUMBER: _ClassVar[int]
    workload_pid: int
    started_at_s: float
    def __init__(self, workload_pid: _Optional[int] = ..., started_at_s: _Optional[float] = ...) -> None: ...

class StopRequest(_message.Message):
    __slots__ = ("signum", "grace_s")
    SIGNUM_FIELD_NUMBER: _ClassVar[int]
    GRACE_S_FIELD_NUMBER: _ClassVar[int]
    signum: int
    grace_s: float
    def __init__(self, signum: _Optional[int] = ..., grace_s: _Optional[float] = ...) -> None: ...

class StopResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class SignalRequest(_message.Message):
    __slots__ = ("signum",)
    SIGNUM_FIELD_NUMBER: _ClassVar[int]
    signum: int
    def __init__(self, signum: _Optional[int] = ...) -> None: ...

class SignalResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class StatsRequest(_message.Message):
    __slots__ = ("interval_s",)
    INTERVAL_S_FIELD_NUMBER: _ClassVar[int]
    interval_s: float
    def __init__(self, interval_s: _Optional[float] = ...) -> None: ...

class StatsResponse(_message.Message):
    __slots__ = ("stats",)
    STATS_FIELD_NUMBER: _ClassVar[int]
    stats: _driver_pb2.TaskStats
    def __init__(self, stats: _Optional[_Union[_driver_pb2.TaskStats, _Mapping[str, _Any]]] = ...) -> None: ...
