"""h2's connection, opened with our settings; the border to an untyped library.

Source: RFC 9113 section 6.5.2.
"""

from __future__ import annotations

from typing import Any

import h2.config
import h2.connection
import h2.settings

from trio_driver.rpc.frames import MAX_FRAME_BYTES, MAX_HEADER_LIST_BYTES, PREFACE
from trio_driver.rpc.header_encoder import LiteralEncoder

STREAM_WINDOW_BYTES = 262_144
"""Bytes that a peer may send on one RPC whose reader does not read."""

CONNECTION_WINDOW_BYTES = 16_777_216
"""Bytes in flight to us over all RPCs; credited on receipt, so it bounds the wire alone."""

DEFAULT_WINDOW_BYTES = 65_535
"""What HTTP/2 starts the connection's window with."""


class _H2Connection(h2.connection.H2Connection):
    """h2's connection, told which streams are over.

    h2 finds that out by looking at every stream each time that one is opened: with ten thousand
    open, opening another would take milliseconds.
    """

    streams: dict[int, Any]
    _closed_streams: dict[int, Any]

    def _open_streams(self, remainder: int) -> int:
        """Streams that count against the limit; of the other parity there are none."""
        return len(self.streams)

    def forget(self, stream_id: int) -> None:
        """A stream is closed; frames that still come for it are late, not new."""
        if (stream := self.streams.pop(stream_id, None)) is not None:
            self._closed_streams[stream_id] = stream.closed_by


def open_h2(*, client_side: bool, max_concurrent: int) -> Any:
    """An `H2Connection` whose first output (preface, SETTINGS, WINDOW_UPDATE) is queued.

    Args:
        client_side: which end we are.
        max_concurrent: RPCs that a client may have open at a time; advertised by a server.
    """
    connection: Any = _H2Connection(
        h2.config.H2Configuration(
            client_side=client_side,
            header_encoding=None,
            # Headers are judged by us: to h2 a bad header is an error of the connection.
            validate_inbound_headers=False,
            normalize_inbound_headers=False,
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
        )
    )
    connection.encoder = LiteralEncoder()
    codes = h2.settings.SettingCodes
    initial = {
        codes.INITIAL_WINDOW_SIZE: STREAM_WINDOW_BYTES,
        codes.MAX_FRAME_SIZE: MAX_FRAME_BYTES,
        codes.MAX_HEADER_LIST_SIZE: MAX_HEADER_LIST_BYTES,
        codes.ENABLE_PUSH: 0,
    }
    if not client_side:
        initial[codes.MAX_CONCURRENT_STREAMS] = max_concurrent
    connection.local_settings = h2.settings.Settings(client=client_side, initial_values=initial)
    connection.max_inbound_frame_size = MAX_FRAME_BYTES
    connection.initiate_connection()
    connection.increment_flow_control_window(CONNECTION_WINDOW_BYTES - DEFAULT_WINDOW_BYTES)
    if not client_side:
        connection.receive_data(PREFACE)  # the client's; `FrameCutter` checks it
    return connection
