"""Ladders as a job writes them."""

import math
import re
import signal

import pytest

from trio_driver.executor.ladder import Rung, ladder_length_s, parse_ladder
from trio_driver.model import ConfigInvalidError


def test_a_rung_is_a_signal_to_somebody_for_some_time() -> None:
    assert parse_ladder(["SIGTERM group 10s", "SIGINT main 2s", "hup 500ms", "SIGQUIT group"]) == (
        Rung(signal.SIGTERM, True, 10),
        Rung(signal.SIGINT, False, 2),
        Rung(signal.SIGHUP, False, 0.5),
        Rung(signal.SIGQUIT, True, math.inf),
    )
    assert parse_ladder([]) == ()


def test_a_ladder_is_as_long_as_its_rungs() -> None:
    ladder = parse_ladder(["SIGTERM 10s", "SIGINT"])
    assert ladder_length_s(ladder, rest_s=5) == 15


@pytest.mark.parametrize(
    ("texts", "text"),
    [
        (["SIGNONSENSE 1s"], 'stop "SIGNONSENSE 1s" is not accepted: unknown signal "SIGNONSENSE"'),
        (["SIGTERM all 1s"], 'stop "SIGTERM all 1s" is not accepted; expected a signal, "main"'),
        (["SIGTERM group 1s 2s"], 'stop "SIGTERM group 1s 2s" is not accepted'),
        (["SIGTERM 10"], 'stop "SIGTERM 10" is not accepted'),
        (["SIGTERM 1s group"], 'stop "SIGTERM 1s group" is not accepted'),
        ([""], 'stop "" is not accepted'),
        (
            ["SIGTERM", "SIGINT 1s"],
            'stop "SIGTERM" is not accepted: only the last rung may leave out its duration',
        ),
    ],
)
def test_what_is_no_rung_is_refused_by_name_and_value(texts: list[str], text: str) -> None:
    with pytest.raises(ConfigInvalidError, match=re.escape(text)):
        parse_ladder(texts)
