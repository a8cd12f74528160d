"""A Hub behind TLS with accounts, used by skopeo and by our client with the Hub's own CA."""

from __future__ import annotations

import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kist.errors import KistError, NotFound, Unavailable
from kist.oci.platform import Platform
from kist.oci.reference import parse
from kist.registry.client import RegistryClient
from kist.registry.credentials import Credentials
from kist.registry.pull import ping, resolve
from kist.registry.settings import ClientConfig, Patience, RegistrySettings
from support.hub import free_port
from support.processes import ENVIRONMENT, PYTHON, end
from system.test_hub_skopeo import digest_of, layout, skopeo

PASSWORD = "correct horse battery"


class SecureHub:
    def __init__(self, folder: Path) -> None:
        self.folder, self.data = folder, folder / "data"
        self.ca, self.key = self.certificate(folder)
        subprocess.run([PYTHON, "-m", "kist.hub.admin", "--data", str(self.data), "user", "add", "alice"], check=True,
                       input=PASSWORD.encode(), env=ENVIRONMENT)
        self.port = free_port()
        self.host = f"localhost:{self.port}"
        with (folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [PYTHON, "-m", "kist.hub", "--data", str(self.data), "--listen", f"127.0.0.1:{self.port}", "--accounts",
                 "--certificate", str(self.ca), "--key", str(self.key)], stderr=log, env=ENVIRONMENT)
        deadline = time.monotonic() + 30
        with socket.socket() as probe:
            while probe.connect_ex(("127.0.0.1", self.port)):
                assert time.monotonic() < deadline
                assert self.process.poll() is None, (folder / "log").read_text()
                time.sleep(0.05)


    @staticmethod
    def certificate(folder: Path) -> tuple[Path, Path]:
        """A certificate for localhost that is its own CA, and its key."""
        folder.mkdir(exist_ok=True)
        ca, key = folder / "cert.pem", folder / "key.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=hub",
                        "-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(ca)],
                       check=True, capture_output=True)
        return ca, key


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[SecureHub]:
    hub = SecureHub(tmp_path)
    yield hub
    end(hub.process)


def test_skopeo_signs_in_and_copies(hub: SecureHub, tmp_path: Path) -> None:
    source = layout(tmp_path / "in")
    certs = tmp_path / "certs"
    certs.mkdir()
    (certs / "ca.crt").write_bytes(hub.ca.read_bytes())
    target = f"docker://{hub.host}/alice/app:v1"
    with pytest.raises(AssertionError, match=r"unauthorized|denied"):
        skopeo("copy", f"--dest-cert-dir={certs}", "--dest-no-creds", f"oci:{source}:latest", target)
    skopeo("copy", f"--dest-cert-dir={certs}", f"--dest-creds=alice:{PASSWORD}", "--preserve-digests",
           f"oci:{source}:latest", target)
    skopeo("copy", f"--src-cert-dir={certs}", "--src-no-creds", "--preserve-digests", target,
           f"oci:{tmp_path / 'out'}:latest")
    assert digest_of(tmp_path / "out") == digest_of(source)


def test_our_client_trusts_only_whom_it_is_told_to(hub: SecureHub, tmp_path: Path) -> None:
    patience = Patience(retries=0)
    trusting = ClientConfig({hub.host: RegistrySettings(ca=str(hub.ca))}, patience=patience)
    ping(RegistryClient(hub.host, trusting, Credentials("alice", PASSWORD)))
    with pytest.raises(KistError, match="incorrect username or password"):
        ping(RegistryClient(hub.host, trusting, Credentials("alice", "wrong password")))
    with pytest.raises(NotFound, match="pull access denied"):
        resolve(parse(f"{hub.host}/alice/nothing:v1"), Platform("amd64", "linux"), RegistryClient(hub.host, trusting))
    other = SecureHub.certificate(tmp_path / "other")[0]
    strange = ClientConfig({hub.host: RegistrySettings(ca=str(other))}, patience=patience)
    with pytest.raises(Unavailable, match=r"x509: certificate signed by unknown authority"):
        ping(RegistryClient(hub.host, strange))
    wrong_name = f"127.0.0.1:{hub.port}"
    elsewhere = ClientConfig({wrong_name: RegistrySettings(ca=str(hub.ca))}, patience=patience)
    with pytest.raises(Unavailable, match=r"x509: certificate is not valid for this name"):
        ping(RegistryClient(wrong_name, elsewhere))
    insecure = ClientConfig({wrong_name: RegistrySettings(insecure=True)}, patience=patience)
    ping(RegistryClient(wrong_name, insecure, Credentials("alice", PASSWORD)))


def _presented(hub: SecureHub) -> str:
    return ssl.get_server_certificate(("127.0.0.1", hub.port))


def test_a_renewed_certificate_is_taken_without_a_restart_and_a_broken_one_is_not(hub: SecureHub) -> None:
    old = _presented(hub)
    SecureHub.certificate(hub.folder)
    assert _presented(hub) == old
    hub.process.send_signal(signal.SIGHUP)
    deadline = time.monotonic() + 10
    while _presented(hub) == old:
        assert time.monotonic() < deadline, (hub.folder / "log").read_text()
        time.sleep(0.05)
    fresh = _presented(hub)
    hub.key.write_text("nonsense")
    hub.process.send_signal(signal.SIGHUP)
    while "the old certificate stays" not in (hub.folder / "log").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert _presented(hub) == fresh


def test_missing_certificates_are_told() -> None:
    config = ClientConfig({"r.example": RegistrySettings(ca="/nonexistent")}, patience=Patience(retries=0))
    with pytest.raises((KistError, Unavailable), match="can't load the registry's certificates"):
        ping(RegistryClient("r.example", config))
