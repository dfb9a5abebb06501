"""Every error that torfluxd raises on purpose: one root, one sentence each.

The text of an error is written for the person who reads it: what is wrong and, where there is one, the cure.
No text ever carries a private key, a credential, the content of a report or a person's address.
"""

from __future__ import annotations

__all__ = [
    "BootstrapTimeoutError",
    "ChildError",
    "ClientKeyError",
    "ControlError",
    "ControlLostError",
    "ControlRefusedError",
    "ControlReplyError",
    "ControlTimeoutError",
    "LeaseError",
    "ListenError",
    "OnionAddressError",
    "OnionKeyError",
    "OnionUnreachableError",
    "PointError",
    "ReporterError",
    "SecretFileError",
    "SettingsError",
    "SocketPathError",
    "SocksAddressTypeError",
    "SocksAuthenticationError",
    "SocksClosedError",
    "SocksCommandError",
    "SocksConnectionRefusedError",
    "SocksError",
    "SocksGeneralFailureError",
    "SocksHostUnreachableError",
    "SocksNetworkUnreachableError",
    "SocksNotAllowedError",
    "SocksOnionBadAddressError",
    "SocksOnionClientAuthMissingError",
    "SocksOnionClientAuthWrongError",
    "SocksOnionDescriptorInvalidError",
    "SocksOnionDescriptorNotFoundError",
    "SocksOnionIntroductionFailedError",
    "SocksOnionIntroductionTimeoutError",
    "SocksOnionRendezvousFailedError",
    "SocksProtocolError",
    "SocksProxyUnreachableError",
    "SocksTimeoutError",
    "SocksTtlExpiredError",
    "SpoolBrokenError",
    "SpoolError",
    "SpoolFullError",
    "SpoolVersionError",
    "StateDirectoryError",
    "StatusError",
    "TestNetworkError",
    "TorError",
    "TorMissingError",
    "TorStoppedError",
    "TorfluxdError",
    "UpstreamError",
    "WorkerError",
]


class TorfluxdError(Exception):
    """The root: catch this to catch everything that torfluxd raises on purpose."""


# What a person configured.


class SettingsError(TorfluxdError):
    """An option, an environment variable or a key of the configuration cannot be used as it is.

    It may tell of several at once, one sentence each.
    """

    def __str__(self) -> str:
        """One line for each."""
        return "\n".join(self.problems)

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong, each with its cure."""
        return tuple(str(problem) for problem in self.args)


class SecretFileError(TorfluxdError):
    """A file that should hold a secret cannot be trusted or read."""


class StateDirectoryError(TorfluxdError):
    """The state directory cannot be used: it cannot be written, or another process holds it."""


class SocketPathError(TorfluxdError):
    """A path is too long for a unix socket."""


class ListenError(TorfluxdError):
    """An endpoint cannot be listened on, usually because its port is in use."""


class StatusError(TorfluxdError):
    """A gateway cannot be asked how it is."""


class ChildError(TorfluxdError):
    """A child process cannot be started."""


class WorkerError(TorfluxdError):
    """A worker of the gateway does not come up."""


# Keys and addresses.


class OnionKeyError(TorfluxdError):
    """What should be the private key of a v3 onion service is not one."""


class ClientKeyError(TorfluxdError):
    """What should let a client in to a private onion service is no key, or not one that can be used."""


class OnionAddressError(TorfluxdError):
    """A name is not the address of a v3 onion service: wrong length, alphabet, version or checksum."""


# A tor, its process and its control port.


class TorError(TorfluxdError):
    """Tor cannot do what is asked of it."""


class TorMissingError(TorError):
    """There is no tor to run."""


class TorStoppedError(TorError):
    """Our own tor ended, or could not be started."""


class BootstrapTimeoutError(TorError):
    """Tor did not join its network, or publish the onion service, in the time allowed."""


class ControlError(TorError):
    """The control port of tor failed us."""


class ControlRefusedError(ControlError):
    """The control port cannot be reached, or does not let us in."""


class ControlAbsentError(ControlRefusedError):
    """Nothing listens where the control port should be."""


class ControlTimeoutError(ControlError):
    """The control port did not answer a command before its deadline."""


class ControlLostError(ControlError):
    """The control connection ended while a command was under way."""


class ControlReplyError(ControlError):
    """Tor refused a command.

    :ivar code: the status code of control-spec section 4, 500 to 599.
    """

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class OnionUnreachableError(TorError):
    """The onion service is published, and yet it cannot be reached."""


class TestNetworkError(TorError):
    """The private Tor network did not come up."""

    __test__ = False  # pytest: the name begins with "Test", it is no test.


# SOCKS5, RFC 1928 section 6, and tor's extended codes (proposal 304).


class SocksError(TorfluxdError):
    """A stream through tor's SOCKS port could not be opened."""


