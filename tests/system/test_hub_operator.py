"""docs/hub.md, followed literally on a fresh machine: behind TLS with an own CA, behind nginx, and looked after.

The blocks of the page are run as they stand, in its order. What is not: making the virtual environment
(test_install.py), and docker's commands, whose server would need a way to the machine (skopeo's stand for them).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.operators_machine import Machine, blocks
from system.test_hub_skopeo import layout

PASSWORD = "correct horse battery"
ADMIN = "runuser -u kist-hub -- /opt/kist/bin/python -m kist.hub admin --data /var/lib/kist-hub"
WAIT = "for i in $(seq 200); do curl -sf -o /dev/null {url} && break; sleep 0.05; done; curl -sf {url}"
HEALTH = "https://hub.example.com/healthz"


def block(words: str) -> str:
    """The one code block of the page with these words."""
    found = [text for _, text in blocks("hub.md") if words in text]
    assert len(found) == 1, (words, len(found))
    return found[0]


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """With user, folders, certificate, configuration and unit as the page has them, steps 1 to 4."""
    images = layout(tmp_path / "img")
    (tmp_path / "root").mkdir()
    with Machine(tmp_path / "root", images) as machine:
        machine.run(
            "\n".join(line for line in block("useradd").splitlines() if "venv" not in line and "pip" not in line)
        )
        machine.run(block("openssl req"))
        machine.run("mkdir -p /etc/letsencrypt/live; cp -r certificates /etc/letsencrypt/live/hub.example.com")
        machine.run(block("privkey.pem /etc/kist-hub/"))
        machine.write("/etc/kist-hub/hub.toml", block('url = "https://hub.example.com"'))
        machine.write("/etc/systemd/system/kist-hub.service", block("[Unit]"))
        # What the clients' users do (the page's table): trust the CA.
        machine.run(
            "install -D -m 0644 certificates/ca.crt /etc/docker/certs.d/hub.example.com/ca.crt\n"
            "cat certificates/ca.crt >>/etc/ssl/certs/ca-certificates.crt"
        )
        yield machine


def start(machine: Machine) -> None:
    """Step 5: the first user and off it goes; docker's lines by skopeo."""
    lines = block("user add alice").splitlines()
    assert [line.split()[0] for line in lines] == ["runuser", "systemctl", "curl", "docker", "docker"]
    machine.run(f"{lines[0]} <<<'{PASSWORD}'\n{lines[1]}\n{WAIT.format(url=HEALTH)}")
    assert machine.run(lines[2]).endswith("ok")
    sign_in(machine, "alice", PASSWORD)
    push(machine, "alice/busybox")


def sign_in(machine: Machine, name: str, password: str) -> None:
    machine.run(f"skopeo login -u {name} -p '{password}' hub.example.com")


def push(machine: Machine, name: str, *, fails: bool = False, of: str = "latest") -> str:
    return machine.run(f"skopeo copy oci:/img:{of} docker://hub.example.com/{name}", fails=fails)


def test_behind_tls(machine: Machine) -> None:
    start(machine)
    assert "listening on 0.0.0.0:443" in machine.run("cat /var/log/kist-hub.journal")
    assert machine.run("stat -c '%U %a' /var/lib/kist-hub/hub.db /etc/kist-hub/privkey.pem").splitlines() == [
        "kist-hub 600",
        "root 640",
    ]
    # A renewed certificate is taken without a restart.
    shown = "openssl s_client -connect hub.example.com:443 </dev/null 2>/dev/null | openssl x509 -noout -serial"
    before = machine.run(shown)
    machine.run(
        "cd certificates; "
        "openssl x509 -req -in hub.csr -CA ca.crt -CAkey ca.key -days 9 -extfile hub.ext -out hub.crt; "
        "cat hub.crt ca.crt >/etc/letsencrypt/live/hub.example.com/fullchain.pem"
    )
    machine.run(
        block("privkey.pem /etc/kist-hub/") + "systemctl reload kist-hub\n"
        f"for i in $(seq 100); do [ \"$({shown})\" != '{before}' ] && break; sleep 0.05; done"
    )
    assert machine.run(shown) != before
    _who_may_do_what(machine)
    _looking_after_it(machine)


