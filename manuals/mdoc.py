"""Options as text for manual pages, in mdoc(7). Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from torfluxd.commands import Command, Flag
from torfluxd.settings.option import Option

__all__ = ["filled", "written_key", "written_text"]

_BLANK = re.compile(r"^\.\\\" (options|keys) of (\S+)$", re.MULTILINE)
"""A comment in a page, in the place of which a list stands in the end."""

_SENTENCE_END = re.compile(r"(?<=[a-z0-9)\"'.]{2}[.!?]) (?=[A-Z[$])")


def filled(page: str, commands: Sequence[Command], keys: Sequence[Option]) -> str:
    r"""A page with lists of options in the place of its comments.

    :param page: mdoc, with lines such as `.\" options of serve`, and `.\" keys of rules`.
    :param commands: all that there are.
    :param keys: those of the table `[rules]` that have no option.
    """
    flags = {command.name: command.flags for command in commands}

    def fill(blank: re.Match[str]) -> str:
        kind, name = blank.groups()
        if kind == "options" and name not in flags:
            return blank[0]  # the comment stays, until there is such a command
        items = _flag_items(flags[name]) if kind == "options" else _key_items(keys)
        return "\n".join([".Bl -tag -width Ds", *items, ".El"])

    return _BLANK.sub(fill, page)


def written_text(text: str) -> Iterator[str]:
    """A text as lines of mdoc, one for each sentence."""
    for sentence in _SENTENCE_END.split(text):
        escaped = _escaped(sentence)
        yield f"\\&{escaped}" if escaped.startswith(".") else escaped


def _escaped(text: str) -> str:
    """A text of which nothing has a meaning in roff, and dashes stay what they are."""
    return text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq")


def written_key(option: Option) -> Iterator[str]:
    """A key of the configuration file."""
    yield f".It Ic {option.key} No = Ar {option.unit or (option.metavar or 'true|false').lower()}"
    yield from written_text(option.help)
    if option.reason:
        yield from written_text(option.reason)
    if option.default is not None:
        yield from _default(option.default)


def _key_items(options: Sequence[Option]) -> Iterator[str]:
    for option in options:
        yield from written_key(option)


def _flag_items(flags: Sequence[Flag]) -> Iterator[str]:
    for flag in flags:
        placeholder = f" Ar {_escaped(flag.placeholder)}" if flag.placeholder else ""
        yield f".It Fl {_escaped('-' + flag.name)}{placeholder}"
        yield from written_text(flag.help)
        if flag.default:
            yield from _default(flag.default)


def _default(text: str) -> Iterator[str]:
    yield "By default"
    yield f".Ql {_escaped(text)} ."
