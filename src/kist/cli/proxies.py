"""The proxies that a user's containers are to use, from Docker's `config.json`: variables of `run` and `create`.

    {"proxies": {"default" | "unix:///run/kist/kist.sock": {"httpProxy": …, "httpsProxy": …, "noProxy": …, …}}}

Each is set in capitals and in small letters, but for what `-e` says itself (cli/config/configfile, ParseProxyConfig).
"""

from __future__ import annotations

from kist.cli.parser import CliError
from kist.client import wirejson

TYPE_CHECKING = False
if TYPE_CHECKING:
    from kist.cli.settings import Settings

FIELDS = {"httpProxy": "HTTP_PROXY", "httpsProxy": "HTTPS_PROXY", "noProxy": "NO_PROXY", "ftpProxy": "FTP_PROXY",
          "allProxy": "ALL_PROXY"}


def variables(settings: Settings, given: list[str]) -> list[str]:
    """`NAME=value` for each that the file has and *given* (the words of `-e`) doesn't name. CliError (status 125) for a
    file that makes no sense."""
    path = settings.docker_auth_file
    try:
        with open(path, "rb") as file:
            known = wirejson.loads(file.read()).get("proxies") or {}
        own = known.get(settings.address().text) or known.get("default") or {}
        found = {name: own[field] for field, name in FIELDS.items() if own.get(field)}
        if not all(isinstance(value, str) and "\0" not in value for value in found.values()):
            raise TypeError
    except (OSError, ValueError, TypeError, AttributeError):
        raise CliError(f'kist: {path}: "proxies" is not what Docker\'s client keeps there', 125) from None
    taken = {word.partition("=")[0] for word in given}
    return [f"{spelled}={value}" for name, value in found.items() for spelled in (name, name.lower())
            if spelled not in taken]
