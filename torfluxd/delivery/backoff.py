"""How long to wait before the next attempt: pure, randomness included, which is a parameter."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Backoff", "exponential_backoff", "wait_seconds"]

Backoff = Callable[[int], float]
"""From the number of failed attempts in a row, 1 for the first, to the seconds to wait before the next one. Never
raises."""


def exponential_backoff(
    *, first_seconds: float, factor: float, cap_seconds: float, jitter: Callable[[], float]
) -> Backoff:
    """Waits that grow by a factor up to a cap, each one spread at random over its upper half.

    The growth keeps many who wait for one server from wearing it out. The spread keeps those who lost it in the same
    moment from coming back in the same moment ("equal jitter" in M. Brooker, "Exponential Backoff And Jitter", AWS
    Architecture Blog, 2015). Half of each wait stays fixed, so that no draw of luck makes it no wait at all.

    :param first_seconds: the longest wait after the first failure.
    :param factor: by how much the longest wait grows with each further failure; at least 1.
    :param cap_seconds: no wait is longer.
    :param jitter: a number from 0 to 1 for each wait, evenly spread: `random.random`, or a constant in a test.
    :returns: the policy. Its waits are between a half of `min(cap_seconds, first_seconds * factor ** (attempt - 1))`
        and the whole.
    """

    def backoff(attempt: int) -> float:
        try:
            longest = min(cap_seconds, first_seconds * factor ** (attempt - 1))
        except OverflowError:  # after 1024 attempts with a factor of 2
            longest = cap_seconds
        return longest * (1 + jitter()) / 2

    return backoff


def wait_seconds(backoff: Backoff, attempt: int, retry_after_seconds: float | None) -> float:
    """How long to wait when the other side may have asked for a pause.

    What it asks for comes on top of the backoff: never sooner than asked, and still spread at random, because everyone
    whom an overloaded server sends away is told the same number.

    :param attempt: failed attempts in a row, 1 for the first.
    :param retry_after_seconds: what the other side asks for, or None. Whoever read its answer has bounded it.
    """
    return (retry_after_seconds or 0.0) + backoff(attempt)
