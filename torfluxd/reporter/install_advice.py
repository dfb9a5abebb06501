"""How a person installs tor: one command for each platform. Pure but for :func:`this_platform`."""

from __future__ import annotations

import platform
import sys

from attrs import frozen

__all__ = ["Platform", "install_advice", "this_platform"]


@frozen
class Platform:
    """What tells how programs are installed here.

    :ivar system: `sys.platform`: `linux`, `darwin`, `win32`.
    :ivar families: on Linux the distribution and those that it is like, in lower case (`ID` and `ID_LIKE` of
        os-release(5)), closest first.
    """

    system: str
    families: tuple[str, ...] = ()


_BY_FAMILY = {
    "debian": "apt-get install tor",
    "ubuntu": "apt-get install tor",
    "fedora": "dnf install tor",
    "rhel": "dnf install epel-release tor",
    "arch": "pacman -S tor",
    "suse": "zypper install tor",
    "opensuse": "zypper install tor",
    "alpine": "apk add tor",
}
"""The commands that distributions' own documentation names; each is run by root."""

_BY_SYSTEM = {
    "darwin": "install tor with `brew install tor`, and start it with `brew services start tor`",
    "freebsd": "as root, run `pkg install tor`",
    "openbsd": "as root, run `pkg_add tor`",
    "win32": "unpack the Tor Expert Bundle, https://www.torproject.org/download/tor/, and start its tor.exe",
}


def install_advice(where: Platform) -> str:
    """What a person does to have tor: the end of a sentence, or a sentence, without a full stop."""
    for family in where.families:
        if family in _BY_FAMILY:
            return f"as root, run `{_BY_FAMILY[family]}`"
    for system, advice in _BY_SYSTEM.items():
        if where.system.startswith(system):
            return advice
    return "install the package tor, or build it: https://www.torproject.org/download/tor/"


def this_platform() -> Platform:
    """The facts about this machine; a distribution that does not say what it is has no families."""
    if not sys.platform.startswith("linux"):
        return Platform(sys.platform)
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        return Platform(sys.platform)
    families = f"{release.get('ID', '')} {release.get('ID_LIKE', '')}".lower().split()
    return Platform(sys.platform, tuple(families))