def _who_may_do_what(machine: Machine) -> None:
    """The block of admin commands, and what each of them means."""
    push(machine, "alice/app")
    commands = block("admin user add bob")
    said = machine.run(f"kist() {{ shift 2; {ADMIN} \"$@\" <<<'{PASSWORD}'; }}\n{commands}")
    token = re.findall(r"kist_[0-9a-f]{12}_[\w-]{43}", said)[0]
    push(machine, "alice/app")  # the same again is no change
    other = "skopeo copy --format v2s2 oci:/img:latest docker://hub.example.com/alice/app"
    assert "is immutable" in machine.run(other, fails=True)
    machine.run(f"{ADMIN} repo set alice/app --private\nskopeo logout hub.example.com")
    inspect = "skopeo inspect docker://hub.example.com/alice/app"
    assert re.search("unauthorized|authentication required", machine.run(inspect, fails=True))
    sign_in(machine, "bob", token)
    machine.run(inspect)
    assert "denied" in push(machine, "acme/app", fails=True), "bob may, but this token only reads"
    sign_in(machine, "bob", PASSWORD)
    push(machine, "acme/app")
    assert "denied" in push(machine, "alice/other", fails=True)
    sign_in(machine, "alice", PASSWORD)


def _looking_after_it(machine: Machine) -> None:
    read = machine.run(f"{ADMIN} token add alice prometheus --level read").split()[-1]
    metrics = "curl -s https://hub.example.com/metrics"
    assert "for admins" in machine.run(metrics)
    assert "kist_hub_requests_total" in machine.run(f"{metrics} -u alice:{read}")
    line = json.loads(machine.run("tail -n 1 /var/log/kist-hub/access.log"))
    assert (line["client"], line["user"], line["path"], line["status"]) == ("192.0.2.1", "alice", "/metrics", 200)
    machine.run(f"cd /var/log/kist-hub; mv access.log access.log.1; curl -s {HEALTH}; test -s access.log")
    # Garbage is collected while images are pushed, and nothing of them goes.
    machine.run(f"""( for i in 1 2 3; do {ADMIN} gc; done ) &
        for i in 1 2 3; do skopeo copy -q oci:/img:latest docker://hub.example.com/alice/n$i; done
        wait $!
        for i in 1 2 3; do skopeo copy -q docker://hub.example.com/alice/n$i dir:/tmp/n$i; done""")
    # Back-up, loss, restore, and what an upgrade does.
    machine.run(block("install -d -m 0700"))
    push(machine, "alice/later")
    machine.run("systemctl stop kist-hub; rm -rf /var/lib/kist-hub")
    machine.run(block("cp -a /backup/kist-hub") + WAIT.format(url=HEALTH))
    machine.run("skopeo copy -q docker://hub.example.com/alice/app dir:/tmp/app")
    assert "unknown" in machine.run("skopeo inspect docker://hub.example.com/alice/later", fails=True)
    push(machine, "alice/later")
    machine.run("systemctl restart kist-hub\n" + WAIT.format(url=HEALTH))
    machine.run("skopeo copy -q docker://hub.example.com/alice/later dir:/tmp/later")


def test_behind_nginx(machine: Machine) -> None:
    text = block('url = "https://hub.example.com"')
    kept = [line for line in text.splitlines() if not line.startswith(("certificate", "key", "listen"))]
    machine.write("/etc/kist-hub/hub.toml", "\n".join(['listen = "127.0.0.1:5555"', *kept]))
    machine.write(
        "/root/nginx.conf",
        "events {}\nhttp {\n access_log off;\n client_body_temp_path /tmp/b;\n proxy_temp_path /tmp/p;\n"
        " fastcgi_temp_path /tmp/f;\n uwsgi_temp_path /tmp/u;\n scgi_temp_path /tmp/s;\n"
        + block("proxy_pass")
        + "\n}\n",
    )
    machine.run("nginx -e stderr -c /root/nginx.conf -g 'pid /run/nginx-operator.pid; user root;'")
    start(machine)
    assert "for admins" in machine.run("curl -s https://hub.example.com/metrics"), (
        "nobody becomes the machine itself by the proxy"
    )
    machine.run("skopeo copy -q docker://hub.example.com/alice/busybox dir:/tmp/back")
    line = json.loads(machine.run("tail -n 1 /var/log/kist-hub/access.log"))
    assert (line["client"], line["user"]) == ("192.0.2.1", "alice")
    challenge = machine.run("curl -sI https://hub.example.com/v2/ | grep -i www-authenticate")
    assert 'realm="https://hub.example.com/token",service="hub.example.com"' in challenge
    page = machine.run(
        "curl -s -D - https://hub.example.com/signin -H 'Origin: https://hub.example.com' "
        f"-d name=alice --data-urlencode 'password={PASSWORD}'"
    )
    assert " 303" in page.splitlines()[0] and "Secure" in page, "the cookie is for https only"
    assert "429" in machine.run(
        "for i in $(seq 11); do curl -s -o /dev/null -w '%{http_code} ' -u bob:wrong https://hub.example.com/v2/; done"
    )
