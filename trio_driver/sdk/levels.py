"""How much is logged: Nomad's names for it, as `logging` has them."""

import logging
from typing import Literal

LogLevel = Literal["trace", "debug", "info", "warn", "error"]
"""Nomad's names (go-hclog's), the most talkative first."""

NUMBERS = {
    "trace": 5,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
}


def set_log_level(level: str) -> None:
    """Log nothing below `level`, one of `LogLevel`, in this process."""
    logging.getLogger().setLevel(NUMBERS[level])
