"""What stands in the README, taken out of it, so that tests can hold it against the code, or run it."""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path

from docutils import nodes
from docutils.core import publish_doctree

__all__ = ["CHECKOUT", "EXAMPLE_ADDRESS", "blocks", "literals", "rendered", "the_block"]

CHECKOUT = Path(__file__).parent.parent

EXAMPLE_ADDRESS = "j54s5euecfxlr2s6vxzqmomihehaydeajmthfexaq7zbfkrwokukvdqd.onion"
"""The onion address in the README's examples. Nobody has its key."""


@cache
def rendered(name: str = "README.rst") -> tuple[nodes.document, str]:
    """A text as a document, and what docutils had to say about it, remarks and warnings."""
    remarks = io.StringIO()
    settings = {"warning_stream": remarks, "report_level": 1, "halt_level": 5}
    return publish_doctree((CHECKOUT / name).read_text("utf-8"), settings_overrides=settings), remarks.getvalue()


def blocks(language: str, name: str = "README.rst") -> list[str]:
    """The text of each block of a language: `python`, `sh`, `ini`; or of each without one: ``."""
    classes = ["code", language] if language else []
    return [block.astext() for block in rendered(name)[0].findall(nodes.literal_block) if block["classes"] == classes]


def the_block(language: str, words: str, name: str = "README.rst") -> str:
    """The one block of a language in which certain words stand."""
    (block,) = (block for block in blocks(language, name) if words in block)
    return block


def literals() -> list[str]:
    """What stands in the text as code."""
    return [literal.astext() for literal in rendered()[0].findall(nodes.literal)]
