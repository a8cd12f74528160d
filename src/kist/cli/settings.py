"""The one place of the command line that reads the environment (the SDK has `client/environment.py`).

=====================  ==========================================================================
``KIST_HOST``          the server: ``unix:///…``, ``tcp://…``, ``ssh://…`` (option ``-H`` wins)
``KIST_RUN``           the server's run directory, where its socket is (``kist.sock``)
``KIST_DATA``          the server's data directory (its log lies there when the client starts it)
``KIST_CONFIG``        the configuration file (``--config``); default /etc/kist/config.toml
``KIST_API_VERSION``   ask for this API version
``KIST_TLS_VERIFY``    any text: TLS, the server's certificate checked; files in ``KIST_CERT_PATH``
``KIST_AUTH_FILE``     where `login` keeps credentials; default ~/.config/kist/auth.json
``KIST_DETACH_KEYS``   the key sequence that leaves a container; default ctrl-p,ctrl-q
``KIST_SSH_COMMAND``   what to run over there for ``ssh://``; default ``kist system dial-stdio``
``NO_COLOR, COLUMNS``  as everywhere
=====================  ==========================================================================
"""

from __future__ import annotations

import os

from kist.version import API_VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from kist.client.address import TLS, Address

CONFIG_FILE = "/etc/kist/config.toml"


class Settings:
    """What the environment and the global options say."""

    def __init__(self, environment: Mapping[str, str], uid: int) -> None:
        self._environment = environment
        self.uid = uid
        self.host = environment.get("KIST_HOST", "")
        self.config = environment.get("KIST_CONFIG", "")
        self.data = environment.get("KIST_DATA", "")
        self.api_version = environment.get("KIST_API_VERSION", API_VERSION)
        self.detach_keys = environment.get("KIST_DETACH_KEYS", "")
        self.no_color = bool(environment.get("NO_COLOR"))
        self.debug = False

    @classmethod
    def from_process(cls) -> Settings:
        return cls(os.environ, os.geteuid())

    def variable(self, name: str) -> str | None:
        """A variable that the user asks to pass on (`-e NAME`, `${NAME}`)."""
        return self._environment.get(name)

    def dropped(self, name: str) -> str | None:
        """A variable that the shell by which this command starts can't name, and so hands on to nobody (dash): all that
        the shell got are in `kist_environ` (src/bin/kist). Raises KeyError where that isn't there."""
        from binascii import a2b_base64

        entries = a2b_base64(self._environment["kist_environ"].encode()).split(b"\0")
        start = os.fsencode(name) + b"="
        return next((os.fsdecode(entry[len(start):]) for entry in entries if entry.startswith(start)), None)

    @property
    def home(self) -> str:
        return self._environment.get("HOME") or "/root"

    @property
    def auth_file(self) -> str:
        folder = self._environment.get("XDG_CONFIG_HOME") or f"{self.home}/.config"
        return self._environment.get("KIST_AUTH_FILE") or f"{folder}/kist/auth.json"

    @property
    def docker_auth_file(self) -> str:
        """Credentials that the user already has."""
        return (self._environment.get("DOCKER_CONFIG") or f"{self.home}/.docker") + "/config.json"

    def docker_has(self, key: bytes) -> bool:
        """Whether a word stands in that file: whether it is worth parsing it for that."""
        try:
            with open(self.docker_auth_file, "rb") as file:
                return key in file.read()
        except OSError:
            return False

    @property
    def columns(self) -> int:
        """The width to wrap text at."""
        text = self._environment.get("COLUMNS", "")
        if text.isdigit() and int(text) > 0:
            return int(text)
        try:
            return os.get_terminal_size(1).columns or 80
        except OSError:
            return 80

    @property
    def run(self) -> str:
        """The run directory of the server that this user means."""
        named = self._environment.get("KIST_RUN") or self._configured("run")
        if named:
            return named
        personal = self._environment.get("XDG_RUNTIME_DIR", "")
        if self.uid and personal and os.path.exists(f"{personal}/kist/kist.sock"):
            return f"{personal}/kist"
        return "/run/kist"

    @property
    def may_start_server(self) -> bool:
        """Nobody named a server, so it is ours to start."""
        return not self.host

    def address(self) -> Address:
        """The server's address."""
        from kist.client.address import Address

        host = self.host or f"unix://{self._configured('socket') or self.run + '/kist.sock'}"
        return Address(host, self._tls(host), self._environment.get("KIST_SSH_COMMAND") or "kist system dial-stdio")

    def _tls(self, host: str) -> TLS | None:
        folder = self._environment.get("KIST_CERT_PATH", "")
        if host.startswith("unix:") or not (folder or self._environment.get("KIST_TLS_VERIFY")):
            return None
        from kist.client.address import TLS

        folder = folder or f"{self.home}/.config/kist"
        return TLS(f"{folder}/ca.pem", f"{folder}/cert.pem", f"{folder}/key.pem",
                   verify=bool(self._environment.get("KIST_TLS_VERIFY")))

    def _configured(self, name: str) -> str:
        """A place from the configuration file; the TOML parser (6 ms) only runs when the file has it."""
        try:
            with open(self.config or CONFIG_FILE, "rb") as file:
                text = file.read()
        except OSError:
            return ""
        if name.encode() not in text:
            return ""
        import tomllib

        try:
            return str(tomllib.loads(text.decode()).get(name, ""))
        except ValueError:
            return ""
