"""What goes out, as bytes."""

from __future__ import annotations

import weakref

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.gateway.strangers import parse_answers
from torfluxd.gateway.exchange import Answer
from torfluxd.gateway.wire import AnswerBytes, Framing, encode_answer

NAMES = st.from_regex(rb"\AX-[A-Za-z0-9]{1,8}\Z")
VALUES = st.from_regex(rb"\A([!-~]([!-~ ]{0,20}[!-~])?)?\Z")


class WireTests(SynchronousTestCase):
    """A client that is not ours reads what was meant."""

    @given(
        status=st.sampled_from([200, 204, 304, 400, 413, 503, 599]),
        headers=st.lists(st.tuples(NAMES, VALUES), max_size=4),
        body=st.binary(max_size=50),
        closes=st.booleans(),
    )
    def test_round_trip(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes, closes: bool) -> None:
        """Any answer is read as it was given: status, headers, body, and whether another one may follow."""
        (answer,) = parse_answers(encode_answer(Answer(status, headers, body), to_head=False, closes=closes))
        self.assertEqual(answer.status, status)
        self.assertEqual(answer.body, b"" if status in (204, 304) else body)
        self.assertEqual(answer.header("Connection"), "close" if closes else None)
        told = [(name.encode(), value.encode()) for name, value in answer.headers if name.startswith("X-")]
        self.assertEqual(told, headers)

    @given(pieces=st.lists(st.binary(min_size=1, max_size=50), max_size=5))
    def test_chunks(self, pieces: list[bytes]) -> None:
        """A body in chunks is read as the pieces it was given in."""
        framed = b"".join(map(Framing.CHUNKED.frame, pieces)) + Framing.CHUNKED.end()
        (answer,) = parse_answers(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + framed)
        self.assertEqual(answer.body, b"".join(pieces))

    def test_constants_are_encoded_once(self) -> None:
        """A constant answer is encoded once, a long one each time; both are right."""
        encode = AnswerBytes()
        for answer, once in ((Answer(204), True), (Answer(200, (), b"x" * 5000), False)):
            first, second = encode(answer), encode(answer)
            self.assertEqual(first, encode_answer(answer, to_head=False, closes=False))
            self.assertEqual(first, second)
            self.assertEqual(first is second, once)

    def test_passing_answers(self) -> None:
        """Answers that are made for one stranger each are encoded each for itself, and not kept for ever."""
        encode = AnswerBytes()
        alive = []
        for number in range(1000):
            answer = Answer(200, (), b"%d" % number)
            alive.append(weakref.ref(answer))
            self.assertTrue(encode(answer).endswith(b"\r\n\r\n%d" % number))
        del answer
        self.assertLessEqual(sum(one() is not None for one in alive), 64)
