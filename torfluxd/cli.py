"""The `torfluxd` command: `serve`, `agent`, `demo`, `key`, `schema`, `spool`, `status`, `testnet`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar, cast

from twisted.python import usage

from torfluxd.errors import SettingsError, TorfluxdError
from torfluxd.onion.keyfile import load_key_file, new_key_file
from torfluxd.ops.ending import EXIT_FAILED, refuse
from torfluxd.ops.logs import observer
from torfluxd.table_options import version_line
from torfluxd.tap import ServeOptions, makeService

__all__ = ["COMMANDS", "main"]

COMMANDS = """\
Commands:
    serve     Run the gateway here, in the foreground (as `twist torfluxd` does).
    agent     Let InfluxDB clients on this machine report through Tor.
    demo      Show it all on one machine: Tor network, InfluxDB, gateway, reporters.
    completion  Print what makes bash or zsh complete all of this.
    key       Make or read the private key of an onion service.
    schema    Propose a schema for the gateway, out of a sample of line protocol.
    spool     What waits for InfluxDB, and what it refused: show, retry, drop.
    status    How a gateway that runs is; for people, scripts and health checks.
    testnet   Run a private Tor network on loopback, for tests.

`torfluxd COMMAND --help` tells more of each. As daemons, the gateway runs as
`twistd torfluxd`, and the agent as `twistd torfluxd-agent`.
"""
"""What `torfluxd --help` says."""

_KEY_HELP = """\
Usage: torfluxd key new FILE       make a new key, and print its onion address
       torfluxd key address FILE   print the onion address of a key
       torfluxd key show FILE      print a key, in go-torfluxdb's hex digits
       torfluxd key client ...     make or show a client's key for a private onion service
                                   (torfluxd key client --help tells more)

FILE may hold a key in any form: go-torfluxdb's hex digits, tor's
hs_ed25519_secret_key, ED25519-V3:... or bare base64. A new one is written for
its owner alone (mode 0600), and never over an existing file.
"""

_SCHEMA_HELP = """\
Usage: torfluxd schema suggest [FILE]

Reads a sample of line protocol, from FILE or standard input, and prints the
[schema.*] tables that would let it through: for the gateway's --config FILE,
when you have read them. A tag that looks as if it names a machine or a person
is proposed to be dropped. Lines that cannot be read are told on standard error.
"""

_COMPLETION_HELP = """\
Usage: torfluxd completion bash    print what makes bash complete torfluxd
       torfluxd completion zsh     print what makes zsh do so

For bash: torfluxd completion bash > ~/.local/share/bash-completion/completions/torfluxd
For zsh, into a directory of $fpath: torfluxd completion zsh > .../_torfluxd
"""

_SAMPLE_LIMIT_BYTES = 64 * 2**20
"""How much of a sample is read: half a million points, which take 15 to 30 seconds and twice that memory (measured)."""

_BAD_LINES_TOLD = 10
"""How many lines that cannot be read are told with their reasons; the others are counted."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command; ends the process with its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    command, rest = (given[0], given[1:]) if given else ("", [])
    if command in ("--version", "version"):
        print(version_line())
    elif command in ("", "--help", "-h", "help"):
        print(f"Usage: torfluxd COMMAND [options]\n\n{COMMANDS}", end="")
        raise SystemExit(0 if command else 64)
    elif command in _RUN:
        _RUN[command](rest)
    else:
        refuse(f"there is no command {command!r}; the commands are {', '.join(_RUN)} (torfluxd --help tells more)")


def _serve(arguments: list[str]) -> None:
    options = ServeOptions()
    options.parseOptions(arguments)
    from twisted.application.twist._options import TwistOptions

    # Twist's own module is private, but it is what Twisted's console script `twist` runs.
    from twisted.application.twist._twist import Twist
    from twisted.internet import reactor
    from twisted.logger import LogLevel

    Twist.startService(reactor, makeService(options))
    how = {
        "reactor": reactor,
        "logFile": sys.stdout,
        "logLevel": LogLevel.levelWithName(options.log_level),
        "fileLogObserverFactory": lambda stream: observer(stream, options.log_format, os.environ),
    }
    Twist.run(cast(TwistOptions, how))


def _agent(arguments: list[str]) -> None:
    from twisted.application.twist._twist import Twist

    Twist.main(["torfluxd", "--log-format=text", "torfluxd-agent", *arguments])


def _demo(arguments: list[str]) -> None:
    from twisted.internet import reactor

    from torfluxd.demo import Demo, DemoOptions
    from torfluxd.gateway.service import GatewayReactor
    from torfluxd.ops.foreground import run_in_foreground

    demo = Demo(cast(GatewayReactor, reactor), _parsed("demo", DemoOptions, arguments))
    raise SystemExit(run_in_foreground(reactor, demo.run))


_O = TypeVar("_O", bound=usage.Options)


def _parsed(command: str, kind: type[_O], arguments: list[str]) -> _O:
    """Parse a command's options, or end with one line."""
    options = kind()
    parse: Callable[[Sequence[str]], None] = options.parseOptions
    try:
        parse(arguments)
    except usage.UsageError as error:
        refuse(f"{command}: {error} (torfluxd {command} --help tells more)")
    return options


def _testnet(arguments: list[str]) -> None:
    from twisted.internet import reactor

    from torfluxd.onion.process import ProcessReactor
    from torfluxd.onion.testnet_command import Testnet, TestnetOptions
    from torfluxd.ops.foreground import run_in_foreground

    options = _parsed("testnet", TestnetOptions, arguments)
    testnet = Testnet.from_options(cast(ProcessReactor, reactor), options)
    raise SystemExit(run_in_foreground(reactor, testnet.run))


