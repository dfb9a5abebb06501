"""The walls of the house, read out of its imports: who may know whom."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from attrs import frozen
from twisted.trial.unittest import SynchronousTestCase

import torfluxd

PACKAGE = Path(torfluxd.__file__).parent
PLUGINS = PACKAGE.parent / "twisted_plugins"


@frozen
class Storey:
    """One storey of the house.

    :ivar rooms: modules and folders of the package that stand on it.
    :ivar doors: whether rooms of this storey may know one another.
    """

    rooms: frozenset[str]
    doors: bool = False


ITSELF = ""
"""The package itself, `torfluxd/__init__.py`: what it shows to applications, and loads when it is asked for."""

HOUSE = (
    Storey(
        frozenset(
            {
                "boundaries",
                "children",
                "durations",
                "endpoints",
                "errors",
                "keeper",
                "outlet",
                "places",
                "quiet_web",
                "secretfile",
                "sizes",
                "state",
            }
        ),
        doors=True,
    ),
    Storey(frozenset({"delivery", "influx", "onion"})),
    Storey(frozenset({"ops", "settings"})),
    Storey(frozenset({"gateway", "reporter"})),
    Storey(frozenset({ITSELF, "testing"})),
    Storey(
        frozenset(
            {
                "agent_tap",
                "cli",
                "commands",
                "completion",
                "demo",
                "demo_influxd",
                "demo_screen",
                "table_options",
                "tap",
                "worker",
            }
        ),
        doors=True,
    ),
)
"""From the ground up. A room knows what stands below it; on its own storey only where there are doors."""

USERS = {
    "txtorcon": {"torfluxd.onion.control"},
    "treq": {"torfluxd.influx.post"},
    "twisted.internet.reactor": {
        "torfluxd.agent_tap",
        "torfluxd.cli",
        "torfluxd.demo",
        "torfluxd.tap",
        "torfluxd.worker",
        "torfluxd.reporter.reporter",  # maybe_global_reactor: for applications that start a reporter in one line
    },
}
"""What only some modules may import."""

GATEWAY_EXTRA = ("httptools", "prometheus_client", "re2")
"""The packages of the extra `gateway`, by the names under which they are imported."""

AGENT_MODULES = {f"torfluxd.reporter.{name}" for name in ("agent", "intake", "keeping", "listener")}
"""What only `torfluxd-agent` uses of the reporter: it checks lines as the gateway does, and needs the extra `agent`."""

SPEAKERS = {
    "torfluxd.cli",
    "torfluxd.delivery.spool_command",
    "torfluxd.demo",
    "torfluxd.onion.testnet_command",
    "torfluxd.ops.status_command",
    "torfluxd.table_options",
    "torfluxd.tap",
}
"""The modules that talk to a person on standard output."""

PUBLIC_NAMES: tuple[str, ...] = (
    "GatewayResource",
    "OnionAddressError",
    "OnionAgent",
    "Point",
    "PointError",
    "Reporter",
    "ReporterError",
    "ReporterStats",
    "SettingsError",
    "SocksError",
    "TorError",
    "TorfluxdError",
    "UpstreamError",
    "__version__",
)
"""What `from torfluxd import ...` promises to applications."""


def imported(source: str) -> Iterator[str]:
    """Every name that a source imports, wherever in it: `a.b` for `import a.b`, `a.b` for `from a import b`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ("." * node.level + f"{node.module}.{alias.name}" for alias in node.names)


def used_of(package: str, source: str) -> Iterator[str]:
    """Every `package.name` that stands in a source."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == package:
            yield ast.unparse(node)


@cache
def sources() -> dict[str, str]:
    """The source of each module of the package, by the module's name."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path.read_text()
    return found


@cache
def imports() -> dict[str, frozenset[str]]:
    """What each module of the package imports, and what it uses of the package itself after `import torfluxd`."""
    return {
        module: frozenset({*imported(source), *used_of("torfluxd", source)} - {"torfluxd"})
        for module, source in sources().items()
    }


