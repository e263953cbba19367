# Written by protoc from probe.proto; see there. Do not edit.
# ruff: noqa
# fmt: off
# pyright: reportPrivateUsage=false
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class Note(_message.Message):
    __slots__ = ("text", "data", "count")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    text: str
    data: bytes
    count: int
    def __init__(
        self, text: _Optional[str] = ..., data: _Optional[bytes] = ..., count: _Optional[int] = ...
    ) -> None: ...
