"""hclog lines: ours never hurt an agent, and others' are read as an agent reads them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_driver.goplugin import LINE_LIMIT_BYTES, Level, LogReader, LogRecord, encode_record

MOMENT = datetime(2026, 8, 21, 12, 34, 56, 123456, tzinfo=UTC)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(), values, max_size=3),
    max_leaves=8,
)
keys = st.text(min_size=1).filter(lambda key: not key.startswith("@"))
moments = st.datetimes(
    datetime(1971, 1, 1),
    timezones=st.integers(-14, 14).map(lambda hours: timezone(timedelta(hours=hours))),
)
records = st.builds(
    LogRecord,
    level=st.sampled_from(Level),
    message=st.text(),
    module=st.text(),
    timestamp=st.none() | moments,
    fields=st.dictionaries(keys, json_values, max_size=4),
)


class Hostile:
    """No JSON and no repr."""

    def __repr__(self) -> str:
        raise RuntimeError("no")


def read_all(data: bytes) -> list[LogRecord]:
    reader = LogReader()
    return [*reader.feed(data), *reader.close()]


def read_one(data: bytes) -> LogRecord:
    (record,) = read_all(data)
    return record


def test_a_line_has_the_form_of_hclog() -> None:
    record = LogRecord(
        level=Level.INFO,
        message="task started",
        module="mydriver",
        timestamp=MOMENT,
        fields={"task_id": "a/b/c"},
    )
    assert encode_record(record) == (
        b'{"@level":"info","@message":"task started","@module":"mydriver",'
        b'"@timestamp":"2026-08-21T12:34:56.123456Z","task_id":"a/b/c"}\n'
    )


@given(records)
def test_what_is_written_is_read_again(record: LogRecord) -> None:
    line = encode_record(record)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert read_one(line) == record


@given(
    st.text(),
    st.dictionaries(
        st.text() | st.sampled_from(("@message", "@level", "@timestamp", "@module")),
        json_values
        | st.floats()
        | st.binary()
        | st.just(object())
        | st.builds(Hostile)
        | st.dictionaries(st.tuples(st.integers()), st.none()),
        max_size=5,
    ),
)
def test_no_line_of_ours_can_panic_an_agent(message: str, fields: dict[str, object]) -> None:
    """H3, for any values and any keys."""
    line = encode_record(LogRecord(level=Level.INFO, message=message, fields=fields))
    record = read_one(line)
    assert not record.panics_agent
    assert record.level is Level.INFO
    assert record.message == message


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [float("nan")]])
def test_a_number_that_is_no_json_is_written_as_text(value: object) -> None:
    line = encode_record(LogRecord(level=Level.INFO, message="m", fields={"x": value}))
    assert read_one(line).fields == {"x": repr(value)}


def test_values_that_refer_to_themselves_are_written_as_text() -> None:
    loop: list[object] = []
    loop.append(loop)
    line = encode_record(LogRecord(level=Level.INFO, message="m", fields={"x": loop}))
    assert read_one(line).fields == {"x": "[[...]]"}


@pytest.mark.parametrize("character", ["a", "é", "\U0001f600", "\0"])
def test_a_long_message_is_cut_with_a_mark_and_stays_one_line(character: str) -> None:
    message = character * 200_000
    line = encode_record(LogRecord(level=Level.WARN, message=message, fields={"task": "t"}))
    assert LINE_LIMIT_BYTES / 4 < len(line) <= LINE_LIMIT_BYTES
    record = read_one(line)
    assert record.level is Level.WARN
    assert record.fields == {"task": "t"}
    assert record.message.endswith("... [cut: 200000 characters]")


def test_a_line_of_exactly_the_limit_is_not_cut() -> None:
    empty = encode_record(LogRecord(level=Level.INFO, message=""))
    fitting = LogRecord(level=Level.INFO, message="a" * (LINE_LIMIT_BYTES - len(empty)))
    assert len(encode_record(fitting)) == LINE_LIMIT_BYTES
    assert read_one(encode_record(fitting)) == fitting


@pytest.mark.parametrize(
    "fields",
    [
        {"x": list(range(100_000))},
        {str(number): number for number in range(10_000)},
        {"k" * 100_000: 1},
        {f"k{number}": "v" * 10_000 for number in range(50)},
    ],
)
def test_fields_without_end_do_not_make_a_line_without_end(fields: dict[str, object]) -> None:
    line = encode_record(LogRecord(level=Level.INFO, message="m", fields=fields))
    assert len(line) <= LINE_LIMIT_BYTES
    assert read_one(line).message == "m"


@pytest.mark.parametrize(
    ("line", "level"),
    [
        (b"plain", Level.DEBUG),
        (b"[TRACE] x", Level.TRACE),
        (b"[DEBUG] x", Level.DEBUG),
        (b"[INFO] x", Level.INFO),
        (b"[WARN] x", Level.WARN),
        (b"[ERROR] x", Level.ERROR),
        (b"[FATAL] x", Level.DEBUG),
        (b" [ERROR] x", Level.DEBUG),
        (b"null", Level.DEBUG),
        (b"[1]", Level.DEBUG),
        (b'"text"', Level.DEBUG),
        (b'{"@message":"no level"}', Level.DEBUG),
        (b'{"@level":"loud","@message":"m"}', Level.DEBUG),
        (b'{"@level":"error","@timestamp":"2026-08-21T12:34:56Z"}', Level.DEBUG),
        (b'{"@level":"error","@timestamp":"2026-08-21T12:34:56.123Z"}', Level.DEBUG),
        (b'{"@level":"error","x":NaN}', Level.DEBUG),
        (b"\xff\xfe", Level.DEBUG),
        (b'{"@level":', Level.DEBUG),
        (b"[" * 100_0, Level.DEBUG),
    ],
)
def test_a_line_that_is_no_record_is_text(line: bytes, level: Level) -> None:
    record = read_one(line + b"\n")
    assert record == LogRecord(level=level, message=line.decode(errors="replace"))


def test_a_record_is_read_with_its_level_in_any_case() -> None:
    record = read_one(b'{"@level":" Error ","@message":"m","@module":"a.b","n":1,"@caller":"x"}\n')
    assert record == LogRecord(
        level=Level.ERROR, message="m", module="a.b", fields={"n": 1, "@caller": "x"}
    )


@pytest.mark.parametrize("offset", ["Z", "+00:00", "-05:30"])
def test_six_digits_and_an_offset_are_a_timestamp(offset: str) -> None:
    line = {"@level": "info", "@timestamp": f"2026-08-21T12:34:56.000001{offset}"}
    timestamp = read_one(json.dumps(line).encode()).timestamp
    assert timestamp is not None
    assert timestamp.microsecond == 1


@pytest.mark.parametrize("key", ["@message", "@level", "@timestamp"])
@pytest.mark.parametrize("value", [None, 1, [], {}, True])
def test_a_value_that_would_panic_an_agent_is_reported(key: str, value: object) -> None:
    assert read_one(json.dumps({key: value}).encode()).panics_agent


def test_all_text_after_a_go_panic_is_an_error() -> None:
    read = read_all(b'before\npanic: oh\nat x.go\n[INFO] tagged\n{"@level":"warn"}\nat y.go\n')
    assert [record.level for record in read] == [
        Level.DEBUG,
        Level.ERROR,
        Level.ERROR,
        Level.INFO,
        Level.WARN,
        Level.ERROR,
    ]


def test_a_line_longer_than_the_buffer_is_never_parsed() -> None:
    record = {"@level": "error", "@message": "m" * 2 * LINE_LIMIT_BYTES}
    read = read_all(json.dumps(record).encode() + b'\n{"@level":"info","@message":"next"}\n')
    assert [part.level for part in read] == [Level.DEBUG] * 3 + [Level.INFO]
    assert "".join(part.message for part in read[:3]) == json.dumps(record)


@given(st.lists(st.sampled_from([b"a", b"\n", b"\r\n", b"{}", b"[INFO] x\n", b"panic: \n"])))
def test_it_does_not_matter_how_the_stream_is_split(pieces: list[bytes]) -> None:
    reader = LogReader()
    read = [record for piece in pieces for record in reader.feed(piece)] + reader.close()
    assert read == read_all(b"".join(pieces))


@given(st.binary())
def test_any_bytes_can_be_read(data: bytes) -> None:
    for record in read_all(data):
        assert record.message is not None
