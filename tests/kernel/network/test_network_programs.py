"""Published ports with the programs that people publish: nginx, redis; asked by curl, redis-cli."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from kist.engine.network import Endpoint, Networks
from support.network import HOST4, HOST6, OUTSIDE4, OUTSIDE6, World, container_id, eventually, netns
from support.processes import end

NGINX = """\
daemon off; worker_processes 1; pid {place}/nginx.pid; error_log {place}/error.log;
events {{ }}
http {{
    access_log {place}/access.log;
    client_body_temp_path {place}; proxy_temp_path {place}; fastcgi_temp_path {place}; uwsgi_temp_path {place};
    scgi_temp_path {place};
    server {{ listen 80; listen [::]:80; root {place}/www; }}
}}
"""


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as made:
        yield made


def start(stack: ExitStack, one: Endpoint, *command: str) -> None:
    process = subprocess.Popen(["nsenter", f"--net=/proc/{os.getpid()}/fd/{netns(one)}", *command],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    stack.callback(end, process)


async def test_nginx_and_curl(world: World, networks: Networks, stack: ExitStack) -> None:
    """A large file whole, from another machine by IPv4 and IPv6, and the log has who asked."""
    await networks.create({"Name": "six", "EnableIPv6": True})
    one = await networks.connect(container_id(), "six", ports={"80/tcp": [{"HostPort": "8080"}]})
    place, outside = world.tmp_path / "nginx", world.outside.netns_fd
    (place / "www").mkdir(parents=True)
    place.chmod(0o777)
    world.tmp_path.chmod(0o755)
    content = os.urandom(1 << 20) * 20
    (place / "www/large").write_bytes(content)
    (place / "nginx.conf").write_text(NGINX.format(place=place))
    start(stack, one, "nginx", "-p", str(place), "-c", str(place / "nginx.conf"), "-g", "user root;")
    assert eventually(lambda: world.run("curl", "-s", "-m", "5", f"http://{one.ip}/large", "-o", "/dev/null"
                                        ).returncode == 0)
    for address in (HOST4, f"[{HOST6}]"):
        fetched = world.tmp_path / "fetched"
        done = world.run("curl", "-s", "-g", "-m", "30", f"http://{address}:8080/large", "-o", str(fetched), on=outside,
                         timeout=60)
        assert done.returncode == 0
        assert fetched.read_bytes() == content
    log = (place / "access.log").read_text()
    assert f"\n{OUTSIDE4} - " in log
    assert f"\n{OUTSIDE6} - " in log


async def test_redis(world: World, networks: Networks, stack: ExitStack) -> None:
    """From another machine, from the host's 127.0.0.1, and from another container by its name's address."""
    await networks.create({"Name": "front"})
    one = await networks.connect(container_id(), "front", ports={"6379/tcp": [{"HostPort": "6380"}]})
    two = await networks.connect(container_id(), "front")
    start(stack, one, "redis-server", "--save", "", "--protected-mode", "no", "--bind", "0.0.0.0")

    def redis(host: str, port: str, *words: str, on: int | None = None) -> str:
        return world.run("redis-cli", "-h", host, "-p", port, *words, on=on).stdout.strip()

    assert eventually(lambda: redis("127.0.0.1", "6380", "ping") == "PONG")
    outside = world.outside.netns_fd
    assert redis(HOST4, "6380", "set", "key", "value", on=outside) == "OK"
    assert redis(one.ip, "6379", "get", "key", on=netns(two)) == "value"
    assert f"addr={OUTSIDE4}:" in redis(HOST4, "6380", "client", "list", on=outside)
    assert f"addr={two.ip}:" in redis(one.ip, "6379", "client", "list", on=netns(two))
