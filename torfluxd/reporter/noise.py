r"""Answers that may be wrong, so that no one of them tells anything for sure. Pure: chance is a parameter.

**Randomised response.** A tag with *k* values (those that the schema lists, and `other`) and an *epsilon* of ε keeps
its true value with the probability p = e^ε / (e^ε + k - 1), and becomes each of the others with q = 1 / (e^ε + k - 1).
Whoever sees one point can say of no value that it is more than e^ε times as likely as another to be the true one,
whatever else he knows, and whoever he is: the vendor, too. (Generalised randomised response; Kairouz, Bonawitz and
Ramage, "Discrete distribution estimation under local privacy", 2016.) Each point is answered afresh, so *n* points that
belong together tell up to nε: the epsilon is of a point, not of a person.

The vendor counts how often she sees each value, and :func:`estimated` tells how often it was true: without bias, and
with a standard deviation of some √(n q (1 - q)) / (p - q) for a rare value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Context, Decimal
from math import exp, isinf

from torfluxd.reporter.chance import Chance

__all__ = ["estimated", "kept_chance", "randomised", "rounded", "rounded_integer"]

_DECIMALS = Context(prec=40, traps=[])
"""Twice the digits of a float; and none of what an application has set for decimals of its own."""


def kept_chance(values: int, epsilon: float) -> float:
    """How likely the true value is kept.

    :param values: how many there are.
    """
    return 1.0 / (1.0 + (values - 1) * exp(-epsilon))


def randomised(value: str, values: Sequence[str], epsilon: float, chance: Chance) -> str:
    """Answer at random, and with the truth more often than not with anything else.

    :param value: the true one, one of these.
    :param values: all that there are, each once.
    :param epsilon: how much the answer may tell.
    """
    kept = kept_chance(len(values), epsilon)
    drawn = chance()
    if drawn < kept:
        return value
    others = [each for each in values if each != value]
    if not others:
        return value
    # What is left of the number is as evenly spread as it was.
    return others[min(int((drawn - kept) / (1.0 - kept) * len(others)), len(others) - 1)]


def estimated(seen: Mapping[str, float], values: Sequence[str], epsilon: float) -> dict[str, float]:
    """How often each value was the true one, out of how often it was seen: (seen - n q) / (p - q). The sum stays.

    It is right on average; for a value that is rare it may be below 0.

    :param seen: how many points have each value.
    :param values: all that the tag can have: those of the schema, and `other`.
    :param epsilon: of the schema.
    """
    total = sum(seen.get(value, 0) for value in values)
    if len(values) == 1:
        return {values[0]: total}
    kept = kept_chance(len(values), epsilon)
    changed = (1.0 - kept) / (len(values) - 1)
    return {value: (seen.get(value, 0) - total * changed) / (kept - changed) for value in values}


def rounded(value: float, step: float) -> float:
    """The nearest multiple of a step, written no longer than it need be: 0.3, and not 0.30000000000000004.

    Half way between two it is the even one. Where that would be more than a float can hold, it is the value.

    :param value: finite.
    :param step: above 0.
    """
    exact_step = Decimal(repr(step))
    multiples = _DECIMALS.to_integral_value(_DECIMALS.divide(Decimal(repr(value)), exact_step))
    nearest = float(_DECIMALS.multiply(multiples, exact_step))
    return value if isinf(nearest) else nearest


def rounded_integer(value: int, step: int) -> int:
    """The nearest multiple of a step; half way between two, the even one.

    :param step: above 0.
    """
    multiples, rest = divmod(value, step)
    return step * (multiples + (2 * rest > step or (2 * rest == step and multiples % 2 == 1)))