class SocksProxyUnreachableError(SocksError):
    """Tor's SOCKS port cannot be reached."""


class SocksTimeoutError(SocksError):
    """The stream was not open before its deadline."""


class SocksProtocolError(SocksError):
    """What answered is not a SOCKS5 proxy."""


class SocksClosedError(SocksError):
    """The proxy closed the connection before the stream was open."""


class SocksAuthenticationError(SocksError):
    """The proxy does not take username and password, by which streams are isolated."""


class SocksGeneralFailureError(SocksError):
    """Reply 0x01: the proxy failed for a reason it does not name."""


class SocksNotAllowedError(SocksError):
    """Reply 0x02: the proxy's rules do not allow this connection."""


class SocksNetworkUnreachableError(SocksError):
    """Reply 0x03: the network cannot be reached."""


class SocksHostUnreachableError(SocksError):
    """Reply 0x04: the onion service cannot be reached."""


class SocksConnectionRefusedError(SocksError):
    """Reply 0x05: the onion service refused the connection."""


class SocksTtlExpiredError(SocksError):
    """Reply 0x06: the stream timed out inside the Tor network."""


class SocksCommandError(SocksError):
    """Reply 0x07: the proxy does not know the command."""


class SocksAddressTypeError(SocksError):
    """Reply 0x08: the proxy does not take names."""


class SocksOnionDescriptorNotFoundError(SocksError):
    """Reply 0xF0: no descriptor was found; the onion service is offline, or never was."""


class SocksOnionDescriptorInvalidError(SocksError):
    """Reply 0xF1: the descriptor cannot be read or verified."""


class SocksOnionIntroductionFailedError(SocksError):
    """Reply 0xF2: no introduction point let us in; the onion service may just have moved."""


class SocksOnionRendezvousFailedError(SocksError):
    """Reply 0xF3: the onion service did not come to the rendezvous."""


class SocksOnionClientAuthMissingError(SocksError):
    """Reply 0xF4: the onion service is private, and we hold no key for it."""


class SocksOnionClientAuthWrongError(SocksError):
    """Reply 0xF5: the onion service is private, and our key for it is wrong or was revoked."""


class SocksOnionBadAddressError(SocksError):
    """Reply 0xF6: tor does not take the address for one of an onion service."""


class SocksOnionIntroductionTimeoutError(SocksError):
    """Reply 0xF7: the introduction to the onion service timed out."""


# Points, and where they go.


class PointError(TorfluxdError, ValueError):
    """A point cannot be written as line protocol: an empty name, no field, NaN, a type InfluxDB does not know."""


class UpstreamError(TorfluxdError):
    """InfluxDB, or the gateway in front of it, gave no usable answer."""


class LeaseError(TorfluxdError):
    """A lease was given back to its spool twice."""


class SpoolError(TorfluxdError):
    """A spool on disk cannot do what is asked of it."""


class SpoolFullError(SpoolError):
    """The spool holds as much as it may: nothing is kept of what was put."""


class SpoolBrokenError(SpoolError):
    """The spool's file cannot be read or written: the disk is full, it fails, or the file is damaged."""


class SpoolVersionError(SpoolError):
    """The spool's file was written by a newer torfluxd."""


class ReporterError(TorfluxdError):
    """The reporter cannot do what is asked of it in the state it is in."""
