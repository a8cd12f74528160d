"""A pull whose network goes away in the middle: the next connection begins where the last one ended."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from kist.linux.namespaces import CLONE_NEWNET, setns
from kist.linux.netlink import Netlink, request
from kist.oci import reference
from kist.oci.platform import Platform
from kist.registry import pull
from kist.registry.client import RegistryClient
from kist.registry.settings import ClientConfig, Patience, RegistrySettings
from support.network import OUTSIDE4, World, eventually
from support.slow_registry import SlowRegistry


def connected(host: str) -> bool:
    """Whether there is an established connection to the port (proc_net_tcp(5): state 01)."""
    port = f":{int(host.rpartition(':')[2]):04X}"
    rows = [row.split() for row in Path("/proc/thread-self/net/tcp").read_text().splitlines()[1:]]
    return any(row[2].endswith(port) and row[3] == "01" for row in rows)


def test_what_came_before_the_network_was_lost_is_not_fetched_again(world: World) -> None:
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    setns(world.outside.netns_fd, CLONE_NEWNET)
    try:
        registry = SlowRegistry({"a": os.urandom(4 << 20)}, address=OUTSIDE4)
    finally:
        setns(home, CLONE_NEWNET)
        os.close(home)
    with registry, Netlink() as netlink:
        index = netlink.link("eth0").index
        patience = Patience(connect=0.3, read=0.3, retries=1000, pause=0.01)
        client = RegistryClient(registry.host, ClientConfig({registry.host: RegistrySettings(insecure=True)},
                                                            patience=patience))
        found = pull.resolve(reference.parse(registry.name), Platform("amd64", "linux"), client)
        blob = found.manifest.layers[0]
        registry.pause = 0.002
        got: list[bytes] = []
        thread = threading.Thread(target=lambda: got.extend(pull.fetch_blob(found, blob)))
        thread.start()
        assert eventually(lambda: sum(map(len, got)) > blob.size // 2)
        netlink.run(request.set_link(index, up=False))
        assert eventually(lambda: not connected(registry.host)), "it waits for ever"
        before = sum(map(len, got))
        assert registry.ranges == []
        registry.pause = 0
        netlink.run(request.set_link(index, up=True))
        thread.join(30)
        client.close()
        assert sum(map(len, got)) == blob.size
        assert registry.ranges == [f"bytes={before}-"]
