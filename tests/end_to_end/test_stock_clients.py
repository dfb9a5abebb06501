"""Unmodified clients of every generation of InfluxDB write through the gateway, and hear what they understand.

They write to a gateway in front of influxd 1.6.7, which keeps nanoseconds, and to one in front of VictoriaMetrics,
which keeps milliseconds.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from typing import ClassVar
from urllib.request import Request, urlopen

import influxdb
import influxdb.exceptions
from influxdb_client import InfluxDBClient, Point, WriteApi
from influxdb_client.client.influxdb_client_async import InfluxDBClientAsync
from influxdb_client.client.write_api import SYNCHRONOUS
from influxdb_client.rest import ApiException
from influxdb_client_3 import InfluxDBClient3, InfluxDBError, WriteOptions, write_client_options
from influxdb_client_3.exceptions import InfluxDBPartialWriteError
from influxdb_client_3.write_client.client.write_api import WriteType
from twisted.trial.unittest import SynchronousTestCase

from tests.end_to_end.programs import LocalGateway, temporary_directory
from tests.influxd import Influxd
from tests.victoria import Victoria

TIME_NS = time.time_ns() // 3_600_000_000_000 * 3_600_000_000_000 + 123_456_789
"""A time of today, which is the same in every precision of an hour."""
UNITS_NS: Mapping[str, int] = {
    "ns": 1,
    "n": 1,
    "us": 10**3,
    "u": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}

WriteOne = Callable[[str, str, int], None]
"""Writes one point: its measurement, the precision, and the time in that unit."""


class StockClientCase(SynchronousTestCase):
    """An influxd, a VictoriaMetrics and a gateway before each, which the tests of a class share."""

    influxd: ClassVar[Influxd]
    victoria: ClassVar[Victoria]
    to_influxd: ClassVar[LocalGateway]
    to_victoria: ClassVar[LocalGateway]

    @classmethod
    def setUpClass(cls) -> None:
        """Start them."""
        super().setUpClass()
        directory = temporary_directory(cls.addClassCleanup)
        cls.influxd, cls.victoria = Influxd(), Victoria()
        for server in (cls.influxd, cls.victoria):
            cls.addClassCleanup(server.close)
            server.start()
        cls.influxd.create_database("telemetry")
        cls.influxd.query("CREATE RETENTION POLICY week ON telemetry DURATION INF REPLICATION 1")
        cls.influxd.write("telemetry", b"typed v=1 %d" % TIME_NS)
        cls.to_influxd = LocalGateway(cls.addClassCleanup, directory / "influxd", cls.influxd.url)
        cls.to_victoria = LocalGateway(cls.addClassCleanup, directory / "victoria", cls.victoria.url)

    def assert_times(self, name: str, precisions: str, writer: Callable[[LocalGateway], WriteOne]) -> None:
        """What is written in each precision is stored with the same time, to what the server keeps.

        :param precisions: the client's words for them.
        """
        for gateway in (self.to_influxd, self.to_victoria):
            write = writer(gateway)
            for precision in precisions.split():
                write(f"{name}_{precision}", precision, TIME_NS // UNITS_NS[precision])
        for precision in precisions.split():
            unit = UNITS_NS[precision]
            expected = TIME_NS // unit * unit
            self.assertEqual(self.stored(f"{name}_{precision}"), [expected])
            self.assertEqual(self.victoria.times(f"{name}_{precision}_v"), [expected // 10**6])

    def stored(self, measurement: str, policy: str = "autogen") -> list[int]:
        """The times that influxd has of a measurement."""
        series = self.influxd.query(f'SELECT v FROM "{policy}"."{measurement}"', "telemetry")
        return [row[0] for row in series[0]["values"]] if series else []


class V1Tests(StockClientCase):
    """`influxdb` 5.x, for InfluxDB 1.x."""

    def client(self, gateway: LocalGateway, *, gzip: bool = False) -> influxdb.InfluxDBClient:
        """The client, as its users make it."""
        client = influxdb.InfluxDBClient("127.0.0.1", gateway.port, "w", "pw", "telemetry", retries=1, gzip=gzip)
        self.addCleanup(client.close)
        return client

    def refusal(self, kind: type[Exception], line: str, **options: object) -> Exception:
        """What the client raises for a line."""
        client = self.client(self.to_influxd)
        error: Exception = self.assertRaises(kind, client.write_points, [line], protocol="line", **options)
        return error

    def test_precisions(self) -> None:
        """Every precision of the client arrives, gzipped or not."""

        def writer(gateway: LocalGateway) -> WriteOne:
            clients = (self.client(gateway), self.client(gateway, gzip=True))

            def write(measurement: str, precision: str, time: int) -> None:
                for client in clients:  # the same point twice, which is stored once
                    point = {"measurement": measurement, "fields": {"v": 1.5}, "time": time}
                    client.write_points([point], time_precision=precision)

            return write

        self.assert_times("v1", "n u ms s m h", writer)

    def test_first_words(self) -> None:
        """It finds a server that it knows, and creates its database as ever."""
        client = self.client(self.to_influxd)
        self.assertEqual(client.ping(), "1.8.10")
        client.create_database("telemetry")

    def test_retention_policy(self) -> None:
        """Its retention policy is the one where the point lies."""
        self.client(self.to_influxd).write_points([f"v1rp v=1 {TIME_NS}"], protocol="line", retention_policy="week")
        self.assertEqual(self.stored("v1rp", "week"), [TIME_NS])

    def test_bad_line(self) -> None:
        """A bad line surfaces in its own exception, in influxd's words, and the good one beside it is stored."""
        error = self.refusal(influxdb.exceptions.InfluxDBClientError, f"v1good v=1 {TIME_NS}\ngarbage")
        self.assertEqual(getattr(error, "code", None), 400)
        self.assertIn("partial write: unable to parse 'garbage': missing fields", str(error))
        self.assertEqual(self.stored("v1good"), [TIME_NS])

    def test_conflict(self) -> None:
        """So does a field that has another type already."""
        error = self.refusal(influxdb.exceptions.InfluxDBClientError, f'typed v="x" {TIME_NS}')
        self.assertEqual(getattr(error, "code", None), 400)
        self.assertIn("field type conflict", str(error))

    def test_unknown_retention_policy(self) -> None:
        """So does a retention policy that does not exist."""
        error = self.refusal(influxdb.exceptions.InfluxDBServerError, f"m v=1 {TIME_NS}", retention_policy="nope")
        self.assertIn("retention policy not found: nope", str(error))


