"""Attacks in the framing of requests, and in headers."""

from __future__ import annotations

import socket
import threading
import time

from tests.end_to_end.attacks.battle import DATABASE, AttackCase, request, write
from tests.end_to_end.programs import wait_until

DROP = request("POST", f"/query?q=DROP+DATABASE+{DATABASE}")

FLOOD_REQUESTS = 20_000

HONEST_SECONDS = 2.0
"""How long an honest stranger waits during a flood, on a machine that does much else: a millisecond or two on ours."""


class SmugglingTests(AttackCase):
    """Requests inside of requests."""

    def test_length_and_chunks(self) -> None:
        """A DROP that hides behind a length beside chunks is run by influxd; the gateway refuses the whole of it."""
        hidden = b"0\r\n\r\n" + DROP
        data = (
            b"POST /write?db=%b HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n%b"
            % (DATABASE.encode(), len(hidden), hidden)
        )
        self.assertEqual([204, 200], [answer.status for answer in self.directly(data)])
        self.assertNotIn(DATABASE, self.databases())
        self.influxd.create_database(DATABASE)
        self.assert_refused(data, 400)
        self.assertIn(DATABASE, self.databases())

    def test_every_disguise(self) -> None:
        """However lengths and chunks are disguised, the DROP behind them reaches nobody."""
        for headers in (
            b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
            b"Content-Length: 5\r\nContent-Length: 0\r\n",
            b"Content-Length: 5\r\ncontent-length: 5\r\n",
            b"Content-Length: 5, 0\r\n",
            b"Content-Length: +5\r\n",
            b"Content-Length : 5\r\n",
            b"Transfer-Encoding : chunked\r\n",
            b"Transfer-Encoding: xchunked\r\n",
            b"Transfer-Encoding: chunked, identity\r\n",
            b"Transfer-Encoding: identity, chunked\r\n",
            b"Transfer-Encoding:\tchunked\r\nTransfer-Encoding: x\r\n",
            b"X: y\r\n Transfer-Encoding: chunked\r\n",
            b"X: y\rTransfer-Encoding: chunked\r\n",
            b"X: y\nTransfer-Encoding: chunked\r\n",
            b"Transfer-Encoding\x00: chunked\r\n",
        ):
            data = b"POST /write?db=%b HTTP/1.1\r\nHost: a\r\n%b\r\n0\r\n\r\n%b" % (DATABASE.encode(), headers, DROP)
            self.assert_refused(data, 400)
        self.assertIn(DATABASE, self.databases())

    def test_in_names(self) -> None:
        """Line breaks in the name of a database or a retention policy begin no header, and no request."""
        for names in (
            "db=a%0d%0aX-Injected:%201",
            f"db={DATABASE}&rp=%20HTTP/1.1%0d%0aHost:%20a%0d%0a%0d%0a",
            "db=a%00",
        ):
            data = write(b"m v=1 1", names)
            reached = self.reached(lambda data=data: self.one_through_gateway(data))  # type: ignore[misc]
            self.assertEqual(1, len(reached))
            self.assertNotRegex(reached[0], "X-Injected: ")
        self.assertEqual([], self.measurements())

    def test_through_the_body(self) -> None:
        """A request in the body of a write is a bad line, and the connection goes on where the body ends."""
        head = b"POST /write?db=%b HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"
        data = head % (DATABASE.encode(), len(DROP)) + DROP
        answers = []
        reached = self.reached(lambda: answers.extend(self.through_gateway(data + request("GET", "/ping"))))
        self.assertEqual([400, 204], [answer.status for answer in answers])
        self.assertEqual([], reached)


class FloodTests(AttackCase):
    """Too much of it."""

    def test_pipelining(self) -> None:
        """Twenty thousand pipelined requests are answered in turns: others are served meanwhile, influxd hears none."""
        ping = b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n"
        data = ping * FLOOD_REQUESTS + request("GET", "/ping")
        flood: list[bytes] = []
        flooder = threading.Thread(target=lambda: flood.append(self.send(self.gateway.port, data)))
        waits = []

        def be_honest() -> None:
            flooder.start()
            while flooder.is_alive():
                begun = time.monotonic()
                self.assertEqual(204, self.one_through_gateway(request("GET", "/ping")).status)
                waits.append(time.monotonic() - begun)
            flooder.join()

        self.assertEqual([], self.reached(be_honest))
        self.assertEqual(FLOOD_REQUESTS + 1, flood[0].count(b"HTTP/1.1 204 No Content\r\n"))
        self.assertLess(max(waits), HONEST_SECONDS)

    def test_absurd_lengths(self) -> None:
        """A length that nobody has is refused at once; influxd believes one of ten digits, and waits for it."""
        for length, status in ((b"9" * 5000, 400), (b"9" * 11, 400), (b"9" * 10, 413), (b"18446744073709551616", 400)):
            data = b"POST /write?db=%b HTTP/1.1\r\nHost: a\r\nContent-Length: %b\r\n\r\n" % (DATABASE.encode(), length)
            self.assert_refused(data, status)
        data = b"POST /write?db=%b HTTP/1.1\r\nHost: a\r\nContent-Length: 20000000\r\n\r\n" % DATABASE.encode()
        known = len(self.influxd.accesses)
        with socket.create_connection(("127.0.0.1", self.influxd.port), timeout=1.0) as connection:
            connection.sendall(data)
            self.assertRaises(TimeoutError, connection.recv, 1)
        wait_until(lambda: len(self.influxd.accesses) > known, lambda: "the end of that request")
        self.assert_refused(data.replace(b"20000000", b"20000001"), 413)

    def test_endless_heads(self) -> None:
        """A head without an end is refused at 16 KiB; influxd reads a megabyte of it."""
        data = b"GET /ping HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 500_000 + b"\r\nConnection: close\r\n\r\n"
        self.assertEqual(204, self.one_directly(data).status)
        self.assert_refused(data, 431)


class HeaderTests(AttackCase):
    """What influxd writes into its log, and hands back."""

    def test_what_tells_people_apart(self) -> None:
        """Influxd logs what clients say of themselves, and lets them forge it; the gateway passes nothing of it on."""
        headers = {
            "X_Forwarded_For": "198.51.100.7",
            "X_Request_Id": 'forged" 500 "admin',
            "Referer": "http://referer.example/",
            "User_Agent": "unique-agent/1.0",
            "Cookie": "session=abcdef",
            "From": "me@example.net",
            "Via": "1.1 somewhere",
            "Forwarded": "for=198.51.100.8",
        }
        told = "198.51.100|forged|referer|unique-agent|session|example"
        data = write(b"m v=1 1", **headers)
        reached = self.reached(lambda: self.assertEqual(204, self.one_directly(data).status))
        self.assertRegex(
            reached[0], r'^\[httpd\] 198\.51\.100\.7,127\.0\.0\.1 .* "http://referer\.example/" "unique-agent'
        )
        self.assertIn('forged" 500 "admin', reached[0])

        answers = []
        reached = self.reached(lambda: answers.extend(self.through_gateway(data)))
        self.assertEqual([204], [answer.status for answer in answers])
        self.assertEqual(1, len(reached))
        asked = rf"POST /write\?db={DATABASE}&precision=ns HTTP/1\.1"
        self.assertRegex(reached[0], rf'^\[httpd\] 127\.0\.0\.1 - - \[[^]]+\] "{asked}" 204 0 "-" "-" ')
        self.assertNotRegex(reached[0], told)
        self.assertNotRegex(self.gateway.log, told)
