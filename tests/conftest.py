"""What all tests share: one private Tor network, and patience with slow machines."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.private_network import begin_network, end_network

# A busy machine must not fail a property: what takes too long is seen by those who wait.
settings.register_profile("torfluxd", deadline=None)
settings.load_profile("torfluxd")


_WITHOUT_TOR = {"under_fire", "attacks"}
"""The end-to-end tests in these directories need no Tor network."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the end-to-end tests last, while their network comes up behind the others."""
    items.sort(key=_is_end_to_end)


def _is_end_to_end(item: pytest.Item) -> bool:
    return "end_to_end" in item.path.parts


@pytest.fixture(autouse=True, scope="session")
def _network(request: pytest.FixtureRequest) -> Iterator[None]:
    """Begin the private network where a test will want it; end it in any case."""
    if any(_is_end_to_end(item) and not _WITHOUT_TOR & {*item.path.parts} for item in request.session.items):
        begin_network()
    yield
    end_network()
