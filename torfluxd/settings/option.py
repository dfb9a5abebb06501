"""One option: its name on the command line, in the environment and in a file, and how its value is read. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import field, frozen

from torfluxd.errors import SettingsError
from torfluxd.sizes import read_size

__all__ = [
    "Given",
    "Option",
    "config_options",
    "find_given",
    "read_bytes",
    "read_count",
    "read_flag",
    "read_name",
    "read_path",
    "read_text",
    "read_value",
    "shown",
]

LARGEST_COUNT = 10**9
"""A number of things that is larger is a typing error."""

SHOWN_CHARACTERS = 60
"""How much of a value an error shows: enough to find it, and no more of what was pasted by mistake."""


def _as_it_is(text: str) -> str:
    return text


@frozen
class Option:
    """One option.

    :ivar name: as on the command line, without the dashes.
    :ivar read: its text to its value; raises SettingsError with a sentence that does not name the option.
    :ivar default: as a person would type it, or None.
    :ivar help: for `--help`, and for the sample of a configuration.
    :ivar metavar: what stands for the value in the help; None for a flag without value.
    :ivar repeatable: whether it may be given several times; its value is a tuple then, in a file a list.
    :ivar unit: what its number counts, where it is one; in a file it may stand without quotes then.
    :ivar reason: why the default is what it is.
    :ivar example: a value for the sample, where there is no default.
    :ivar conceal: what may be shown of a value that can have a secret in it.
    """

    name: str
    read: Callable[[str], Any]
    default: str | None
    help: str
    metavar: str | None = "VALUE"
    repeatable: bool = False
    unit: str = field(default="", kw_only=True)
    reason: str = field(default="", kw_only=True)
    example: str = field(default="", kw_only=True)
    conceal: Callable[[str], str] = field(default=_as_it_is, kw_only=True)

    @property
    def variable(self) -> str:
        """The environment variable that stands for it."""
        return "TORFLUXD_" + self.name.upper().replace("-", "_")

    @property
    def key(self) -> str:
        """Its name in a file, and in the settings."""
        return self.name.replace("-", "_")

    def texts_of(self, value: object) -> tuple[str, ...]:
        """A value out of a file as it would be typed, once or several times.

        :param value: as `tomllib` reads it.
        :raises SettingsError: it is of a type that the option does not take.
        """
        if self.repeatable:
            if isinstance(value, list) and all(isinstance(one, str) for one in value):
                return tuple(value)
            raise SettingsError(f"expected a list of strings, got {shown(value)}")
        if self.metavar is None:
            if isinstance(value, bool):
                return ("yes" if value else "no",)
            raise SettingsError(f"expected true or false, got {shown(value)}")
        if isinstance(value, str) or (self.unit and type(value) is int):
            return (str(value),)
        such = f"a number of {self.unit}" if self.unit else f'a string such as "{self.default or self.example}"'
        raise SettingsError(f"expected {such}, got {shown(value)}")


@frozen
class Given:
    """What was given for an option.

    :ivar texts: as it was typed; one text but for a repeatable option; none for an option without default that was not
        given.
    :ivar where: the flag, the variable, or the file and the key in it; empty for the default.
    """

    texts: tuple[str, ...]
    where: str = ""


def find_given(
    option: Option,
    flags: Mapping[str, str | Sequence[str] | None],
    environment: Mapping[str, str],
    file: Mapping[str, Given],
) -> Given:
    """What holds for an option: the flag, else its variable, else what stands in the file, else the default.

    :param flags: option name to what was typed; absent, None or an empty list for an option that was not given.
    :param environment: `os.environ`. A repeatable option's variable holds one value.
    :param file: option name to what the configuration file says.
    """
    typed = flags.get(option.name)
    if typed or typed == "":
        return Given((typed,) if isinstance(typed, str) else tuple(typed), f"--{option.name}")
    if option.variable in environment:
        return Given((environment[option.variable],), option.variable)
    if option.name in file:
        return file[option.name]
    return Given(() if option.default is None else (option.default,))


def read_value(option: Option, given: Given) -> Any:
    """The value of an option: a tuple for a repeatable one, None for one without default that was not given.

    :raises SettingsError: it cannot be used; the error says where it was given.
    """
    try:
        if option.repeatable:
            return tuple(option.read(text) for text in given.texts)
        return option.read(given.texts[0]) if given.texts else None
    except SettingsError as error:
        raise SettingsError(f"{given.where or '--' + option.name}: {error}") from None


def shown(value: object) -> str:
    """A value out of a file as an error shows it: short, and of lists and tables no more than that they are."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return repr(value if len(value) <= SHOWN_CHARACTERS else value[: SHOWN_CHARACTERS - 1] + "…")
    if isinstance(value, int | float):
        return str(value) if abs(value) < LARGEST_COUNT**2 else "a very large number"
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "a table"
    return "a date or a time"


# Readers: a text to a value, or a sentence about what was expected.


def read_path(text: str) -> Path:
    """A path; `~` is the user's home directory."""
    if not text or "\0" in text:
        raise SettingsError(f"expected a path, got {text!r}")
    return Path(text).expanduser()


def read_flag(text: str) -> bool:
    """Yes or no."""
    if text.lower() in ("1", "true", "yes", "on"):
        return True
    if text.lower() in ("", "0", "false", "no", "off"):
        return False
    raise SettingsError(f"expected yes or no, got {text!r}")


def read_text(text: str) -> str:
    """Any text but none."""
    if not text.strip():
        raise SettingsError("expected some text, got none")
    return text


def read_name(text: str) -> str:
    """The name of something in InfluxDB."""
    if not text.strip() or not text.isprintable():
        raise SettingsError(f"expected a name without control characters, got {shown(text)}")
    return text


def read_bytes(text: str) -> int:
    """A number of bytes, or a size such as `2MiB`."""
    try:
        return read_size(text)
    except SettingsError:
        raise SettingsError(f"expected a number of bytes, got {shown(text)}") from None


def read_count(unit: str) -> Callable[[str], int]:
    """A reader of positive whole numbers.

    :param unit: what is counted, for the error.
    """

    def read(text: str) -> int:
        if not (text.isascii() and text.isdecimal() and len(text) < 19 and 1 <= int(text) <= LARGEST_COUNT):
            raise SettingsError(f"expected a number of {unit}, got {shown(text)}")
        return int(text)

    return read


def config_options(holds: str) -> tuple[Option, ...]:
    """The options about a configuration itself, which stand in no file.

    :param holds: what the file holds, and under which names.
    """
    return (
        Option(
            "config",
            read_path,
            None,
            f"A file in TOML with {holds}; see --sample-config. Flags and environment variables win over it.",
            "FILE",
        ),
        Option(
            "check",
            read_flag,
            "no",
            "Read everything, say whether all is well and which settings hold, and end. Starts nothing, changes"
            " nothing.",
            metavar=None,
        ),
        Option(
            "sample-config",
            read_flag,
            "no",
            "Print a configuration file with every key, its default and its reason, and end.",
            metavar=None,
        ),
    )
