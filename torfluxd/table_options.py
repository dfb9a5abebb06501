"""A command line made from a table of options, for the daemons."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from importlib import import_module
from typing import Any, ClassVar, NoReturn

from twisted import __version__ as twisted_version
from twisted.python import usage

import torfluxd
from torfluxd.errors import SettingsError, TorfluxdError
from torfluxd.ops.ending import EXIT_FAILED, refuse
from torfluxd.settings import Option
from torfluxd.settings.nearest import nearest

__all__ = ["TableOptions", "need_extra", "prepare", "print_and_end", "version_line"]


class TableOptions(usage.Options):
    """The options of a table.

    :cvar table: all of them.
    """

    table: ClassVar[Sequence[Option]] = ()
    optParameters: ClassVar[list[list[str | None]]]
    optFlags: ClassVar[list[list[str | None]]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Make what Twisted looks for out of the table."""
        super().__init_subclass__(**kwargs)
        inherited = {option.name for base in cls.__mro__[1:] for option in vars(base).get("table", ())}
        own = [option for option in cls.table if option.name not in inherited]  # Twisted adds those of the bases
        cls.optParameters = [
            [option.name, None, None, _described(option)]
            for option in own
            if option.metavar is not None and not option.repeatable
        ]
        cls.optFlags = [[option.name, None, option.help] for option in own if option.metavar is None]
        for option in own:
            if option.repeatable:
                setattr(cls, "opt_" + option.name.replace("-", "_"), _appending(option))

    def __init__(self) -> None:
        usage.Options.__init__(self)
        self.repeated: dict[str, list[str]] = {option.name: [] for option in self.table if option.repeatable}

    def opt_version(self) -> None:
        """Print the versions of torfluxd, Twisted and Python, and end."""
        print_and_end(f"{version_line()}\n")

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Parse, or end with one line."""
        try:
            usage.Options.parseOptions(self, options)
        except usage.UsageError as error:
            refuse(self._with_suggestion(str(error)))

    def parseArgs(self, *arguments: str) -> None:  # noqa: N802  # Twisted's name
        """There are no arguments but options."""
        if arguments:
            raise usage.UsageError(f"unexpected argument {arguments[0]!r}; options begin with --")

    def postOptions(self) -> None:
        """Put the settings together, or end with a line for each thing that is wrong."""
        flags: dict[str, Any] = {
            option.name: self[option.name] if option.metavar is not None else "yes" if self[option.name] else None
            for option in self.table
            if not option.repeatable
        }
        try:
            self.read_settings({**flags, **self.repeated})
        except SettingsError as error:
            refuse(error)

    def read_settings(self, flags: Mapping[str, str | Sequence[str] | None]) -> None:
        """Put the settings together; for `--check` and `--sample-config`, print and end.

        :param flags: option name to what was typed.
        :raises SettingsError: they cannot be used.
        """
        raise NotImplementedError

    def _with_suggestion(self, problem: str) -> str:
        """Name the option that was probably meant by one that does not exist."""
        words = problem.split()
        if len(words) != 4 or words[0] != "option" or words[2:] != ["not", "recognized"]:
            return problem
        near = nearest(words[1], [f"--{option.name}" for option in self.table])
        hint = f"did you mean {near}?" if near else "--help lists the options"
        return f"there is no option {words[1]}; {hint}"


def _described(option: Option) -> str:
    return (
        option.help
        if option.default is None or option.metavar is None
        else f"{option.help} [default: {option.default}]"
    )


def _appending(option: Option) -> Callable[[TableOptions, str], None]:
    """What Twisted calls for a repeatable option; it reads the help out of the docstring."""

    def append(self: TableOptions, text: str) -> None:
        self.repeated[option.name].append(text)

    append.__doc__ = _described(option)
    return append


def print_and_end(text: str) -> NoReturn:
    """Answer a question, and end well."""
    print(text, end="")
    raise SystemExit(0)


def version_line() -> str:
    """The versions that a bug report needs."""
    return f"torfluxd {torfluxd.__version__} (Twisted {twisted_version}, Python {sys.version.split()[0]})"


def need_extra(who: str, module: str, extra: str, packages: Collection[str]) -> None:
    """End with one line where what only one of the daemons needs is not installed.

    :param who: needs it, for the line.
    :param module: of ours, which imports it all.
    :param extra: of our package, which brings it.
    :param packages: what that extra brings; that anything else cannot be imported is a fault.
    """
    try:
        import_module(module)
    except ImportError as error:
        if (error.name or "").split(".")[0] not in packages:
            raise
        refuse(f"{who} needs {error.name}, which is not installed: pip install 'torfluxd[{extra}]'")


def prepare(options: usage.Options, work: Callable[[], None]) -> None:
    """Do what can be done before a daemon forks, so that what is wrong ends it with one line.

    Nothing is done when twistd will give up root's rights later (`--uid`, `--gid`): files must be made after that.

    :param work: the preparation; what it raises of our own errors is the line.
    """
    parent = options.parent
    if parent is not None and any(parent.get(name) is not None for name in ("uid", "gid")):
        return
    try:
        work()
    except TorfluxdError as error:
        refuse(error, EXIT_FAILED)
