"""What a peer may send often, but not without end: frames that cost it nothing and us some time.

Rules:
- Rates, not totals: a lifetime counter would end a healthy connection that lives long.
- Whatever we send forgives what came before: grpc-go answers every burst of data with a PING and
  WINDOW_UPDATEs.
- A reset is suspicious only soon after its request: an agent that stops cancels thousands of calls
  at once, all of them old.

Source: nomad-protocol 1.11; CVE-2019-9512 to 9518 and CVE-2023-44487, which name the floods.
"""

from __future__ import annotations

from trio_driver.rpc.frames import ENHANCE_YOUR_CALM, FrameKind, WireError

PERIOD_S = 10
"""Seconds within which a limit holds."""

RAPID_RESET_S = 1.0
"""Seconds after a request within which its reset is one of `Floods.rapid_resets`."""


class RateLimit:
    """Counts one thing.

    Args:
        limit: how many are allowed within one period.
        period_s: length of a period in seconds.
        what: name for the error.
    """

    def __init__(self, limit: int, *, period_s: float, what: str) -> None:
        self._limit = limit
        self._period_s = period_s
        self._what = what
        self._count = 0
        self._period_ends = float("-inf")

    def count(self, now: float) -> None:
        """Count one at time `now` (any monotonic clock in seconds).

        Raises:
            WireError: there were too many within the period.
        """
        if now >= self._period_ends:
            self._period_ends = now + self._period_s
            self._count = 0
        self._count += 1
        if self._count > self._limit:
            raise WireError(ENHANCE_YOUR_CALM, f"too many {self._what}")

    def forgive(self) -> None:
        """Start counting anew: we gave the peer a reason."""
        self._count = 0


class Floods:
    """All that is counted on one connection."""

    def __init__(self) -> None:
        self._pings = RateLimit(1_000, period_s=PERIOD_S, what="pings")
        self._settings = RateLimit(100, period_s=PERIOD_S, what="settings")
        self._idle = RateLimit(20_000, period_s=PERIOD_S, what="frames that carry nothing")
        self.rapid_resets = RateLimit(4_000, period_s=PERIOD_S, what="resets")

    def count(self, kind: int, now: float) -> None:
        """Count a frame.

        Raises:
            WireError: there were too many of its kind.
        """
        match kind:
            case FrameKind.PING:
                self._pings.count(now)
            case FrameKind.SETTINGS:
                self._settings.count(now)
            case FrameKind.DATA | FrameKind.HEADERS | FrameKind.CONTINUATION:
                pass  # these carry something; `count_empty` is for DATA that does not
            case _:
                self._idle.count(now)

    def count_empty(self, now: float) -> None:
        """Count DATA without data, that does not end its stream.

        Raises:
            WireError: there was too much of it.
        """
        self._idle.count(now)

    def forgive(self) -> None:
        """We are sending: pings and WINDOW_UPDATEs have a reason."""
        self._pings.forgive()
        self._idle.forgive()
