"""The vendor's own credential for InfluxDB: found, shown with each write, and read again when it was refused.

It stands in a file, never on a command line or in the environment, where other programs can read it, and nothing here
prints it. Whoever rotates it writes the file anew; no restart is needed.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import frozen
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from torfluxd.boundaries import Header
from torfluxd.errors import SecretFileError, SettingsError
from torfluxd.influx.api import Api
from torfluxd.secretfile import find_credential, is_credential, read_secret_file

__all__ = ["PASSWORD_CREDENTIAL", "TOKEN_CREDENTIAL", "Credential", "CredentialOptions"]

TOKEN_CREDENTIAL = "influxdb-token"  # noqa: S105  # a name
PASSWORD_CREDENTIAL = "influxdb-password"  # noqa: S105  # a name
"""The names of systemd's credentials: `LoadCredential=influxdb-token:/etc/torfluxd/influxdb.token`."""

AGAIN_SECONDS = 1.0
"""The file is read again at most so often: as soon as a person could want it, and no work when strangers' writes are
refused by the thousand."""

LIMIT_BYTES = 4096
"""More than any token or password has: 2.x's tokens have 88 characters, and a JWT some hundreds."""

_TOKEN = re.compile(rb"[!-~]+")

_log = Logger()


@frozen
class CredentialOptions:
    """What a person said about the credential.

    :ivar token_file: `--influxdb-token-file`.
    :ivar user: `--influxdb-user`.
    :ivar password_file: `--influxdb-password-file`.
    """

    token_file: Path | None = None
    user: str | None = None
    password_file: Path | None = None


@frozen
class _Source:
    """Where a credential stands.

    :ivar name: the option, or the credential of systemd's, that an error names.
    :ivar user: whose password it is; None for a token.
    """

    name: str
    path: Path
    trusted: bool
    user: str | None


class Credential:
    """What proves to InfluxDB that the vendor sends a write, or nothing where she has given nothing.

    :param options: where it is; systemd's credentials where they say nothing.
    :param api: decides how a token is shown.
    :param environment: `os.environ`, in which systemd says where its credentials are.
    :param clock: measures how often the file is read.
    """

    def __init__(
        self, options: CredentialOptions, api: Api, environment: Mapping[str, str], clock: IReactorTime
    ) -> None:
        self._options = options
        self._api = api
        self._environment = environment
        self._clock = clock
        self._source: _Source | None = None
        self._headers: Sequence[Header] = ()
        self._next_look = 0.0

    @property
    def headers(self) -> Sequence[Header]:
        """The header that shows it; none before :meth:`load`, and none where there is no credential."""
        return self._headers

    @property
    def place(self) -> str:
        """Where it stands, for a person; empty where there is none."""
        return "" if self._source is None else f"{self._source.name} {self._source.path}"

    def load(self) -> Sequence[str]:
        """Find it, and read it.

        :returns: what its owner should know about the file: whole sentences, usually none.
        :raises SettingsError: it cannot be used; the error names the option and the cure, and nothing of the secret.
        """
        self._source = _find(self._options, self._environment)
        if self._source is None:
            return ()
        self._headers, warnings = _read(self._source, self._api)
        return warnings

    def change(self, options: CredentialOptions) -> Sequence[str]:
        """Find it where it is said to be now, and read it; as :meth:`load`, but an error leaves all as it was."""
        source = _find(options, self._environment)
        headers, warnings = ((), ()) if source is None else _read(source, self._api)
        self._options, self._source, self._headers = options, source, headers
        return warnings

    def refused(self) -> None:
        """InfluxDB did not take it: read the file again, unless that was done a moment ago.

        What cannot be read now is said in the log, and the credential stays as it is.
        """
        now = self._clock.seconds()
        if self._source is None or now < self._next_look:
            return
        self._next_look = now + AGAIN_SECONDS
        try:
            self._headers, _ = _read(self._source, self._api)
        except SettingsError as error:
            _log.warn("InfluxDB refuses the credential, and it cannot be read again: {problem}", problem=str(error))


def _find(options: CredentialOptions, environment: Mapping[str, str]) -> _Source | None:
    """Where the credential is, if there is one. The options go before systemd's credentials."""

    def given(name: str, path: Path, user: str | None = None) -> _Source:
        return _Source(name, path, is_credential(path, environment), user)

    if options.token_file is not None:
        return given("--influxdb-token-file", options.token_file)
    if options.password_file is not None:
        return given("--influxdb-password-file", options.password_file, options.user)
    password = find_credential(PASSWORD_CREDENTIAL, environment)
    if options.user is not None:
        if password is None:
            raise SettingsError(
                "--influxdb-user: there is no password: add --influxdb-password-file FILE, or systemd's credential "
                f"{PASSWORD_CREDENTIAL}"
            )
        return given(f"the credential {PASSWORD_CREDENTIAL}", password, options.user)
    token = find_credential(TOKEN_CREDENTIAL, environment)
    if token is not None:
        return given(f"the credential {TOKEN_CREDENTIAL}", token)
    if password is not None:
        raise SettingsError(f"the credential {PASSWORD_CREDENTIAL}: whose password is it? add --influxdb-user NAME")
    return None


def _read(source: _Source, api: Api) -> tuple[Sequence[Header], Sequence[str]]:
    """The header that shows a credential, and the warnings."""
    secret = "the token" if source.user is None else "the password"  # a word
    try:
        file = read_secret_file(source.path, LIMIT_BYTES, secret, trusted=source.trusted)
    except (FileNotFoundError, IsADirectoryError):
        raise SettingsError(
            f"{source.name}: {source.path}: there is no such file; write {secret} into it, mode 0600"
        ) from None
    except SecretFileError as error:
        raise SettingsError(f"{source.name}: {error}") from None
    shown = _token(file.data, source, api) if source.user is None else _password(file.data, source, source.user)
    return ((b"Authorization", shown),), file.warnings


def _token(data: bytes, source: _Source, api: Api) -> bytes:
    token = data.strip()
    if not _TOKEN.fullmatch(token):
        raise SettingsError(
            f"{source.name}: {source.path}: holds no token: one word of letters, digits and signs is expected, as "
            "InfluxDB showed it"
        )
    return api.token_scheme.encode("ascii") + b" " + token


def _password(data: bytes, source: _Source, user: str) -> bytes:
    """The first line, whatever it holds: a password may have blanks at its ends."""
    password = data.removesuffix(b"\n").removesuffix(b"\r")
    if not password or b"\n" in password:
        raise SettingsError(f"{source.name}: {source.path}: holds no password: one line is expected, with nothing else")
    return b"Basic " + b64encode(user.encode("utf-8") + b":" + password)
