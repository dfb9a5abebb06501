"""What would keep the gateway from coming up, as far as it can be known without starting anything: `--check`.

Files are read, and nothing is written, opened to strangers or connected to. It may run beside a gateway that serves.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from twisted.internet.interfaces import IReactorTime

from torfluxd.endpoints import client_endpoint
from torfluxd.errors import SettingsError, TorfluxdError
from torfluxd.gateway.doors import server_endpoint
from torfluxd.gateway.identity import find_clients, look_for_key
from torfluxd.influx.credential import Credential
from torfluxd.onion.process import find_tor
from torfluxd.onion.torrc import check_socket_path
from torfluxd.settings import GatewaySettings
from torfluxd.state import check_state_directory, default_state_directory, home_directory

__all__ = ["check_up"]

EAGER_ENDPOINTS = ("onion", "tor")
"""txtorcon's endpoints connect to tor as soon as they are read (`controlPort=`, tried), so these are left unread."""

_Look = Callable[[], Sequence[str]]
"""A look at one thing: warnings, or an error."""


def check_up(settings: GatewaySettings, environment: Mapping[str, str], reactor: IReactorTime) -> Sequence[str]:
    """Look at all that the settings name.

    :param environment: `os.environ`.
    :param reactor: for which endpoints are read; nothing of it is used.
    :returns: what the operator should know, usually nothing.
    :raises SettingsError: the gateway could not come up; all that is wrong is told.
    """
    warnings: list[str] = []
    problems: list[str] = []
    for look in _looks(settings, environment, reactor):
        try:
            warnings += look()
        except TorfluxdError as error:
            problems.append(str(error))
        except OSError as error:
            problems.append(f"{error.filename}: cannot be looked at: {error.strerror}")
    if problems:
        raise SettingsError(*problems)
    return warnings


def _looks(settings: GatewaySettings, environment: Mapping[str, str], reactor: IReactorTime) -> Iterator[_Look]:
    """All that is to be looked at."""
    state = settings.state_dir or default_state_directory(environment, os.geteuid(), home_directory())
    credential = Credential(settings.credential_options, settings.influxdb_api, environment, reactor)
    yield partial(_check, check_state_directory, state)
    yield credential.load
    for text in settings.listen:
        if not _is_eager(text):
            yield partial(_check, server_endpoint, reactor, text)
    if settings.admin is not None and not _is_eager(settings.admin.text):
        yield partial(_check, server_endpoint, reactor, settings.admin.text, "--admin")
    if not settings.has_onion:
        return
    yield partial(_key_warnings, settings.onion_key, state, environment)
    yield partial(_check, check_socket_path, settings.onion_socket or state.absolute() / "onion.sock")
    if settings.launches_tor:
        yield partial(_check, find_tor, settings.tor_binary)
    elif not _is_eager(settings.tor):
        yield partial(_check, client_endpoint, reactor, settings.tor)
    if settings.authorized_clients is not None:
        yield partial(_client_warnings, settings.authorized_clients)


def _is_eager(endpoint: str) -> bool:
    return endpoint.partition(":")[0] in EAGER_ENDPOINTS


def _check(question: Callable[..., object], *arguments: object) -> Sequence[str]:
    """Ask what answers with an error or with nothing of interest."""
    question(*arguments)
    return ()


def _key_warnings(given: Path | None, state: Path, environment: Mapping[str, str]) -> Sequence[str]:
    found = look_for_key(given, state, environment)
    return () if found is None else found.warnings


def _client_warnings(directory: Path) -> Sequence[str]:
    warnings: list[str] = []
    find_clients(directory, warnings.append)
    return warnings
