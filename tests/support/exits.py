"""What WaitTask's answers say, as assertions that show all of it when they fail."""

from trio_driver._proto import driver_pb2


def _parts(response: driver_pb2.WaitTaskResponse) -> tuple[int, int, bool, str]:
    result = response.result
    return result.exit_code, result.signal, result.oom_killed, response.err


def assert_exited(response: driver_pb2.WaitTaskResponse, code: int) -> None:
    """It ended by itself with `code`."""
    assert _parts(response) == (code, 0, False, "")


def assert_signaled(response: driver_pb2.WaitTaskResponse, signum: int) -> None:
    """It was ended by a signal, and not for its memory."""
    assert _parts(response) == (128 + signum, signum, False, "")


def assert_lost(response: driver_pb2.WaitTaskResponse, *, reason: str = "") -> None:
    """Nobody knows how it ended, and that is what is told: never 0."""
    code, signum, oom_killed, err = _parts(response)
    assert (code, signum, oom_killed) == (-1, 0, False), response
    assert err, "a lost task must have a reason"
    assert reason in err
