"""The units on a machine that systemd has booted."""

from __future__ import annotations

import pytest
from twisted.trial.unittest import SynchronousTestCase

from tests.installation.booted import Machine

WRITE = "curl --silent --max-time 20 --include --data-binary"
DATABASE = "http://localhost/write?db=telemetry"
COUNT = (
    "curl --silent --max-time 20 --unix-socket /run/influxdb/influxdb.sock"
    " 'http://localhost/query?db=telemetry&q=select+count(f)+from+m' | grep --only-matching 'Z\",[0-9]*'"
)
PROCESS = "systemctl show torfluxd --property MainPID --value"

STEPS = (
    (
        "prepare",
        "systemctl start influxdb tor@default\n"
        "for _ in $(seq 100); do [ -S /run/influxdb/influxdb.sock ] && break; sleep 0.1; done\n"
        "curl --silent --unix-socket /run/influxdb/influxdb.sock http://localhost/query"
        " --data-urlencode 'q=CREATE DATABASE telemetry'",
    ),
    ("start", "systemctl start torfluxd; systemctl is-active torfluxd"),
    ("status", "systemctl show torfluxd --property StatusText --value"),
    ("hostname", "cat /var/lib/torfluxd/hostname"),
    ("tor_writes", f"runuser -u debian-tor -- {WRITE} 'm f=1 ' --unix-socket /run/torfluxd/onion.sock '{DATABASE}'"),
    ("nobody_writes", f"runuser -u nobody -- {WRITE} 'm f=1' --unix-socket /run/torfluxd/onion.sock '{DATABASE}'"),
    ("stored", COUNT),
    ("network", f"nsenter --net --target $({PROCESS}) cat /proc/net/dev | tail --lines +3 | cut -d: -f1"),
    ("before_reload", PROCESS),
    ("reload", "systemctl reload torfluxd; systemctl is-active torfluxd"),
    ("after_reload", PROCESS),
    (
        "hang",
        "systemctl kill --kill-who=main --signal=STOP torfluxd\n"
        "for _ in $(seq 120); do sleep 1; [ $(systemctl show torfluxd -p NRestarts --value) = 0 ] || break; done\n"
        "for _ in $(seq 60); do systemctl is-active --quiet torfluxd && break; sleep 1; done\n"
        "systemctl show torfluxd --property NRestarts --value; systemctl is-active torfluxd",
    ),
    ("new_key", "install -d -m 700 /etc/credstore; torfluxd key new /etc/credstore/torfluxd.onion-key"),
    ("credential", "systemctl restart torfluxd; cat /var/lib/torfluxd/hostname; systemctl is-active torfluxd"),
    (
        "secrets",
        f"key=$(cat /etc/credstore/torfluxd.onion-key)\n"
        f'grep --quiet --text "$key" /proc/$({PROCESS})/environ /proc/$({PROCESS})/cmdline; echo $?',
    ),
    (
        "prometheus",
        "install -D /opt/torfluxd/share/torfluxd/drop-ins/torfluxd-prometheus.conf"
        " --target-directory /etc/systemd/system/torfluxd.service.d\n"
        "systemctl daemon-reload; systemctl stop torfluxd; systemctl start torfluxd-admin.socket torfluxd\n"
        "curl --silent --max-time 20 http://127.0.0.1:9273/metrics | grep '^torfluxd_spool_open '",
    ),
    (
        "door",
        "install -D /opt/torfluxd/share/torfluxd/drop-ins/torfluxd-door.conf"
        " --target-directory /etc/systemd/system/torfluxd.service.d\n"
        "systemctl daemon-reload; systemctl stop torfluxd; systemctl start torfluxd.socket torfluxd\n"
        f"(sleep 0.1; {WRITE} 'm f=2' 'http://127.0.0.1:8087/write?db=telemetry' >/root/door) &\n"
        "systemctl restart torfluxd; wait; cat /root/door",
    ),
    (
        "workers",
        "printf '[Service]\\nEnvironment=TORFLUXD_WORKERS=2\\n' >/etc/systemd/system/torfluxd.service.d/workers.conf\n"
        "systemctl daemon-reload; systemctl restart torfluxd; systemctl is-active torfluxd\n"
        "for socket in onion onion-2; do\n"
        f"    runuser -u debian-tor -- {WRITE} 'm f=3' --unix-socket /run/torfluxd/$socket.sock '{DATABASE}'\n"
        "done | grep HTTP",
    ),
    (
        "agent",
        "install -d /etc/torfluxd\n"
        'printf \'[agent]\\nonion = "%s"\\nlisten = ["tcp:8096:interface=127.0.0.1"]\\n\''
        " $(cat /var/lib/torfluxd/hostname) >/etc/torfluxd/agent.toml\n"
        "systemctl start torfluxd-agent; systemctl is-active torfluxd-agent\n"
        f"{WRITE} 'm f=4' 'http://127.0.0.1:8096/write?db=telemetry' | grep HTTP\n"
        "systemctl stop torfluxd-agent; systemctl show torfluxd-agent --property Result --value",
    ),
    (
        "stop",
        "systemctl stop torfluxd.socket torfluxd-admin.socket\n"
        "before=$(date +%s); systemctl stop torfluxd; echo $(($(date +%s) - before))\n"
        "systemctl show torfluxd --property Result --value",
    ),
    ("own_tor", "systemctl start torfluxd-own-tor; sleep 5; cat /var/lib/torfluxd/hostname"),
    ("own_tor_runs", "pgrep --exact --uid torfluxd tor >/dev/null; echo $?"),
    ("own_tor_state", "stat --format %U:%a /var/lib/torfluxd /var/lib/torfluxd/tor /var/lib/torfluxd/onion.key"),
    ("instead", "systemctl start torfluxd; systemctl is-active torfluxd torfluxd-own-tor; pgrep -u torfluxd -x tor"),
)


