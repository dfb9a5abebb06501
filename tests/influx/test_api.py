"""Each InfluxDB is asked for a write as it wants to be asked."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from torfluxd.boundaries import Destination
from torfluxd.influx.api import Api, write_target


class WriteTargetTests(SynchronousTestCase):
    """The request target of a write."""

    def assert_targets(self, destination: Destination, v1: bytes, v2: bytes, v3: bytes) -> None:
        """The targets of a destination, in each API."""
        self.assertEqual(write_target(Api.V1, destination), v1)
        self.assertEqual(write_target(Api.V2, destination, "the org"), v2)
        self.assertEqual(write_target(Api.V3, destination), v3)

    def test_database(self) -> None:
        """A database is a bucket in 2.x; times are nanoseconds, in the word that each has for them."""
        self.assert_targets(
            Destination("t"),
            b"/write?db=t&precision=ns",
            b"/api/v2/write?org=the%20org&bucket=t&precision=ns",
            b"/api/v3/write_lp?db=t&precision=nanosecond&accept_partial=true",
        )

    def test_retention_policy(self) -> None:
        """A retention policy is a part of the bucket's name, as in 1.8."""
        self.assert_targets(
            Destination("t", "w"),
            b"/write?db=t&rp=w&precision=ns",
            b"/api/v2/write?org=the%20org&bucket=t%2Fw&precision=ns",
            b"/api/v3/write_lp?db=t%2Fw&precision=nanosecond&accept_partial=true",
        )

    def test_escapes(self) -> None:
        """Names arrive as what they are."""
        self.assert_targets(
            Destination("a b&;=%", "ü+"),
            b"/write?db=a%20b%26%3B%3D%25&rp=%C3%BC%2B&precision=ns",
            b"/api/v2/write?org=the%20org&bucket=a%20b%26%3B%3D%25%2F%C3%BC%2B&precision=ns",
            b"/api/v3/write_lp?db=a%20b%26%3B%3D%25%2F%C3%BC%2B&precision=nanosecond&accept_partial=true",
        )

    def test_token_scheme(self) -> None:
        """A token is shown as each API calls it."""
        self.assertEqual([api.token_scheme for api in Api], ["Token", "Token", "Bearer"])
