"""When an executor looks at what nobody tells it of."""

from trio_driver.executor.looks import LOOK_EVERY_S, next_look_s


def test_looks_that_began_at_different_times_fall_together() -> None:
    moment_s = next_look_s(1000.0, 4711)
    assert next_look_s(moment_s + 0.1, 4711) == next_look_s(moment_s + 4.9, 4711)


def test_there_is_time_between_two_looks() -> None:
    for pid in (1, 17, 99):
        for now_s in (0.0, 3.3, 9.9):
            wait_s = next_look_s(now_s, pid) - now_s
            assert 0.49 * LOOK_EVERY_S <= wait_s <= 1.51 * LOOK_EVERY_S


def test_different_executors_look_at_different_times() -> None:
    assert len({next_look_s(1000.0, pid) % LOOK_EVERY_S for pid in range(200, 300)}) == 100