@pytest.mark.torture
class BootedTests(SynchronousTestCase):
    """Both gateways, with Debian's tor and InfluxDB, on a machine that reaches nobody."""

    machine: Machine

    @classmethod
    def setUpClass(cls) -> None:
        """Install a machine, boot it, and do everything once."""
        cls.machine = Machine(cls.addClassCleanup)
        steps = [(name, f"PATH=$PATH:/opt/torfluxd/bin\n{commands}") for name, commands in STEPS]
        cls.machine.run(steps)

    def assert_said(self, step: str, *lines: str) -> None:
        """A step said this."""
        self.assertEqual(self.machine.said(step).splitlines(), list(lines), step)

    def test_starts(self) -> None:
        """The gateway starts without any credential, and tells systemd that it is ready before tor is."""
        self.assert_said("start", "active")
        self.assertIn(self.machine.said("hostname"), self.machine.said("status"))

    def test_writes(self) -> None:
        """What tor brings is stored; and nobody but tor may bring anything."""
        self.assertIn("204 No Content", self.machine.said("tor_writes"))
        self.assertNotEqual(0, self.machine.code("nobody_writes"))
        self.assert_said("stored", 'Z",1')

    def test_network(self) -> None:
        """The gateway beside Debian's tor has no network but a loopback of its own."""
        self.assertEqual(self.machine.said("network").split(), ["lo"])

    def test_reload(self) -> None:
        """A reload reloads, in the same process."""
        self.assert_said("reload", "active")
        self.assertEqual(self.machine.said("before_reload"), self.machine.said("after_reload"))

    def test_watchdog(self) -> None:
        """A gateway that hangs is started anew."""
        self.assert_said("hang", "1", "active")

    def test_credential(self) -> None:
        """A key in /etc/credstore is the one that holds, and is in neither its environment nor its arguments."""
        self.assert_said("credential", self.machine.said("new_key"), "active")
        self.assertNotEqual(self.machine.said("hostname"), self.machine.said("new_key"))
        self.assert_said("secrets", "1")

    def test_door(self) -> None:
        """A write that comes to systemd's socket while the gateway restarts waits, and is answered."""
        self.assertIn("204 No Content", self.machine.said("door"))

    def test_prometheus(self) -> None:
        """Prometheus finds the status pages at systemd's socket, though the gateway has no network."""
        self.assert_said("prometheus", "torfluxd_spool_open 1.0")

    def test_workers(self) -> None:
        """Workers run in the same locks, and tor can connect to each."""
        ok = "HTTP/1.1 204 No Content"
        self.assert_said("workers", "active", ok, ok)

    def test_agent(self) -> None:
        """The agent starts, keeps what is written to it, and ends."""
        said = self.machine.said("agent").splitlines()
        self.assertEqual(("active", "success"), (said[0], said[-1]))
        self.assertIn(" 204 ", said[1])

    def test_stop(self) -> None:
        """It ends within five seconds."""
        seconds, result = self.machine.said("stop").splitlines()
        self.assertLessEqual(int(seconds), 5)
        self.assertEqual("success", result)

    def test_own_tor(self) -> None:
        """The gateway with a tor of its own has the same address, and its tor runs in the same locks."""
        self.assert_said("own_tor", self.machine.said("new_key"))
        self.assert_said("own_tor_runs", "0")
        self.assert_said("own_tor_state", "torfluxd:700", "torfluxd:700", "torfluxd:600")

    def test_one_of_them(self) -> None:
        """Who starts one gateway stops the other, and its tor with it."""
        self.assert_said("instead", "active", "inactive")
