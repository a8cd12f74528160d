"""A world of its own for each test: a "host" that is a fresh network namespace, and an "internet" beside it.

    test's thread ("host")  eth0 198.51.100.1 ── 198.51.100.2 eth0  outside ("another machine")
                                 2001:db8:1::1 ── 2001:db8:1::2      knows nothing of the containers' addresses

Nothing touches the machine's real network: the test's thread moves into the new namespace, and all threads and
processes that it starts follow. Addresses are of the documentation ranges (RFC 5737, RFC 3849).
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from kist.engine.network import Endpoint, Networks
from kist.engine.network.sandbox import NamespaceThread, Sandbox
from kist.linux.netlink import Netlink, request

MakeNetworks = Callable[..., Networks]
HOST4, OUTSIDE4, HOST6, OUTSIDE6 = "198.51.100.1", "198.51.100.2", "2001:db8:1::1", "2001:db8:1::2"
SERVER = Path(__file__).with_name("talker.py")


class World:
    """The host is where the test runs; `outside` is the other machine."""

    def __init__(self, stack: ExitStack, tmp_path: Path) -> None:
        self._stack, self.tmp_path = stack, tmp_path
        self.servers: list[subprocess.Popen[str]] = []
        self._namespaces = NamespaceThread()
        stack.callback(self._namespaces.close)
        self.outside = self.namespace()
        with Netlink() as host:
            host.run(request.set_link(1, up=True),
                     request.veth("eth0", peer_name="eth0", peer_netns=self.outside.netns_fd))
            self._address(host, HOST4, HOST6)
        self._address(self.outside.netlink, OUTSIDE4, OUTSIDE6)

    def namespace(self) -> Sandbox:
        made = self._namespaces.new()
        self._stack.callback(made.close)
        return made

    def _address(self, netlink: Netlink, ipv4: str, ipv6: str) -> None:
        index = netlink.link("eth0").index
        netlink.run(request.set_link(index, up=True), request.add_address(index, ipv4, 24))
        if netlink is self.outside.netlink:
            with self._namespaces.inside(self.outside.netns_fd):
                Path("/proc/sys/net/ipv6/conf/eth0/disable_ipv6").write_text("0")
        netlink.run(request.add_address(index, ipv6, 64))

    def run(self, *command: str, on: int | None = None, timeout: float = 15) -> subprocess.CompletedProcess[str]:
        """Run a command on the host, or in the namespace with descriptor `on`."""
        enter = ["nsenter", f"--net=/proc/{os.getpid()}/fd/{on}"] if on is not None else []
        return subprocess.run([*enter, *command], capture_output=True, text=True, timeout=timeout, check=False)

    def serve(self, on: int | None, *ports: str) -> None:
        """A program that listens on `tcp:80`, `udp:53`… and tells each caller its address."""
        enter = ["nsenter", f"--net=/proc/{os.getpid()}/fd/{on}"] if on is not None else []
        process = subprocess.Popen([*enter, sys.executable, "-I", "-S", str(SERVER), "serve", *ports],
                                   stdout=subprocess.PIPE, text=True)
        self._stack.callback(_end, process)
        self.servers.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"

    def ask(self, where: str, on: int | None = None, *, timeout: float = 3) -> str:
        """Call `tcp:198.51.100.1:8080` from the host or from `on`: the caller's address as the server saw it,
        or "refused" or "silence"."""
        command = (sys.executable, "-I", "-S", str(SERVER), "ask", where, str(timeout))
        done = self.run(*command, on=on, timeout=timeout + 10)
        return done.stdout.strip() or done.stderr

    def nft(self, commands: str) -> None:
        done = subprocess.run(["nft", "-f", "-"], input=commands, text=True, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr

    def sysctl(self, name: str, value: str) -> None:
        Path(f"/proc/sys/net/{name}").write_text(value)


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


def container_id() -> str:
    return os.urandom(32).hex()


def netns(endpoint: Endpoint) -> int:
    assert endpoint.netns_fd is not None
    return endpoint.netns_fd


def eventually(check: Callable[[], bool], seconds: float = 10) -> bool:
    """Whether `check` becomes true in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if check():
            return True
        time.sleep(0.02)
    return False