def module_of(name: str) -> str | None:
    """The module of the package that an imported name is, or is in; None for a name of somebody else's."""
    if name in sources():
        return name
    parent = name.rpartition(".")[0]
    return parent if parent in sources() else None


def is_within(name: str, package: str) -> bool:
    """Whether a name is a package, or in it."""
    return name == package or name.startswith(package + ".")


def room_of(module: str) -> str:
    """The room in which a module stands."""
    return module.removeprefix("torfluxd").removeprefix(".").partition(".")[0]


def storey_of(room: str) -> int:
    """The height of a room."""
    (height,) = (height for height, storey in enumerate(HOUSE) if room in storey.rooms)
    return height


def may_know(room: str, other: str) -> bool:
    """Whether one room may import from another."""
    if room == other:
        return True
    height, other_height = storey_of(room), storey_of(other)
    return other_height < height or (other_height == height and HOUSE[height].doors)


def reachable(start: str) -> frozenset[str]:
    """Every name that is imported, however indirectly, when a module is used."""
    names: set[str] = set()
    ahead = [start]
    while ahead:
        for name in imports()[ahead.pop()] - names:
            names.add(name)
            module = module_of(name)
            if module is not None and module != "torfluxd":  # which loads what is asked of it, when it is
                ahead.append(module)
    return frozenset(names)


def own_all(source: str) -> list[str] | None:
    """The `__all__` of a source, or None."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["__all__"]:
            names: list[str] = ast.literal_eval(node.value)
            return names
    return None


def is_only_a_docstring(source: str) -> bool:
    """Whether there is nothing in a source but its docstring."""
    return len(ast.parse(source).body) == 1 and ast.get_docstring(ast.parse(source)) is not None


class ReadingTests(SynchronousTestCase):
    """The reader of imports, on which the rest relies."""

    def test_every_import_is_seen(self) -> None:
        """An import is seen at the top, in a function, and under TYPE_CHECKING."""
        source = (
            "import a.b as c, d\nfrom e import f as g, h\nif TYPE_CHECKING:\n    from i import j\n"
            "def k():\n    from twisted.internet import reactor\n"
        )
        self.assertEqual(sorted(imported(source)), ["a.b", "d", "e.f", "e.h", "i.j", "twisted.internet.reactor"])
        self.assertEqual(list(used_of("a", "import a\nb = a.c(a.d)\n")), ["a.c", "a.d"])

    def test_the_package_is_read(self) -> None:
        """All of the package is read: none of its modules is outside the walls' sight."""
        self.assertGreater(len(sources()), 30)
        self.assertIn("torfluxd", sources())
        self.assertIn("torfluxd.onion.key", sources())
        self.assertIn("torfluxd.errors.SettingsError", imports()["torfluxd.settings.gateway"])

    def test_imports_are_absolute(self) -> None:
        """Who imports what can be read in the line itself."""
        relative = {module: [name for name in names if name.startswith(".")] for module, names in imports().items()}
        self.assertEqual({module: names for module, names in relative.items() if names}, {})


