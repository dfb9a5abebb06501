#!/usr/bin/env python3
"""Packs Debian's tor into a wheel, `torfluxd-tor`, which a reporter finds where there is no other tor.

    python3 scripts/tor_wheel/build.py DIRECTORY

It takes the tor that is installed on this machine (a Debian, or an Ubuntu), the libraries that it is linked to but for
those of libc, and the licences of all of them, and needs nothing but Python, ldd and dpkg. Two runs on one machine give
the same bytes. The wheel runs wherever glibc is not older than these programs demand, which its platform tag says.

Who ships it ships a tor, and owes users its security updates: build it anew whenever Debian has one.
"""

from __future__ import annotations

import base64
import hashlib
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

NAME = "torfluxd_tor"
MODULE = Path(__file__).parent / NAME / "__init__.py"

OF_LIBC = re.compile(r"(ld-linux.*|lib(c|m|dl|rt|pthread|resolv|util|nsl|anl|BrokenLocale|thread_db|mvec))\.so\b.*")
"""The libraries of libc, and the loader: they belong to the kernel and to one another, and are on every machine."""

DOCUMENTS = Path("/usr/share/doc")
COMMON_LICENCES = Path("/usr/share/common-licenses")

BEGINNING = (1980, 1, 1, 0, 0, 0)
"""The time of every file in the wheel: the first that a zip file can tell."""

START = """\
#!/bin/sh
# Starts the tor beside it, with the libraries beside that; the process becomes tor.
here=$(dirname -- "$(readlink -f -- "$0")")
LD_LIBRARY_PATH=$here/lib exec "$here/bin/tor" "$@"
"""

Files = dict[str, tuple[bytes, bool]]
"""What stands in the wheel: from names to contents, and whether they can be run."""


def die(why: str) -> None:
    """End, with a reason."""
    sys.exit(f"tor wheel: {why}")


def output(*command: str | Path) -> str:
    """Run a command; its output, or nothing if it fails."""
    ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
    return ended.stdout if ended.returncode == 0 else ""


def libraries_of(program: Path) -> dict[str, Path]:
    """The libraries that a program is linked to, directly or not, but for those of libc: by the names it asks for."""
    found = dict(re.findall(r"^\s*(\S+) => (/\S+)", output("ldd", program), re.MULTILINE))
    return {name: Path(path) for name, path in found.items() if not OF_LIBC.fullmatch(name)}


def package_of(file: Path) -> str:
    """The Debian package that a file came with. The path that dpkg knows may be from before /lib moved into /usr."""
    for path in {str(file), str(file.resolve())}:
        plain = path.removeprefix("/usr")
        for known in (path, plain, f"/usr{plain}"):
            owner = output("dpkg-query", "--search", known)
            if owner:
                return owner.partition(": ")[0]
    die(f"{file} came with no Debian package, so nobody can say under which licence")
    raise AssertionError


def licences_of(packages: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    """The copyright files of Debian packages, the licences that these point to, and where the sources are."""
    sources, pointed_to = [], set()
    for package in sorted(packages):
        plain = package.partition(":")[0]
        text = (DOCUMENTS / plain / "copyright").read_bytes()
        yield f"{plain}/copyright", text
        pointed_to |= set(re.findall(rb"/usr/share/common-licenses/([A-Za-z0-9.-]*[A-Za-z0-9])", text))
        source = output("dpkg-query", "--show", "--showformat=${source:Package} ${source:Version}", package)
        name, _, version = source.partition(" ")
        sources.append(f"{plain}: https://snapshot.debian.org/package/{name}/{version}/\n")
    for licence in sorted(name.decode() for name in pointed_to):
        yield f"common-licenses/{licence}", (COMMON_LICENCES / licence).read_bytes()
    yield "SOURCES", "".join(sources).encode()


def platform_tag(contents: Iterable[bytes]) -> str:
    """The oldest platform that has all that these programs demand of libc (PEP 600)."""
    demanded = {
        (int(major), int(minor)) for data in contents for major, minor in re.findall(rb"GLIBC_(\d+)\.(\d+)\b", data)
    }
    if not demanded:
        die("this tor is not linked to glibc")
    major, minor = max(demanded)
    return f"manylinux_{major}_{minor}_{platform.machine()}"


def version_of(package: str) -> str:
    """Debian's version of a package, as Python writes versions: 0.4.9.11-0+deb12u1 is 0.4.9.11+0.deb12u1."""
    upstream, _, revision = output("dpkg-query", "--show", "--showformat=${Version}", package).rpartition("-")
    local = re.sub(r"[^a-z0-9]+", ".", revision.lower()).strip(".")
    return f"{upstream}+{local}"


def wheel_of(tor: Path) -> tuple[str, Files]:
    """The name of the wheel, and what stands in it."""
    libraries = libraries_of(tor)
    package = package_of(tor)
    version = version_of(package)
    files: Files = {
        f"{NAME}/__init__.py": (MODULE.read_bytes(), False),
        f"{NAME}/tor": (START.encode(), True),
        f"{NAME}/bin/tor": (tor.read_bytes(), True),
        **{f"{NAME}/lib/{name}": (path.read_bytes(), False) for name, path in sorted(libraries.items())},
    }
    tag = f"py3-none-{platform_tag(data for data, _ in files.values())}"
    info = f"{NAME}-{version}.dist-info"
    licences = dict(licences_of({package, *map(package_of, libraries.values())}))
    files |= {f"{info}/licenses/{name}": (text, False) for name, text in licences.items()}
    metadata = [
        *("Metadata-Version: 2.4", "Name: torfluxd-tor", f"Version: {version}"),
        "Summary: Debian's tor, for reporters of torfluxd where none is installed.",
        *(f"License-File: {name}" for name in licences),
    ]
    files[f"{info}/METADATA"] = ("".join(f"{line}\n" for line in metadata).encode(), False)
    wheel = ("Wheel-Version: 1.0", "Generator: torfluxd", "Root-Is-Purelib: false", f"Tag: {tag}")
    files[f"{info}/WHEEL"] = ("".join(f"{line}\n" for line in wheel).encode(), False)
    files[f"{info}/RECORD"] = (record(files, f"{info}/RECORD").encode(), False)
    return f"{NAME}-{version}-{tag}.whl", files


def record(files: Files, itself: str) -> str:
    """What the wheel says stands in it."""
    lines = []
    for name, (data, _) in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        lines.append(f"{name},sha256={digest},{len(data)}\n")
    return "".join(lines) + f"{itself},,\n"


def write(path: Path, files: Files) -> None:
    """Write the wheel."""
    with ZipFile(path, "w", ZIP_DEFLATED) as archive:
        for name, (data, runs) in files.items():
            entry = ZipInfo(name, BEGINNING)
            entry.external_attr = (0o100755 if runs else 0o100644) << 16
            archive.writestr(entry, data, ZIP_DEFLATED)


def main() -> None:
    """Build it, and say where it is."""
    if len(sys.argv) != 2:
        die("expected one argument, the directory for the wheel")
    for tool in ("ldd", "dpkg-query"):
        if shutil.which(tool) is None:
            die(f"there is no {tool} here; build the wheel on a Debian")
    tor = shutil.which("tor", path="/usr/bin:/usr/sbin")
    if tor is None:
        die("there is no tor here: apt-get install tor")
        raise AssertionError
    name, files = wheel_of(Path(tor).resolve())
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    write(directory / name, files)
    print(directory / name)


if __name__ == "__main__":
    main()
