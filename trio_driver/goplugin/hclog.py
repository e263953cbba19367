"""hclog: the log lines that a plugin writes and an agent reads, one JSON object a line.

Owns both directions: `encode_record` writes a line, `LogReader` reads a stream of lines by the
agent's rules, so that a test host sees what an agent would see.

Rules:
- Sans-IO: values in, values out.
- No line written here can panic an agent: `@message`, `@level` and `@timestamp` are strings in
  the agent's form whatever the record holds (H3), and none is longer than the agent's buffer.
- Neither direction ever raises, whatever it is given.

Must not know: file descriptors, `logging`, Trio.

Source: nomad-protocol §1.7 (go-plugin client.go logStderr, log_entry.go; go-hclog intlogger.go).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NoReturn, cast

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

LINE_LIMIT_BYTES: Final = 64 * 1024
"""go-plugin's read buffer, newline included: of a longer line no piece is parsed."""

_TIMESTAMP: Final = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(?:Z|[+-]\d\d:\d\d)", re.ASCII
)
"""Exactly six fractional digits; with any other form the agent takes the line for plain text."""

_PLAIN_TEXT_PREFIX: Final = re.compile(rb"\[(TRACE|DEBUG|INFO|WARN|ERROR)\]")
_GO_CRASH_PREFIXES: Final = (b"panic: ", b"fatal error: ")
_STRING_KEYS: Final = ("@message", "@level", "@timestamp")
"""Keys that an agent takes for strings without looking."""


class Level(StrEnum):
    """hclog's levels; the values are what stands in a line."""

    TRACE = "trace"
    DEBUG = "debug"
    INFO = "info"
    WARN = "warn"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRecord:
    """One log line."""

    level: Level
    message: str
    module: str = ""
    """Dotted name of the logger; empty when unknown."""
    timestamp: datetime | None = None
    """When it was written, with its time zone; None when the line does not say."""
    fields: Mapping[str, object] = field(default_factory=dict[str, object])
    """Key/value pairs; values are what JSON can hold, anything else is written as its repr."""
    panics_agent: bool = False
    """Read only: an agent that reads this line dies of it (H3)."""


def encode_record(record: LogRecord) -> bytes:
    """The line for stderr, with its newline; what does not fit in is cut, with a mark.

    Keys of `fields` that start with `@` belong to hclog and get a `_` in front.
    """
    keep = LINE_LIMIT_BYTES
    line = _encode(record, keep)
    while len(line) > LINE_LIMIT_BYTES:
        # Halved, not computed: one character takes 1 to 12 bytes of JSON.
        keep //= 2
        line = _encode(record, keep)
    return line


def _encode(record: LogRecord, keep: int) -> bytes:
    """One try, with no text longer than `keep` characters."""
    parts = {"@level": _to_json(record.level.value, 8), "@message": _to_json(record.message, keep)}
    if record.module:
        parts["@module"] = _to_json(record.module, keep)
    if record.timestamp is not None:
        parts["@timestamp"] = _to_json(_encode_timestamp(record.timestamp), 64)
    if keep < _FIELDS_DROPPED_BELOW:
        parts["_fields_cut"] = str(len(record.fields))
    else:
        for key, value in record.fields.items():
            name = f"_{key}" if key.startswith("@") else key
            parts[name] = _to_json(value, keep)
    text = ",".join(f"{json.dumps(key)}:{value}" for key, value in parts.items())
    return f"{{{text}}}\n".encode("ascii")


_FIELDS_DROPPED_BELOW: Final = 64
"""Characters a value. If even such short values do not fit, the keys themselves are too much."""


def _to_json(value: object, keep: int) -> str:
    """`value` in ASCII; what JSON cannot hold becomes its repr, what is long a cut text."""
    text = value if isinstance(value, str) else None
    encoded = ""
    if text is None:
        try:
            # NaN and Infinity are no JSON to Go: the whole line would count as plain text.
            encoded = json.dumps(value, allow_nan=False, separators=(",", ":"))
        except Exception:
            # Also what strange containers raise themselves: a log line never fails its caller.
            text = _safe_repr(value)
        else:
            if len(encoded) <= keep:
                return encoded
            text = encoded
    if len(text) > keep:
        text = f"{text[:keep]}... [cut: {len(text)} characters]"
    return json.dumps(text)


