"""The configuration file: TOML in, what it gives for each option out, and all that is wrong with it. Pure but for
:func:`load_config`.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import field, frozen

from torfluxd.errors import SettingsError
from torfluxd.settings.nearest import nearest, no_such
from torfluxd.settings.option import Given, Option, find_given, read_value, shown
from torfluxd.settings.options import CONFIG_OPTIONS, GATEWAY_OPTIONS
from torfluxd.settings.rules import RULE_OPTIONS
from torfluxd.settings.schema import MeasurementSchema, Unknown, read_schema
from torfluxd.settings.toml import written_key

__all__ = ["GATEWAY_FORM", "NO_CONFIG", "Config", "Form", "load_config", "load_schema", "read_config"]

CONFIG_LIMIT_BYTES = 4 * 2**20
"""More than any configuration has: a schema of ten thousand measurements comes to 2 MB."""

_PLACE = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)\Z")


@frozen(eq=False)
class Form:
    """What a configuration file of one program may hold, beside a schema.

    :ivar tables: the options of each table.
    :ivar command: of that program, for the errors.
    """

    tables: Mapping[str, Sequence[Option]]
    command: str


GATEWAY_FORM = Form({"gateway": GATEWAY_OPTIONS, "rules": RULE_OPTIONS}, "torfluxd serve")


@frozen
class Config:
    """What a configuration file says.

    :ivar given: for each option that it names; `where` is the key.
    :ivar schema: of each measurement, or None if there is no schema.
    :ivar problems: what cannot be used in it, each with its key; what is given is right otherwise.
    """

    given: Mapping[str, Given] = field(factory=dict)
    schema: Mapping[str, MeasurementSchema] | None = None
    problems: tuple[str, ...] = ()


NO_CONFIG = Config()


def load_config(
    flags: Mapping[str, str | Sequence[str] | None], environment: Mapping[str, str], form: Form = GATEWAY_FORM
) -> Config:
    """Read the file that `--config` or `TORFLUXD_CONFIG` names; nothing where neither does.

    :param form: what it may hold.
    :raises SettingsError: it cannot be read at all.
    """
    option = CONFIG_OPTIONS[0]
    given = find_given(option, flags, environment, {})
    path: Path | None = read_value(option, given)
    if path is None:
        return NO_CONFIG
    return _read_file(path, form, f"{given.where}: ")


def load_schema(path: Path) -> Mapping[str, MeasurementSchema]:
    """Read the schema out of a gateway's configuration file, for a reporter.

    :raises SettingsError: the file cannot be read, something in it cannot be used, or there is no schema in it.
    """
    config = _read_file(path, GATEWAY_FORM)
    if config.problems:
        raise SettingsError(*config.problems)
    if config.schema is None:
        raise SettingsError(f"{path}: has no schema; it has a table for each measurement, such as [schema.backup]")
    return config.schema


def _read_file(path: Path, form: Form, where: str = "") -> Config:
    """Read a configuration file.

    :param form: what it may hold.
    :param where: what named it, for the errors.
    :raises SettingsError: it cannot be read at all.
    """
    try:
        with path.open("rb") as file:
            data = file.read(CONFIG_LIMIT_BYTES + 1)
    except OSError as error:
        raise SettingsError(
            f"{where}{path} cannot be read ({error.strerror}); {form.command} --sample-config shows what such a file"
            " holds"
        ) from None
    if len(data) > CONFIG_LIMIT_BYTES:
        raise SettingsError(f"{where}{path} is larger than {CONFIG_LIMIT_BYTES >> 20}MiB; is it the right file?")
    return read_config(data, str(path), form)


def read_config(data: bytes, name: str, form: Form = GATEWAY_FORM) -> Config:
    """Read a configuration.

    :param data: TOML.
    :param name: of the file, for the errors.
    :param form: what it may hold.
    :returns: all that can be used, and what is wrong with the rest.
    :raises SettingsError: it is no TOML; the error names the line and the column.
    """
    tables = _parsed(data, name)
    known = (*form.tables, "schema")
    problems = [_no_such_table(other, value, form) for other, value in tables.items() if other not in known]
    given: dict[str, Given] = {}
    for title in form.tables:
        for found in _entries(title, tables.get(title, {}), form):
            if isinstance(found, str):
                problems.append(found)
            else:
                given[found[0].name] = Given(found[1], f"{name}: {title}.{found[0].key}")
    schema = None
    if "schema" in tables:
        try:
            schema = read_schema(tables["schema"], _unknown(given))
        except SettingsError as error:
            problems += error.problems
    return Config(given, schema, tuple(f"{name}: {problem}" for problem in problems))


def _parsed(data: bytes, name: str) -> Mapping[str, Any]:
    try:
        return tomllib.loads(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        raise SettingsError(f"{name}:{line}:{column}: is not UTF-8, as TOML is") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(_syntax_fault(str(error), data, name)) from None
    except (RecursionError, ValueError):  # lists in lists in lists; a number of thousands of digits (tried)
        raise SettingsError(f"{name}: holds a value that is too deep or too large for any configuration") from None


def _syntax_fault(problem: str, data: bytes, name: str) -> str:
    """What `tomllib` says, with the place before it as compilers write it."""
    found = _PLACE.search(problem)
    if found is None:
        return f"{name}: {problem}"
    lines = data.decode("utf-8").split("\n")
    line, column = (found[1], found[2]) if found[1] else (len(lines), len(lines[-1]) + 1)
    return f"{name}:{line}:{column}: {problem[: found.start()]}"


def _entries(title: str, table: object, form: Form) -> Iterator[tuple[Option, tuple[str, ...]] | str]:
    """What a table gives for each option, or what is wrong with it."""
    if not isinstance(table, dict):
        yield f"{title}: expected a table, [{title}], got {shown(table)}"
        return
    known = {option.key: option for option in form.tables[title]}
    for key, value in table.items():
        if key not in known:
            yield _no_such_key(title, key, form)
            continue
        option = known[key]
        try:
            texts = option.texts_of(value)
            for text in texts:
                option.read(text)
        except SettingsError as error:
            yield f"{title}.{key}: {error}"
        else:
            yield option, texts


def _no_such_key(title: str, key: str, form: Form) -> str:
    """A key that does not exist: the same one of another table, or one that is alike."""
    name = key.lower().replace("-", "_")
    where = f"{title}.{written_key(key)}"
    for other, options in form.tables.items():
        if other != title and any(option.key == name for option in options):
            return f"{where}: there is no such key here; did you mean {other}.{name}?"
    near = nearest(name, [option.key for option in form.tables[title]])
    if near is not None:
        return f"{where}: there is no such key; did you mean {title}.{near}?"
    keys = {option.key: other for other, options in form.tables.items() for option in options}
    near = nearest(name, keys)
    hint = f"did you mean {keys[near]}.{near}?" if near else f"{form.command} --sample-config lists them"
    return f"{where}: there is no such key; {hint}"


def _no_such_table(name: str, value: object, form: Form) -> str:
    if not isinstance(value, dict):
        for title, options in form.tables.items():
            if any(option.key == name for option in options):
                return f"{written_key(name)}: stands outside the tables; put it under [{title}]"
    return no_such(written_key(name), name, (*form.tables, "schema")).replace("such key", "such table")


def _unknown(given: Mapping[str, Given]) -> Unknown:
    (option,) = (option for option in RULE_OPTIONS if option.name == "unknown")
    value: Unknown = read_value(option, given.get(option.name, Given((option.default or "",))))
    return value
