"""Which server a program means that names none: the SDK's reader of the environment (docs/decisions/sdk.md).

=====================================  =================================================================
``KIST_HOST``                          the server; TLS files in ``KIST_CERT_PATH``, ``KIST_TLS_VERIFY``
``DOCKER_HOST``                        where that isn't set; ``DOCKER_CERT_PATH``, ``DOCKER_TLS_VERIFY``
``XDG_RUNTIME_DIR``                    where neither is: the server of a user who isn't root, if it runs
=====================================  =================================================================

Else it is ``unix:///run/kist/kist.sock``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from kist.client import DEFAULT_HOST
from kist.client.address import TLS, Address


def address(environment: Mapping[str, str] | None = None) -> Address:
    """The server's address; InvalidParameter when it can't be understood."""
    environment = os.environ if environment is None else environment
    for prefix in ("KIST", "DOCKER"):
        host = environment.get(f"{prefix}_HOST", "")
        if host:
            return Address(host if "://" in host else f"tcp://{host}", _tls(host, environment, prefix))
    personal = f"{environment.get('XDG_RUNTIME_DIR', '')}/kist/kist.sock"
    if os.geteuid() and os.path.exists(personal):
        return Address(f"unix://{personal}")
    return Address(DEFAULT_HOST)


def _tls(host: str, environment: Mapping[str, str], prefix: str) -> TLS | None:
    folder = environment.get(f"{prefix}_CERT_PATH", "")
    verify = bool(environment.get(f"{prefix}_TLS_VERIFY"))
    if host.startswith(("unix:", "ssh:")) or not (folder or verify):
        return None
    folder = folder or f"{environment.get('HOME', '/root')}/.{'config/kist' if prefix == 'KIST' else 'docker'}"
    return TLS(f"{folder}/ca.pem", f"{folder}/cert.pem", f"{folder}/key.pem", verify=verify)
