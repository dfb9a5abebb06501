"""Ten million mutations (`make torture`)."""

from __future__ import annotations

import pytest
from twisted.trial.unittest import SynchronousTestCase

from tests.end_to_end.under_fire.server import say
from tests.fuzzing.campaign import GOAL, Campaign, home


class CampaignTests(SynchronousTestCase):
    """A long run."""

    @pytest.mark.torture
    def test_ten_million(self) -> None:
        """In ten million mutations nothing reaches InfluxDB that may not, and there is no traceback."""
        self.assertGreaterEqual(Campaign(home(), say).run(), GOAL)
