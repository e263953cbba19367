"""The log handler: logging costs lines when nobody reads, never more."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

import pytest

from trio_driver.goplugin import TRACE, HclogHandler, Level, LogReader, LogRecord
from trio_driver.goplugin.log_handler import open_log_fd

if TYPE_CHECKING:
    from collections.abc import Iterator


class Pipe:
    """A log pipe and its reader."""

    def __init__(self) -> None:
        self.read_fd, write_fd = os.pipe()
        self.log_fd = open_log_fd(write_fd)
        os.close(write_fd)
        self._reader = LogReader()

    def close_reader(self) -> None:
        os.close(self.read_fd)
        self.read_fd = -1

    def read(self) -> list[LogRecord]:
        """All whole lines that are in the pipe, which holds 64 KiB."""
        return self._reader.feed(os.read(self.read_fd, 1 << 20))


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    os.close(pipe.log_fd)
    if pipe.read_fd >= 0:
        pipe.close_reader()


@pytest.fixture
def logger(pipe: Pipe) -> Iterator[logging.Logger]:
    """A logger of this test alone, into `pipe`."""
    logger = logging.Logger("a.b", level=1)
    handler = HclogHandler(pipe.log_fd)
    logger.addHandler(handler)
    yield logger
    handler.close()


def test_every_level_of_python_has_one_of_hclog(pipe: Pipe, logger: logging.Logger) -> None:
    for level in (1, TRACE, 10, 15, 20, 25, 30, 40, 50, 60):
        logger.log(level, "m")
    assert [record.level for record in pipe.read()] == [
        *[Level.TRACE] * 2,
        *[Level.DEBUG] * 2,
        *[Level.INFO] * 2,
        Level.WARN,
        *[Level.ERROR] * 3,
    ]


def test_a_record_has_module_pairs_and_exception(pipe: Pipe, logger: logging.Logger) -> None:
    try:
        raise ValueError("on purpose")
    except ValueError:
        logger.exception("failed: %s", "x", extra={"kv": {"task": "t", 1: object}})
    (record,) = pipe.read()
    assert (record.module, record.message) == ("a.b", "failed: x")
    assert record.fields["task"] == "t"
    assert record.fields["1"] == repr(object)
    assert str(record.fields["exception"]).endswith("ValueError: on purpose")


@pytest.mark.parametrize("pairs", [5, ["a"], "text"])
def test_pairs_that_are_no_mapping_are_one_pair(
    pipe: Pipe, logger: logging.Logger, pairs: object
) -> None:
    logger.info("m", extra={"kv": pairs})
    (record,) = pipe.read()
    assert record.fields == {"kv": pairs}


def test_arguments_that_do_not_fit_are_logged_as_they_are(
    pipe: Pipe, logger: logging.Logger
) -> None:
    logger.info("%d of %d", "one")  # noqa: PLE1206 - on purpose
    (record,) = pipe.read()
    assert record.message == "%d of %d (with arguments that do not fit: ('one',))"


def test_h16_logging_survives_a_reader_that_is_gone(pipe: Pipe) -> None:
    broken: list[bool] = []
    logger = logging.Logger("a")
    logger.addHandler(HclogHandler(pipe.log_fd, on_broken=lambda: broken.append(True)))
    pipe.close_reader()
    for _ in range(3):
        logger.error("nobody reads this")
    assert broken == [True]


def test_a_reader_that_stands_still_costs_lines_and_not_time(
    pipe: Pipe, logger: logging.Logger
) -> None:
    for _ in range(200):
        logger.info("x" * 1000)
    assert all(len(record.message) == 1000 for record in pipe.read())
    logger.info("after")
    dropped, after = pipe.read()
    assert dropped.level is Level.WARN
    count = dropped.fields["dropped"]
    assert isinstance(count, int)
    assert 100 < count < 200
    assert after.message == "after"


def test_a_line_that_was_cut_short_by_a_full_pipe_does_not_spoil_the_next(
    pipe: Pipe, logger: logging.Logger
) -> None:
    logger.info("x" * 60_000)
    logger.info("y" * 60_000)  # its beginning fills the pipe
    (first,) = pipe.read()
    assert len(first.message) == 60_000
    logger.info("after")
    torn, dropped, after = pipe.read()
    assert torn.level is Level.DEBUG  # as text
    assert dropped.fields == {"dropped": 1}
    assert after.message == "after"


def test_the_callers_descriptor_still_blocks(pipe: Pipe) -> None:
    """O_NONBLOCK belongs to the open file, which whoever else writes to fd 2 shares."""
    read_fd, write_fd = os.pipe()
    log_fd = open_log_fd(write_fd)
    assert os.get_blocking(write_fd)
    assert not os.get_blocking(log_fd)
    assert not os.get_inheritable(log_fd)
    for fd in (read_fd, write_fd, log_fd):
        os.close(fd)