class V2Tests(StockClientCase):
    """`influxdb-client`, for InfluxDB 2.x, synchronous and asynchronous."""

    def write_api(self, gateway: LocalGateway, *, gzip: bool = False) -> WriteApi:
        """The client's way to write, as its users make it."""
        client = InfluxDBClient(gateway.url, token="anything", org="any", enable_gzip=gzip)
        self.addCleanup(client.close)
        return client.write_api(SYNCHRONOUS)

    def refusal(self, lines: str) -> ApiException:
        """What the client raises for lines."""
        write = self.write_api(self.to_influxd).write
        error: ApiException = self.assertRaises(ApiException, write, "telemetry", record=lines)
        return error

    def test_precisions(self) -> None:
        """Every precision of the client arrives, gzipped or not."""

        def writer(gateway: LocalGateway) -> WriteOne:
            plain, zipped = self.write_api(gateway), self.write_api(gateway, gzip=True)

            def write(measurement: str, precision: str, time: int) -> None:
                for api in (plain, zipped):  # the same point twice, which is stored once
                    point = Point(measurement).field("v", 1.5).time(time, precision)
                    api.write("telemetry", record=point, write_precision=precision)

            return write

        self.assert_times("v2", "ns us ms s", writer)

    def test_async_precisions(self) -> None:
        """So it does when the client is asynchronous."""

        async def write_one(url: str, measurement: str, precision: str, time: int) -> None:
            async with InfluxDBClientAsync(url, token="anything", org="any") as client:
                self.assertTrue(await client.ping())
                point = Point(measurement).field("v", 1.5).time(time, precision)
                self.assertTrue(await client.write_api().write("telemetry", record=point, write_precision=precision))

        def writer(gateway: LocalGateway) -> WriteOne:
            return lambda *point: asyncio.run(write_one(gateway.url, *point))

        self.assert_times("v2async", "ns us ms s", writer)

    def test_first_words(self) -> None:
        """It finds a server that is well."""
        with InfluxDBClient(self.to_influxd.url, token="anything", org="any") as client:
            self.assertTrue(client.ping())
            self.assertEqual((client.health().status, client.version()), ("pass", "1.8.10"))
        self.flushWarnings()  # the client would rather be asked to ping

    def test_retention_policy(self) -> None:
        """A bucket `db/rp` is a database and a retention policy."""
        self.write_api(self.to_influxd).write("telemetry/week", record=f"v2rp v=1 {TIME_NS}")
        self.assertEqual(self.stored("v2rp", "week"), [TIME_NS])

    def test_bad_line(self) -> None:
        """A bad line surfaces in its own exception, and nothing of the batch is stored."""
        error = self.refusal(f"v2good v=1 {TIME_NS}\ngarbage")
        self.assertEqual((error.status, error.message), (400, "unable to parse 'garbage': missing fields"))
        self.assertEqual(self.stored("v2good"), [])

    def test_unsigned(self) -> None:
        """An unsigned integer is stored where InfluxDB is spoken to as 2.x, and a bad line where it is 1.x."""
        state = temporary_directory(self.addCleanup) / "v2"
        options = ("--influxdb-api", "v2", "--influxdb-org", "vendor")
        gateway = LocalGateway(self.addCleanup, state, self.victoria.url, *options)
        self.write_api(gateway).write("telemetry", record=f"v2unsigned v=18446744073709551615u {TIME_NS}")
        self.assertEqual(self.victoria.times("v2unsigned_v"), [TIME_NS // 10**6])
        error = self.refusal("v2unsigned v=1u 7")
        self.assertEqual((error.status, error.message), (400, "unable to parse 'v2unsigned v=1u 7': invalid number"))

    def test_async_bad_line(self) -> None:
        """So it does when the client is asynchronous."""

        async def write_one() -> None:
            async with InfluxDBClientAsync(self.to_influxd.url, token="anything", org="any") as client:
                await client.write_api().write("telemetry", record="garbage")

        error: ApiException = self.assertRaises(ApiException, asyncio.run, write_one())
        self.assertEqual((error.status, error.message), (400, "unable to parse 'garbage': missing fields"))

    def test_conflict(self) -> None:
        """A field that has another type already is 422, as in 2.x."""
        error = self.refusal(f'typed v="x" {TIME_NS}')
        self.assertEqual(error.status, 422)
        self.assertIn("failure writing points to database: partial write: field type conflict", error.message)

    def test_no_bucket(self) -> None:
        """A bucket without a name is not found."""
        error = self.assertRaises(ApiException, self.write_api(self.to_influxd).write, "/x", record=f"m v=1 {TIME_NS}")
        self.assertEqual((error.status, error.message), (404, "bucket not found"))

    def test_unknown_bucket(self) -> None:
        """Neither is one that nobody has made; the retention policy counts as well."""
        for bucket, message in (
            ("nope", 'database not found: "nope"'),
            ("telemetry/nope", "retention policy not found: nope"),
        ):
            error = self.assertRaises(
                ApiException, self.write_api(self.to_influxd).write, bucket, record=f"m v=1 {TIME_NS}"
            )
            self.assertEqual((error.status, error.message), (404, message))


class V3Tests(StockClientCase):
    """`influxdb3-python`, for InfluxDB 3, at the path of 3.x and, as it does by default, at that of 2.x."""

    def client(self, gateway: LocalGateway, *, v2: bool = False, partial: bool = True) -> InfluxDBClient3:
        """The client, as its users make it."""
        options = WriteOptions(write_type=WriteType.synchronous, use_v2_api=v2, accept_partial=partial)
        client = InfluxDBClient3(
            host=gateway.url,
            token="anything",
            database="telemetry",
            write_client_options=write_client_options(write_options=options),
        )
        self.addCleanup(client.close)
        return client

    def refusal(self, lines: str, kind: type[InfluxDBError] = InfluxDBError, **options: bool) -> InfluxDBError:
        """What the client raises for lines."""
        error: InfluxDBError = self.assertRaises(kind, self.client(self.to_influxd, **options).write, lines)
        return error

    def test_precisions(self) -> None:
        """Every precision of the client arrives, at either path."""
        for v2 in (False, True):

            def writer(gateway: LocalGateway, *, v2: bool = v2) -> WriteOne:
                client = self.client(gateway, v2=v2)

                def write(measurement: str, precision: str, time: int) -> None:
                    client.write(f"{measurement} v=1.5 {time}", write_precision=precision)

                return write

            self.assert_times(f"v3_{v2}", "ns us ms s", writer)

    def test_auto(self) -> None:
        """Without a precision, as other programs write, each time tells its unit by its size."""
        lines = "".join(f"v3auto v=1.5 {TIME_NS // unit}\n" for unit in (1, 10**3, 10**6, 10**9)).encode()
        for gateway in (self.to_influxd, self.to_victoria):
            with urlopen(Request(f"{gateway.url}/api/v3/write_lp?db=telemetry", lines)) as response:
                self.assertEqual(response.status, 204)
        expected = [TIME_NS // unit * unit for unit in (10**9, 10**6, 10**3, 1)]
        self.assertEqual(self.stored("v3auto"), expected)
        self.assertEqual(self.victoria.times("v3auto_v"), sorted({time // 10**6 for time in expected}))

    def test_first_words(self) -> None:
        """It finds a server with a version."""
        self.assertEqual(self.client(self.to_influxd).get_server_version(), "1.8.10")

    def test_bad_line(self) -> None:
        """A bad line surfaces in its own exception, with its number, and the good one beside it is stored."""
        error = self.refusal(f"v3good v=1 {TIME_NS}\ngarbage", InfluxDBPartialWriteError)
        assert isinstance(error, InfluxDBPartialWriteError)
        [line] = error.line_errors
        self.assertEqual((line.line_number, line.original_line, line.error_message), (2, "garbage", "missing fields"))
        self.assertEqual((error.response.status, self.stored("v3good")), (400, [TIME_NS]))

    def test_all_or_nothing(self) -> None:
        """When it wants all or nothing, the first bad line is named, and nothing is stored."""
        error = self.refusal(f"v3whole v=1 {TIME_NS}\ngarbage", partial=False)
        self.assertIn("parsing failed for write_lp endpoint", error.message)
        self.assertIn("line 2: missing fields (garbage)", error.message)
        self.assertEqual(self.stored("v3whole"), [])

    def test_conflict(self) -> None:
        """A field that has another type already is a partial write."""
        error = self.refusal(f'typed v="x" {TIME_NS}', InfluxDBPartialWriteError)
        self.assertEqual(error.response.status, 400)
        self.assertIn("field type conflict", error.message)

    def test_at_the_path_of_v2(self) -> None:
        """At the path of 2.x it hears what 2.x would say."""
        error = self.refusal(f"v3v2 v=1 {TIME_NS}\ngarbage", v2=True)
        self.assertEqual(error.response.status, 400)
        self.assertIn("unable to parse 'garbage': missing fields", error.message)
        self.assertEqual(self.stored("v3v2"), [])

    def test_retention_policy(self) -> None:
        """A database `db/rp` is a database and a retention policy."""
        self.client(self.to_influxd).write(f"v3rp v=1 {TIME_NS}", database="telemetry/week", write_precision="ns")
        self.assertEqual(self.stored("v3rp", "week"), [TIME_NS])

    def test_shape(self) -> None:
        """What the client reads is JSON, whichever way a write is wrong."""
        error = self.assertRaises(InfluxDBError, self.client(self.to_influxd).write, "m v=1", database="/x")
        self.assertEqual(json.loads(error.response.data), {"error": "invalid database name", "data": None})
