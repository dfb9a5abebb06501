"""Lines to be checked: good ones, and what becomes of them when something goes wrong on the way."""

from __future__ import annotations

import random

__all__ = ["RandomLines"]

NAMES = [
    b"m",
    b"cpu",
    b"a",
    b"b",
    b"host",
    b"time",
    b"tim",
    b"times",
    b"_x",
    b"\xc3\xa9",
    b'"q"',
    b"a b",
    b"c,d",
    b"e=f",
]
PIECES = [
    *[bytes([byte]) for byte in b'\\\\\\,,,==="""    \n\r\t\x00\x01\x7f#-+.eEiuNn0159tTfFx_'],
    *[b"\\\\", b'\\"', b"\\,", b"\\=", b"\\ ", b"\xff", b"\xc3", b"\xc3\xa9", b'"a"', b"=1", b",a=1", b" 1", b"time="],
]
VALUES = [
    *b"1 0 -1 1.5 -0.0 1. .5 -.5 . - -. 1e5 1E-5 1e+5 1e 1e+ e1 .e1 1e5e5 1.1.1 --1 1- +1 1e286 1e287 1e308".split(),
    *b"1.7976931348623157e308 1.8e308 1e309 1e400 -1e400 1e-400 1e0000000000000001 1e99999999999999999999".split(),
    *b"999999999999999999999e286 9999999999999999999999e286 0x1 1_0 1u 0u -1u 1i 0i -1i 01i 1ii 1.0i 1e5i i -i".split(),
    *b"9223372036854775807i 9223372036854775808i -9223372036854775808i -9223372036854775809i".split(),
    *b"9223372036854775799i 9199999999999999999i 00000000000000000000000000009i 99999999999999999999999i".split(),
    *b"t T true True TRUE f F false False FALSE tRUE truE tt trues y NaN nan N n Inf inf -inf null".split(),
    *[b"9" * 308, b"9" * 309, b"9" * 400, b"0" * 400 + b"1", b"0." + b"0" * 400 + b"1", b"-" + b"9" * 350],
    *[b'""', b'"a"', b'"a b"', b'"a,b=c d"', b'"\\""', b'"\\\\"', b'"\\a"', b'"a', b'a"', b'"a"b', b'"a\\"', b'"\t"'],
    *[b'"a\nb"', b'"\nm f=1\n"', b'"\xff"', b'"\xc3\xa9"', b'"\x01"', b'""""', b""],
]
TIMES = [
    *b"0 1 -1 -0 007 1.5 1e5 +1 - 1i x 1577836800000000000 1577836800 9223372036854775806 9223372036854775807".split(),
    *b"9223372036854775808 -9223372036854775806 -9223372036854775807 -9223372036854775808 99999999999999999999".split(),
    *b"9223372036854775 9223372036854776 -9223372036855 9223372036854 9223372036 9223372037".split(),
    *b"153722867 153722868 2562047 2562048 -2562047 -2562048 00000000000000000000000000000001".split(),
    *[b"", b"1 ", b"1 x", b"1\r", b"\r", b"1\t", b"\t1", b"1 2"],
]
ORDINARY = [b"1", b"1.5", b"-3i", b"t", b'"a b"', b"1e3"]


class RandomLines:
    """Lines made at random.

    :param seed: the same seed, the same lines.
    """

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def name(self) -> bytes:
        """A name as it would be written, escaped more often than not."""
        name = self.random.choice(NAMES) + b"%d" % self.random.randrange(5) * (self.random.random() < 0.3)
        if self.random.random() < 0.95:
            for separator in (b",", b"=", b" "):
                name = name.replace(separator, b"\\" + separator)
        return name

    def value(self) -> bytes:
        """The value of a field, an ordinary one more often than not."""
        return self.random.choice(ORDINARY if self.random.random() < 0.6 else VALUES)

    def line(self) -> bytes:
        """A line; three in ten are as they should be or nearly, the others have gone through more."""
        tags = b"".join(
            b",%b=%b" % (self.name(), self.name()) for _ in range(self.random.choice([0, 0, 1, 1, 2, 3, 8]))
        )
        fields = b",".join(b"%b=%b" % (self.name(), self.value()) for _ in range(self.random.choice([1, 1, 2, 4])))
        line = self.name() + tags + self.random.choice([b" "] * 9 + [b"  ", b" \t"]) + fields
        if self.random.random() < 0.6:
            times = TIMES if self.random.random() < 0.3 else [b"1577836800000000000", b"1"]
            line += b" " + self.random.choice(times)
        if self.random.random() < 0.05:
            line = self.random.choice([b" ", b"\t", b"\x00", b"#", b"\n", b"\r\n"]) + line
        for _ in range(self.random.choice([0, 0, 0, 1, 1, 2, 4])):
            line = self.broken(line)
        return line

    def broken(self, line: bytes) -> bytes:
        """The line with something put in, taken out, or doubled."""
        start = self.random.randrange(len(line) + 1)
        end = min(len(line), start + self.random.choice([0, 0, 1, 1, 3]))
        piece = self.random.choice(PIECES)
        if self.random.random() < 0.1:
            piece = line[start:end] * 2
        return line[:start] + piece + line[end:]
