"""The host firewalls that Debian's users have, for real: ufw and firewalld, each in a mount namespace of its own.

Their rules are the world's (the programs inherit the test's network namespace), their files nobody's: what they
write to /etc, /run and /var lies on tmpfs that only they see.
"""

from __future__ import annotations

import subprocess
from contextlib import ExitStack
from pathlib import Path

from support.network import World, eventually

# A private copy of each directory named below /etc, an empty one in place of others; "ready"; wait for the test's end.
HOLD = """\
mount --make-rprivate / &&
for place; do
    copy=$(mktemp -d -p "$SCRATCH") || exit 1
    case $place in /etc/*) cp -a "$place/." "$copy/" || exit 1 ;; esac
    mount --bind "$copy" "$place" || exit 1
done && echo ready && read -r _
"""
BUS = """\
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><listen>unix:path={socket}</listen><auth>EXTERNAL</auth><policy context="default">
<allow own="*"/><allow send_destination="*"/><allow receive_sender="*"/></policy></busconfig>
"""


class Firewall:
    """Programs that run with private copies of `places`, until the stack ends."""

    def __init__(self, stack: ExitStack, world: World, *places: str) -> None:
        self._stack, self._world = stack, world
        self.environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "SCRATCH": str(world.tmp_path)}
        self._holder = subprocess.Popen(
            ["unshare", "-m", "sh", "-c", HOLD, "hold", *places], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True, env=self.environment)
        stack.callback(_end, self._holder)
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == "ready\n"

    def enter(self, *command: str) -> list[str]:
        return ["nsenter", "-m", "-t", str(self._holder.pid), "--", *command]

    def do(self, *command: str) -> str:
        done = subprocess.run(self.enter(*command), env=self.environment, capture_output=True, text=True, timeout=60,
                              check=False)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"
        return done.stdout

    def start(self, *command: str) -> None:
        """A program that runs to the end of the test."""
        log = (self._world.tmp_path / f"{Path(command[0]).name}.log").open("wb")
        self._stack.callback(log.close)
        process = subprocess.Popen(self.enter(*command), env=self.environment, stdin=subprocess.DEVNULL, stdout=log,
                                   stderr=log)
        self._stack.callback(_end, process)


class Ufw(Firewall):
    """As `ufw enable` on a fresh Debian makes it: deny incoming, deny routed, allow outgoing."""

    def __init__(self, stack: ExitStack, world: World) -> None:
        super().__init__(stack, world, "/etc/ufw", "/run")
        self.ufw("--force", "enable")

    def ufw(self, *words: str) -> str:
        return self.do("ufw", *words)


class Firewalld(Firewall):
    """As Debian's package starts it: zone public. Its bus is a private one."""

    def __init__(self, stack: ExitStack, world: World) -> None:
        super().__init__(stack, world, "/etc/firewalld", "/run", "/var/log")
        socket = world.tmp_path / "bus"
        config = world.tmp_path / "bus.conf"
        config.write_text(BUS.format(socket=socket))
        self.environment["DBUS_SYSTEM_BUS_ADDRESS"] = f"unix:path={socket}"
        self.start("dbus-daemon", f"--config-file={config}", "--nofork", "--nopidfile")
        assert eventually(socket.exists)
        self.start("firewalld", "--nofork", "--nopid")
        assert eventually(lambda: "running" in subprocess.run(
            self.enter("firewall-cmd", "--state"), env=self.environment, capture_output=True, text=True,
            check=False).stdout, seconds=30)

    def cmd(self, *words: str) -> str:
        return self.do("firewall-cmd", *words)


def _end(process: subprocess.Popen[str] | subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        process.stdin.close()
    else:
        process.terminate()
    process.wait(30)
    if process.stdout is not None:
        process.stdout.close()