def _safe_repr(value: object) -> str:
    try:
        return repr(value)
    except Exception:
        # Somebody else's __repr__, called while logging: no place to report an error of its own.
        return f"<{type(value).__name__} without repr>"


def _encode_timestamp(timestamp: datetime) -> str:
    # isoformat() writes seconds into the offset of old local times; UTC never has them.
    moment = timestamp.astimezone(UTC).replace(tzinfo=None)
    return moment.isoformat(timespec="microseconds") + "Z"


class LogReader:
    """Reads a plugin's stderr as an agent does; feed it bytes, get records."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._continued = False
        self._crashed = False

    def feed(self, data: bytes) -> list[LogRecord]:
        """Take the next bytes of the stream; return the records that they complete."""
        self._buffer += data
        return [self._record(line) for line in self._take_lines()]

    def close(self) -> list[LogRecord]:
        """The stream has ended: return the record of a last line without newline, if any."""
        line = bytes(self._buffer)
        self._buffer.clear()
        return [self._record((line, False))] if line else []

    def _take_lines(self) -> Iterator[tuple[bytes, bool]]:
        """Whole lines; of one that is longer than the buffer, its pieces. True: more follows."""
        while True:
            end = self._buffer.find(b"\n", 0, LINE_LIMIT_BYTES)
            if end >= 0:
                line = bytes(self._buffer[:end])
                del self._buffer[: end + 1]
                yield line.removesuffix(b"\r"), False
            elif len(self._buffer) >= LINE_LIMIT_BYTES:
                piece = bytes(self._buffer[:LINE_LIMIT_BYTES])
                del self._buffer[:LINE_LIMIT_BYTES]
                yield piece, True
            else:
                return

    def _record(self, piece: tuple[bytes, bool]) -> LogRecord:
        line, is_prefix = piece
        is_part, self._continued = is_prefix or self._continued, is_prefix
        if is_part:
            return _plain(Level.DEBUG, line)
        return _parse_json(line) or self._parse_text(line)

    def _parse_text(self, line: bytes) -> LogRecord:
        if match := _PLAIN_TEXT_PREFIX.match(line):
            return _plain(Level(match[1].decode().lower()), line)
        # The dump of a Go program that crashed has no levels: all that follows belongs to it.
        self._crashed = self._crashed or line.startswith(_GO_CRASH_PREFIXES)
        return _plain(Level.ERROR if self._crashed else Level.DEBUG, line)


def _plain(level: Level, line: bytes) -> LogRecord:
    return LogRecord(level=level, message=line.decode(errors="replace"))


def _parse_json(line: bytes) -> LogRecord | None:
    """The record in a line of JSON; None for what an agent takes for text."""
    try:
        value: object = json.loads(line.decode(errors="replace"), parse_constant=_reject_constant)
    except (ValueError, RecursionError):
        return None
    if value is None:
        # To Go's decoder `null` is an object without keys.
        return _plain(Level.DEBUG, line)
    if not isinstance(value, dict):
        return None
    pairs = cast("dict[str, object]", value)
    if any(not isinstance(pairs.get(key, ""), str) for key in _STRING_KEYS):
        message = line.decode(errors="replace")
        return LogRecord(level=Level.ERROR, message=message, panics_agent=True)
    stamp = str(pairs.get("@timestamp", ""))
    timestamp = _parse_timestamp(stamp)
    if "@timestamp" in pairs and timestamp is None:
        return None
    level = _parse_level(str(pairs.get("@level", "")))
    if level is None:
        return _plain(Level.DEBUG, line)
    module = pairs.get("@module")
    return LogRecord(
        level=level,
        message=str(pairs.get("@message", "")),
        module=module if isinstance(module, str) else "",
        timestamp=timestamp,
        fields={key: item for key, item in pairs.items() if key not in (*_STRING_KEYS, "@module")},
    )


def _reject_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON to Go")


def _parse_level(name: str) -> Level | None:
    try:
        return Level(name.strip().lower())
    except ValueError:
        return None


def _parse_timestamp(text: str) -> datetime | None:
    if not _TIMESTAMP.fullmatch(text):
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None
