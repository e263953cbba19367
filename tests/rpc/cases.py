"""The cases that a gRPC transport under Trio has to pass, by name, and which test is which.

They come from an experiment in which grpcio, a raw frame peer and grpc-go talked to purerpc and to
transports of ours; purerpc's own server and channel pass 24 of the 63 and 7 of the 17. `case` marks
a test with the names of what it shows: `pytest tests/rpc -k rapid_reset_5000` runs that case.
`test_cases` counts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

SERVER_CASES: dict[str, str] = {
    "unary": "OK over a unix socket",
    "four_cardinalities": "OK",
    "unary_cancel": "handler cancelled",
    "server_stream_cancel": "generator cancelled",
    "server_stream_cancel_blocked": "generator blocked in await is cancelled",
    "bidi_cancel": "handler cancelled",
    "client_stream_cancel": "handler waiting for input is cancelled",
    "deadline": "DEADLINE_EXCEEDED and handler cancelled",
    "deadline_header_only": "the server itself enforces grpc-timeout",
    "half_close_no_message_client_stream": "empty stream, OK",
    "half_close_no_message_unary": "error status on the stream",
    "end_stream_on_headers_client_stream": "legal empty stream, OK",
    "end_stream_on_headers_unary": "error status on the stream",
    "trailers_only_error": "the status, in one HEADERS frame",
    "error_status_utf8": "percent-encoded UTF-8 message",
    "handler_exception": "UNKNOWN, no internals leaked",
    "handler_exception_group": "status of the grouped error",
    "unknown_method_and_service": "UNIMPLEMENTED",
    "not_implemented_error": "UNIMPLEMENTED",
    "fail_after_messages": "messages, then the status",
    "metadata_request_bin": "-bin values decode for every padding",
    "metadata_response": "initial and trailing metadata, -bin included",
    "metadata_10k": "OK, connection lives",
    "msg_5MiB_both_ways": "OK",
    "msg_40MiB_rejected": "RESOURCE_EXHAUSTED on that RPC only",
    "response_40MiB_rejected": "RESOURCE_EXHAUSTED",
    "concurrent_1000": "all OK",
    "client_disconnect": "all 20 handlers cancelled",
    "keepalive_ccore": "pings answered, call survives",
    "ping_ack": "PING ACK",
    "ping_flood_5000": "GOAWAY ENHANCE_YOUR_CALM",
    "rapid_reset_5000": "no handler left running",
    "goaway_from_client_inflight": "stream in flight completes",
    "graceful_shutdown_sigterm": "GOAWAY, in flight completes, exit 0",
    "gzip_request": "OK",
    "deflate_request": "OK",
    "gzip_bad_then_next": "error status on the stream, connection lives",
    "unsupported_encoding": "UNIMPLEMENTED on the stream",
    "truncated_message": "error status on the stream",
    "unparsable_protobuf": "INTERNAL on the stream",
    "early_status_then_more_data": "status, then RST_STREAM(NO_ERROR)",
    "malformed_data_on_stream0": "GOAWAY and close",
    "malformed_garbage_frames": "GOAWAY and close",
    "malformed_bad_hpack": "GOAWAY and close",
    "malformed_method_get": "refused on the stream",
    "malformed_content_type_html": "HTTP 415 on the stream",
    "malformed_no_te": "accepted",
    "malformed_path_one_segment": "UNIMPLEMENTED",
    "malformed_path_three_segments": "UNIMPLEMENTED",
    "malformed_timeout_garbage": "error on the stream",
    "malformed_bin_not_base64": "error on the stream",
    "malformed_header_latin1": "accepted",
    "malformed_dup_content_type": "accepted",
    "malformed_rst_unknown_closed_stream": "ignored",
    "malformed_data_after_rst": "ignored, connection lives",
    "hpack_int_bomb_60k": "no stall for others",
    "backpressure_server_stream": "generator stops at the window",
    "backpressure_slow_socket": "bounded buffering",
    "backpressure_client_stream": "bounded buffering",
    "fd_leak_100_connections": "no growth",
    "fd_leak_50_bad_connections": "socket closed after the protocol error",
    "listener_survives_1000_bad": "listener survives",
    "leak_2000_resets_midstream": "no streams, no tasks left",
}

CLIENT_CASES: dict[str, str] = {
    "client_four_cardinalities": "OK",
    "client_empty_client_stream": "OK",
    "client_error_statuses_utf8": "the status and its text",
    "client_msg_5MiB": "OK",
    "client_concurrent_500": "all OK",
    "client_connect_refused": "an error at once",
    "client_metadata_request_bin": "arrives",
    "client_cancel_unary": "RST_STREAM, server handler cancelled",
    "client_abandon_server_stream": "RST_STREAM",
    "client_deadline": "grpc-timeout and DEADLINE_EXCEEDED",
    "client_msg_40MiB": "RESOURCE_EXHAUSTED both ways, next call OK",
    "client_server_killed_mid_call": "UNAVAILABLE, the next call too",
    "client_server_goaway": "in flight OK, next UNAVAILABLE",
    "client_early_answer_to_client_stream": "OK at once",
    "client_http_503": "UNAVAILABLE",
    "client_gzip_answer": "OK",
    "client_response_metadata": "reachable",
}

TRAPS: dict[str, str] = {
    "trap_ping_per_burst": "a ping for every burst of data, as grpc-go sends, is no flood",
    "trap_goaway_drops_output": "the peer's GOAWAY drops no queued output",
    "trap_reset_limit_is_a_rate": "a connection that cancels much for long is healthy",
    "trap_credit_of_partial_messages": "what nobody reads is not credited",
    "trap_starvation": "messages that never wait leave others their turn",
    "trap_cancelled_read_loses_a_message": "it loses none",
    "trap_scope_before_stream": "a handler sees Cancelled, not an error of its RPC",
    "trap_send_failure_is_told": "a client that can only read is not left waiting",
    "trap_full_backlog": "a burst of connects is not refused",
    "trap_torn_frame": "a cancelled handler tears no frame",
    "trap_sockets_are_closed": "sockets and channels are closed explicitly",
    "trap_reset_before_first_step": "a handler cancelled before its first step costs no window",
}

F = TypeVar("F", bound=Callable[..., object])


def case(*names: str) -> Callable[[F], F]:
    """Mark a test as one of the cases `names`; their names are then keywords of `pytest -k`."""
    known = SERVER_CASES | CLIENT_CASES | TRAPS
    assert set(names) <= set(known), set(names) - set(known)

    def mark(test: F) -> F:
        test.__dict__.update(dict.fromkeys(names, True))
        return test

    return mark
