"""A tor for a reporter whose user shall not have to install one: Debian's program, with the libraries that it needs."""

from __future__ import annotations

from pathlib import Path

__all__ = ["binary"]


def binary() -> Path:
    """The program: a script that starts tor with the libraries beside it, and becomes it."""
    return Path(__file__).parent / "tor"
