"""When samples are taken."""

import pytest

from trio_driver.sdk.stats import next_look_s


@pytest.mark.parametrize("interval_s", [0.1, 1.0, 10.0])
@pytest.mark.parametrize("now_s", [0.0, 7.3, 1234.999, 1235.0, 1235.0001])
def test_the_next_look_is_half_an_interval_to_one_and_a_half_away(
    interval_s: float, now_s: float
) -> None:
    wait_s = next_look_s(now_s, interval_s) - now_s
    assert 0.49 * interval_s <= wait_s <= 1.51 * interval_s


def test_streams_of_one_interval_look_at_the_same_moment_whenever_they_began() -> None:
    moments = {next_look_s(100 + began_s, 1.0) for began_s in (0.51, 0.7, 0.99, 1.3, 1.49)}
    assert moments == {102.0}


def test_looks_stay_an_interval_apart_when_each_takes_a_moment() -> None:
    moment_s = next_look_s(100.2, 1.0)
    for _ in range(5):
        after_s = next_look_s(moment_s + 0.01, 1.0)
        assert after_s == pytest.approx(moment_s + 1.0)
        moment_s = after_s
