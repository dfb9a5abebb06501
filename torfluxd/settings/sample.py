"""Configurations, written: the sample with all that can be said, and the settings that hold. Pure.

Both are made of the tables from which the command line and its help are made, so nothing can be missing.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence

from torfluxd.settings.agent_options import AGENT_OPTIONS
from torfluxd.settings.option import Given, Option
from torfluxd.settings.options import GATEWAY_OPTIONS
from torfluxd.settings.rules import RULE_OPTIONS
from torfluxd.settings.schema import FieldType, MeasurementSchema, TagRule
from torfluxd.settings.toml import written_key, written_list, written_text

__all__ = [
    "sample_agent_config",
    "sample_config",
    "written_agent_settings",
    "written_schema",
    "written_settings",
]

_COLUMNS = 100

_HEAD = """\
The configuration of torfluxd's gateway, in TOML: every key, with its default. Lines that begin with "#" and a key
show what can be written where there is no default. Flags and environment variables win over what stands here. Keep
what you change, and leave the rest out: a later release may know a better default.

Durations: 90s, 1m30s, 36h, 90d. Sizes: 2MiB, 500MB, or a number of bytes.

torfluxd serve --config FILE --check says whether a file is right."""

_AGENT_HEAD = """\
The configuration of torfluxd-agent, in TOML: every key, with its default. Lines that begin with "#" and a key show what
can be written where there is no default; onion alone has none and must be given. Flags and environment variables win
over what stands here. Keep what you change, and leave the rest out: a later release may know a better default.

Durations: 10s, 1m, 1.5h. Sizes: 128MiB, 500MB, or a number of bytes.

torfluxd agent --config FILE --check says whether a file is right."""

_RULES_HEAD = "What strangers may write, beside the keys database, retention_policy and max_... above."

_SCHEMA_HEAD = """\
The schema: with one table or more, strangers can write these measurements alone. A tag is "free" (any value), "drop"
(taken out), or a list of values, and all others are written as "other". A field is "float", "integer", "unsigned"
(InfluxDB 2 and 3), "boolean" or "string", a string with a bound if need be. `unknown` is what becomes of tags and
fields that are not named: refuse or drop; by default as rules.unknown.

A reporter that is given this file lets nothing out that the schema does not name. Two keys are for it alone, and the
gateway takes no notice of them: `epsilon` beside the values of a tag has it answer at random (the smaller, the less one
point tells), and `round` beside the type of a number has it round to multiples.