def _spool(arguments: list[str]) -> None:
    from torfluxd.delivery.spool_command import SpoolCommand, SpoolOptions

    try:
        SpoolCommand.from_options(_parsed("spool", SpoolOptions, arguments), os.environ).run()
    except TorfluxdError as error:
        refuse(error, EXIT_FAILED)


def _status(arguments: list[str]) -> None:
    from torfluxd.ops.status_command import StatusCommand, StatusOptions

    options = _parsed("status", StatusOptions, arguments)
    try:
        raise SystemExit(StatusCommand.from_options(options, os.environ).run())
    except SettingsError as error:
        refuse(error)
    except TorfluxdError as error:
        refuse(error, EXIT_FAILED)


def _key(arguments: list[str]) -> None:
    if not arguments or arguments[0] in ("--help", "-h"):
        print(_KEY_HELP, end="")
        raise SystemExit(0 if arguments else 64)
    action, *names = arguments
    if action == "client":
        return _client_key(names)
    if action not in _KEY_ACTIONS:
        known = ", ".join((*_KEY_ACTIONS, "client"))
        refuse(f"key: there is no {action!r}; there are {known} (torfluxd key --help tells more)")
    if len(names) != 1:
        refuse(f"key {action}: takes the name of one file, got {len(names)}")
    try:
        print(_KEY_ACTIONS[action](Path(names[0])))
    except TorfluxdError as error:
        refuse(error, EXIT_FAILED)


def _schema(arguments: list[str]) -> None:
    if not arguments or arguments[0] in ("--help", "-h"):
        print(_SCHEMA_HELP, end="")
        raise SystemExit(0 if arguments else 64)
    action, *names = arguments
    if action != "suggest":
        refuse(f"schema: there is no {action!r}; there is suggest (torfluxd schema --help tells more)")
    if len(names) > 1:
        refuse(f"schema suggest: takes one file, got {len(names)}")
    try:
        from torfluxd.settings.suggest import suggest
    except ImportError as error:
        if error.name != "re2":
            raise
        refuse(f"schema suggest needs {error.name}, which is not installed: pip install 'torfluxd[gateway]'")
    suggestion = suggest(_sample(names[0] if names else "-"))
    for bad in suggestion.bad[:_BAD_LINES_TOLD]:
        print(f"torfluxd: line {bad.number} cannot be read: {_on_one_line(bad.reason)}", file=sys.stderr)
    if len(suggestion.bad) > _BAD_LINES_TOLD:
        print(f"torfluxd: so are {len(suggestion.bad) - _BAD_LINES_TOLD} others", file=sys.stderr)
    if not suggestion.text:
        refuse("schema suggest: there is no line protocol in the sample", EXIT_FAILED)
    print(suggestion.text, end="")


def _sample(name: str) -> bytes:
    """What a file holds, or standard input; the beginning of it where it is very long."""
    try:
        with sys.stdin.buffer if name == "-" else open(name, "rb") as file:
            sample = file.read(_SAMPLE_LIMIT_BYTES + 1)
    except OSError as error:
        refuse(f"schema suggest: {name} cannot be read: {error.strerror}", EXIT_FAILED)
    if len(sample) <= _SAMPLE_LIMIT_BYTES:
        return sample
    print(f"torfluxd: only the first {_SAMPLE_LIMIT_BYTES >> 20}MiB of the sample are read", file=sys.stderr)
    return sample[: sample.rfind(b"\n", 0, _SAMPLE_LIMIT_BYTES) + 1]


def _on_one_line(text: str) -> str:
    """What a sample brought into a reason, so that no screen is changed by it."""
    return "".join(one if one.isprintable() else "?" for one in text)


def _completion(arguments: list[str]) -> None:
    from torfluxd.commands import all_commands
    from torfluxd.completion import SHELLS, completion_for

    if arguments in (["--help"], ["-h"]):
        print(_COMPLETION_HELP, end="")
    elif len(arguments) != 1 or arguments[0] not in SHELLS:
        refuse(f"completion: takes {' or '.join(SHELLS)} (torfluxd completion --help tells more)")
    else:
        print(completion_for(arguments[0], all_commands()), end="")


def _client_key(arguments: list[str]) -> None:
    from torfluxd.onion.client_key_command import client_key_command

    try:
        print(client_key_command(arguments, lambda sentence: _warn([sentence])))
    except usage.UsageError as error:
        refuse(f"{error} (torfluxd key client --help tells more)")
    except TorfluxdError as error:
        refuse(error, EXIT_FAILED)


def _show(path: Path) -> str:
    loaded = load_key_file(path)
    _warn(loaded.warnings)
    return loaded.key.hex()


def _address(path: Path) -> str:
    loaded = load_key_file(path)
    _warn(loaded.warnings)
    return loaded.key.address.hostname


def _warn(warnings: Sequence[str]) -> None:
    for warning in warnings:
        print(f"torfluxd: {warning}", file=sys.stderr)


_KEY_ACTIONS: dict[str, Callable[[Path], str]] = {
    "new": lambda path: new_key_file(path).address.hostname,
    "address": _address,
    "show": _show,
}

_RUN: dict[str, Callable[[list[str]], None]] = {
    "serve": _serve,
    "agent": _agent,
    "demo": _demo,
    "completion": _completion,
    "key": _key,
    "schema": _schema,
    "spool": _spool,
    "status": _status,
    "testnet": _testnet,
}