class WallTests(SynchronousTestCase):
    """Who may know whom."""

    def test_every_room_has_its_place(self) -> None:
        """A new module or folder of the package is given its storey, here."""
        rooms = {room_of(module) for module in sources()}
        self.assertEqual(rooms - frozenset[str]().union(*(storey.rooms for storey in HOUSE)), set())

    def test_nothing_imports_upward_or_across(self) -> None:
        """influx, onion and delivery never know one another, nor gateway and reporter; and nothing imports upward."""
        wrong = [
            f"{module} imports {name}"
            for module, names in imports().items()
            for name in sorted(names)
            if (other := module_of(name)) is not None
            and name != "torfluxd.__version__"
            and not may_know(room_of(module), room_of(other))
        ]
        self.assertEqual(wrong, [])

    def test_the_rules_forbid(self) -> None:
        """The rules say no where the house has a wall, and yes where it has a door."""
        for room, other in [
            ("influx", "onion"),
            ("onion", "delivery"),
            ("delivery", "influx"),
            ("gateway", "reporter"),
            ("reporter", "gateway"),
            ("errors", "onion"),
            ("influx", "settings"),
            ("reporter", "tap"),
            ("gateway", ITSELF),
            (ITSELF, "tap"),
        ]:
            self.assertFalse(may_know(room, other), (room, other))
        for room, other in [("onion", "errors"), ("gateway", "settings"), ("cli", "tap"), (ITSELF, "gateway")]:
            self.assertTrue(may_know(room, other), (room, other))

    def test_libraries_have_one_user(self) -> None:
        """There is one user of txtorcon and one of treq, and the global reactor is the entry points' alone."""
        wrong = [
            f"{module} imports {name}"
            for module, names in imports().items()
            for name in sorted(names)
            for package, users in USERS.items()
            if is_within(name, package) and module not in users
        ]
        self.assertEqual(wrong, [])

    def test_the_reporter_needs_no_extra(self) -> None:
        """No module that the reporter uses, however indirectly, imports a package of the extra `gateway`."""
        wrong = [
            f"{module} needs {name}"
            for module in imports()
            if room_of(module) in ("reporter", "delivery", "onion") and module not in AGENT_MODULES
            for name in sorted(reachable(module))
            if any(is_within(name, package) for package in GATEWAY_EXTRA)
        ]
        self.assertEqual(wrong, [])

    def test_no_reactor_is_installed(self) -> None:
        """What is imported first leaves the choice of the reactor to `twistd --reactor`, or to the application.

        What uses `onion.control` cannot: txtorcon installs a reactor when it is imported.
        """
        self.run_program(
            "import sys, torfluxd.agent_tap, torfluxd.cli, torfluxd.tap\n"
            f"from torfluxd import {', '.join(PUBLIC_NAMES)}\n"
            "assert 'twisted.internet.reactor' not in sys.modules, 'an import has installed a reactor'\n"
        )

    def test_it_imports_without_the_extra(self) -> None:
        """An application gets all public names but the gateway's where the extra `gateway` is not installed."""
        self.run_program(
            "import sys\n"
            f"sys.modules.update(dict.fromkeys({GATEWAY_EXTRA!r}))\n"  # None: importing it is an ImportError
            "import torfluxd\n"
            f"for name in {PUBLIC_NAMES!r}:\n"
            "    if not name.startswith('Gateway'):\n"
            "        getattr(torfluxd, name)\n"
        )

    def run_program(self, program: str) -> None:
        """Run a program in a Python of its own; it succeeds, and says nothing."""
        ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
        self.assertEqual((ended.returncode, ended.stdout, ended.stderr), (0, "", ""))

    def test_plugins_are_light(self) -> None:
        """`twistd --help` imports every plugin: each file names one service maker, and imports nothing of ours."""
        for path in PLUGINS.glob("*.py"):
            self.assertEqual(list(imported(path.read_text())), ["twisted.application.service.ServiceMaker"], path.name)
            self.assertEqual(path.read_text().count("ServiceMaker("), 1, path.name)


class ModuleTests(SynchronousTestCase):
    """What every module has."""

    def test_says_what_it_is(self) -> None:
        """Every module has a docstring, and names what it offers in `__all__`."""
        for module, source in sources().items():
            self.assertTrue(ast.get_docstring(ast.parse(source)), module)
            if not is_only_a_docstring(source):
                self.assertIsNotNone(own_all(source), module)

    def test_is_silent(self) -> None:
        """Only what talks to a person prints; everything else logs, or answers its caller."""
        printing = {
            module
            for module, source in sources().items()
            for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "print"
        }
        self.assertEqual(printing - SPEAKERS, set())

    def test_public_names(self) -> None:
        """The names that applications import stay: taking one away is a new major version."""
        self.assertEqual(tuple(torfluxd.__all__), PUBLIC_NAMES)
        for name in PUBLIC_NAMES:
            self.assertTrue(hasattr(torfluxd, name), name)