torfluxd schema suggest FILE makes these tables out of a sample of line protocol."""

_SCHEMA_EXAMPLE = {
    "backup": MeasurementSchema(
        {"version": "free", "os": ("linux", "macos", "windows"), "host": "drop"},
        {
            "seconds": FieldType("float"),
            "files": FieldType("integer", round=10),
            "error": FieldType("string", 200),
        },
        "refuse",
    )
}


def sample_config() -> str:
    """A whole configuration, which holds as it is: every key, what it means, its default, its unit, and why."""
    lines = [*_prose(_HEAD), "", *_sample_table("gateway", GATEWAY_OPTIONS)]
    lines += ["", "", *_prose(_RULES_HEAD), "", "[rules]"]
    for option in RULE_OPTIONS:
        lines += ["", *_told(option), _sample_line(option)]
    lines += ["", "", *_prose(_SCHEMA_HEAD), ""]
    lines += [f"#{line}" if line else "#" for line in written_schema(_SCHEMA_EXAMPLE)]
    return "\n".join(lines) + "\n"


def sample_agent_config() -> str:
    """The same for the agent; it holds as it is but for the onion address, which nobody can guess."""
    return "\n".join([*_prose(_AGENT_HEAD), "", *_sample_table("agent", AGENT_OPTIONS)]) + "\n"


def written_settings(given: Mapping[Option, Given], schema: Mapping[str, MeasurementSchema] | None) -> str:
    """The settings that hold, as a configuration, each with the place where it was given.

    Where a value can hold a secret, it is not shown.
    """
    lines = []
    for title, options in (("gateway", GATEWAY_OPTIONS), ("rules", RULE_OPTIONS)):
        lines += ["", f"[{title}]", *(_settings_line(option, given[option]) for option in options)]
    if schema:
        lines += ["", *written_schema(schema)]
    return "\n".join(lines[1:]) + "\n"


def written_agent_settings(given: Mapping[Option, Given], schema: Mapping[str, MeasurementSchema] | None) -> str:
    """The same for the agent.

    :param schema: what stands in the configuration file, if anything does.
    """
    lines = ["[agent]", *(_settings_line(option, given[option]) for option in AGENT_OPTIONS)]
    if schema:
        lines += ["", *written_schema(schema)]
    return "\n".join(lines) + "\n"


def written_schema(schema: Mapping[str, MeasurementSchema]) -> Sequence[str]:
    """The lines of `[schema.*]`."""
    lines: list[str] = []
    for name, measurement in schema.items():
        key = f"schema.{written_key(name)}"
        lines += ["", f"[{key}]", f"unknown = {written_text(measurement.unknown)}"]
        if measurement.tags:
            lines += ["", f"[{key}.tags]"]
            epsilons = measurement.epsilons
            lines += [
                f"{written_key(tag)} = {written_tag(rule, epsilons.get(tag))}" for tag, rule in measurement.tags.items()
            ]
        lines += ["", f"[{key}.fields]"]
        lines += [f"{written_key(one)} = {written_field(kind)}" for one, kind in measurement.fields.items()]
    return lines[1:]


def written_tag(rule: TagRule, epsilon: float | None = None) -> str:
    """What becomes of a tag."""
    if isinstance(rule, str):
        return written_text(rule)
    return written_list(rule) if epsilon is None else f"{{ values = {written_list(rule)}, epsilon = {epsilon} }}"


def written_field(kind: FieldType) -> str:
    """What a field may hold."""
    bounds = {"max_bytes": kind.max_bytes, "round": kind.round}
    given = "".join(f", {key} = {bound}" for key, bound in bounds.items() if bound is not None)
    return f"{{ type = {written_text(kind.kind)}{given} }}" if given else written_text(kind.kind)


def _sample_table(title: str, options: Sequence[Option]) -> Iterator[str]:
    """A table of options that have flags."""
    yield f"[{title}]"
    for option in options:
        yield from ("", *_told(option), *_prose(_ways(option)), _sample_line(option))


def _prose(text: str) -> Iterator[str]:
    """A text as comments."""
    for number, paragraph in enumerate(text.split("\n\n")):
        if number:
            yield "#"
        yield from (f"# {line}" for line in textwrap.wrap(paragraph, _COLUMNS, break_on_hyphens=False))


def _told(option: Option) -> Iterator[str]:
    """What an option means, what it counts, and why its default is what it is."""
    yield from _prose(option.help)
    if option.unit:
        yield from _prose(f"Unit: {option.unit}.")
    if option.default is not None and option.metavar is not None:
        yield from _prose(f"Default: {option.default}." + (f" {option.reason}" if option.reason else ""))


def _ways(option: Option) -> str:
    flag = f"--{option.name}" + (f" {option.metavar}" if option.metavar else "")
    return f"Also: {flag}, or {option.variable}."


def _sample_line(option: Option) -> str:
    if option.default is not None:
        return _line(option, (option.default,))
    return "#" + _line(option, (option.example,))


def _settings_line(option: Option, given: Given) -> str:
    if not given.texts:
        return f"#{option.key} is not given"
    return f"{_line(option, [option.conceal(text) for text in given.texts])}  # {_place(given.where)}"


def _place(where: str) -> str:
    """A place in a comment, on one line whatever the name of a file is."""
    return "".join(one if one.isprintable() else "?" for one in where) or "default"


def _line(option: Option, texts: Sequence[str]) -> str:
    if option.repeatable:
        value = written_list(texts)
    elif option.metavar is None:
        value = "true" if option.read(texts[0]) else "false"
    elif option.unit and texts[0].isascii() and texts[0].isdecimal():
        value = str(int(texts[0]))
    else:
        value = written_text(texts[0])
    return f"{option.key} = {value}"
