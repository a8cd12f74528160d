"""`--link` by the real docker client and by kist: hosts, variables, words, and what becomes of it later."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from support import needs
from support.daemon import Daemon
from support.network import eventually


@pytest.fixture
def db(daemon: Daemon) -> Iterator[str]:
    daemon.ok("run", "-d", "--name", "db", "-h", "dbhost", "--expose", "80", "-e", "SECRET=x",
              "busybox", "sleep", "600")
    yield "db"
    daemon.clean()


def address(daemon: Daemon, name: str) -> str:
    return daemon.ok("inspect", "-f", "{{.NetworkSettings.IPAddress}}", name)


def test_hosts_and_variables(daemon: Daemon, db: str) -> None:
    done = daemon.docker("run", "--rm", "--name", "web", "--link", "db:data", "busybox", "sh", "-c",
                         "cat /etc/hosts; env; ping -c 1 -W 5 data")
    assert done.returncode == 0, done.stderr
    ip = address(daemon, db)
    assert f"{ip}\tdata dbhost db\n" in done.stdout
    assert {"DATA_NAME=/web/data", f"DATA_PORT=tcp://{ip}:80", f"DATA_PORT_80_TCP_ADDR={ip}", "DATA_ENV_SECRET=x",
            } <= set(done.stdout.splitlines())


def test_it_is_shown_followed_and_taken_away(daemon: Daemon, db: str) -> None:
    daemon.ok("run", "-d", "--name", "web", "--link", "db:data", "--link", "db", "busybox", "sleep", "600")
    shown = daemon.docker("inspect", "-f", "{{json .HostConfig.Links}}", "web").stdout.strip()
    assert shown == '["/db:/web/data","/db:/web/db"]'
    assert "db,web/data,web/db" in daemon.docker("ps", "--no-trunc", "--format", "{{.Names}}").stdout.splitlines()
    assert "DATA_NAME=/web/data" in daemon.ok("exec", "web", "env")
    daemon.ok("restart", "-t", "0", "db")
    hosts = daemon.ok("exec", "web", "cat", "/etc/hosts")
    assert f"{address(daemon, db)}\tdata dbhost db\n" in hosts
    daemon.ok("exec", "web", "ping", "-c", "1", "-W", "5", "data")
    assert daemon.docker("rm", "--link", "web/data").stdout.strip() == "web/data"
    assert daemon.ok("inspect", "-f", "{{json .HostConfig.Links}}", "web") == '["/db:/web/db"]'
    daemon.ok("stop", "-t", "0", "db")
    refused = daemon.docker("restart", "-t", "0", "web")
    assert refused.returncode == 1
    assert "Cannot link to a non running container: /db AS /web/db" in refused.stderr


@needs.docker_28
@pytest.mark.parametrize(("options", "words"), [
    (("--link", "nosuch:x"), "could not get container for nosuch: No such container: nosuch"),
    (("--link", "a:b:c"), 'invalid argument "a:b:c" for "--link" flag: bad format for links: a:b:c'),
    (("--network", "host", "--link", "db:x"), "conflicting options: host type networking can't be used with links"),
])
def test_refused_in_docker_s_words(daemon: Daemon, db: str, options: tuple[str, ...], words: str) -> None:
    for client in (daemon.docker, daemon.kist):
        done = client("run", "--rm", *options, "busybox", "true")
        assert done.returncode == 125
        assert words in done.stderr


def test_on_a_user_network_it_is_a_name(daemon: Daemon) -> None:
    name = f"net-{daemon.tag}"
    daemon.ok("network", "create", name)
    daemon.ok("run", "-d", "--name", "db", "--network", name, "--dns", "127.0.0.1", "busybox", "sleep", "600")
    for client in (daemon.docker, daemon.kist):
        done = client("run", "--rm", "--network", name, "--dns", "127.0.0.1", "--link", "db:data", "busybox", "ping",
                      "-c", "1", "-W", "5", "data")
        assert done.returncode == 0, done.stderr
    daemon.clean()


def test_restart_policies_bring_the_linked_one_up_first(daemon: Daemon, db: str) -> None:
    daemon.ok("update", "--restart", "always", "db")
    daemon.ok("run", "-d", "--name", "web", "--restart", "always", "--link", "db:data", "busybox", "sleep", "600")
    pids = daemon.ok("inspect", "-f", "{{.State.Pid}}", "web", "db").split()
    daemon.kill()
    for pid in pids:
        daemon.command("kill", "-9", pid)
    daemon.start()
    assert eventually(lambda: daemon.ok("inspect", "-f", "{{.State.Running}}", "web") == "true")
    daemon.ok("exec", "web", "ping", "-c", "1", "-W", "5", "data")


def test_a_link_opens_what_the_other_exposes(make_daemon: Callable[..., Daemon]) -> None:
    """Where containers on the default network can't talk to each other (`dockerd --icc=false`)."""
    daemon = make_daemon()
    daemon.config.write_text(daemon.config.read_text().replace("[network]\n", "[network]\nicc = false\n"))
    daemon.restart()
    daemon.ok("pull", "-q", "busybox")
    daemon.ok("run", "-d", "--name", "db", "--expose", "80", "busybox", "sh", "-c",
              "mkdir /w; echo yes > /w/index.html; exec busybox httpd -f -p 80 -h /w")
    # Not wget -T: the static busybox's crashes.
    fetch = ("busybox", "sh", "-c", f"busybox wget -qO- http://{address(daemon, 'db')}/ & sleep 1; kill -9 $!")
    assert daemon.docker("run", "--rm", *fetch).stdout == ""
    assert daemon.docker("run", "--rm", "--link", "db", *fetch).stdout == "yes\n"
