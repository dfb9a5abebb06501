"""What the strangers' door allows: every bound with its unit and its reason.

A stranger is anonymous and renews his circuit at will, so each bound holds for one connection or for the whole door,
and none depends on who he is; what depends on that is in `allowances`. Servers that hostile people have long knocked
at are named as precedents.
"""

from __future__ import annotations

from typing import Final

from attrs import frozen

__all__ = ["Bounds"]

HEAD_BYTES: Final = 16 * 1024
"""Request line and headers together. Twisted's own total is the same; Apache's would be 8190 bytes a line."""

TARGET_BYTES: Final = 8 * 1024
"""The request target: `/query?q=...` by GET is the longest honest one. Apache's and nginx's lines end there too."""

HEADERS: Final = 100
"""How many headers (Apache's LimitRequestFields). Stock InfluxDB clients send ten at most."""

CONTENT_LENGTH_DIGITS: Final = 10
"""Digits of a `Content-Length`: 9 999 999 999 bytes are more than anybody uploads, and fit every integer type."""

CHUNK_OVERHEAD_BYTES: Final = 16 * 1024
"""What chunk sizes, extensions and trailers of one body may add to the bytes of its payload and the same again. Chunks
of six bytes and more stay within it; one-byte chunks with extensions, which cost work and carry nothing, do not."""

REQUESTS_IN_ONE_TURN: Final = 32
"""How many pipelined requests of one connection are answered before others have their turn. A single read holds up to
2500, which would keep everybody else waiting for tens of milliseconds."""

HEAD_SECONDS: Final = 10.0
"""From a connection's, or a later head's, first byte to the end of the head. No dripping extends it. Tor connects to us
when a stream begins, and the head follows within one round trip, a second or two."""

REQUEST_SECONDS: Final = 60.0
"""From the end of the head to the end of a body that is collected (SecureDrop's Apache: 60). 1 MiB comes at 17 kB/s
through a slow circuit in that time."""

BODY_GRACE_SECONDS: Final = 20.0
BODY_BYTES_PER_SECOND: Final = 500.0
"""A body that is collected has 20 s, and a second more for every 500 bytes of it (both as Apache's
`RequestReadTimeout`), up to `REQUEST_SECONDS`. Who drips has little more than the 20 s; the slowest circuits carry some
kB/s."""

IDLE_SECONDS: Final = 75.0
"""Between requests of one connection (nginx's keepalive_timeout). Longer than the 60 s for which many clients keep
theirs, so that it is mostly they who close; a new stream through Tor costs a client a round trip of a second."""

STREAM_IDLE_SECONDS: Final = 600.0
"""Without a byte either way, while a request is passed through. A transparent proxy has no total deadline: a long
query of the operator's own may take what it takes."""

WRITE_SECONDS: Final = 60.0
"""How long a stranger may leave a full output (64 KiB in our own memory) unread."""

LINGER_SECONDS: Final = 10.0
"""How long, after a last answer, we wait for the stranger to close: a socket closed with unread bytes in it sends a
reset, which would destroy the answer under way."""

LINGER_BYTES: Final = 4 * 1024 * 1024
"""How much we read and throw away meanwhile: many clients send the whole body before they read an answer."""

CONNECTIONS: Final = 16_384
"""Connections at once, 3 KB each when idle or half-open (measured): 50 MB. A quarter of 65 536 file descriptors."""

UNCOUNTED_BYTES: Final = 4096
"""What one connection may hold without its being counted among what all hold, so that small writes cost no counting:
64 MiB of all connections together, if every one makes use of it."""


@frozen(kw_only=True)
class Bounds:
    """The bounds of one :class:`~torfluxd.gateway.front.Front`.

    :ivar head_bytes: request line and headers, with the empty line that ends them.
    :ivar target_bytes: the request target.
    :ivar headers: the number of headers.
    :ivar content_length_digits: the digits of a `Content-Length`.
    :ivar chunk_overhead_bytes: how much a chunked body may take on the wire above twice its payload.
    :ivar requests_in_one_turn: pipelined requests answered before others have their turn.
    :ivar head_seconds: from the first byte of a head, or from the connection, to the head's end.
    :ivar request_seconds: from the end of a head to the end of a collected body.
    :ivar body_grace_seconds: from the end of a head, before a collected body must have come at a minimum rate.
    :ivar body_bytes_per_second: that rate, on the average since the end of the head.
    :ivar idle_seconds: from an answer to the first byte of the next head.
    :ivar stream_idle_seconds: without progress either way of a request that is passed through.
    :ivar write_seconds: with a full output that the stranger does not read.
    :ivar linger_seconds: from the last answer until the stranger must have closed.
    :ivar linger_bytes: thrown away meanwhile.
    :ivar connections: at once.
    """

    head_bytes: int = HEAD_BYTES
    target_bytes: int = TARGET_BYTES
    headers: int = HEADERS
    content_length_digits: int = CONTENT_LENGTH_DIGITS
    chunk_overhead_bytes: int = CHUNK_OVERHEAD_BYTES
    requests_in_one_turn: int = REQUESTS_IN_ONE_TURN
    head_seconds: float = HEAD_SECONDS
    request_seconds: float = REQUEST_SECONDS
    body_grace_seconds: float = BODY_GRACE_SECONDS
    body_bytes_per_second: float = BODY_BYTES_PER_SECOND
    idle_seconds: float = IDLE_SECONDS
    stream_idle_seconds: float = STREAM_IDLE_SECONDS
    write_seconds: float = WRITE_SECONDS
    linger_seconds: float = LINGER_SECONDS
    linger_bytes: int = LINGER_BYTES
    connections: int = CONNECTIONS
