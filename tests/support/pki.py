"""Certificates for a test: an authority with a server and a client, and a stranger who signed for himself."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path


def make_pki(folder: Path) -> Path:
    """ca, server, client and stranger (.pem and .key); the server is 127.0.0.1."""
    openssl = shutil.which("openssl")
    assert openssl is not None, "the test needs the openssl command"

    def make(*args: str) -> None:
        subprocess.run([openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                        "-days", "2", *args], cwd=folder, check=True, capture_output=True)

    for name in ("ca", "stranger"):
        make("-keyout", f"{name}.key", "-out", f"{name}.pem", "-subj", f"/CN={name}")
    for name in ("server", "client"):
        make("-keyout", f"{name}.key", "-out", f"{name}.pem", "-subj", f"/CN={name}", "-CA", "ca.pem", "-CAkey",
             "ca.key", "-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE")
    return folder
