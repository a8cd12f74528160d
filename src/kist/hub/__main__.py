"""`python -m kist.hub`: runs a Hub until SIGTERM or SIGINT.

`python -m kist.hub admin …` looks after its data, `python -m kist.hub library …` builds images into it.
"""

from __future__ import annotations

import argparse
import logging
import logging.handlers
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from kist.errors import KistError
from kist.hub import admin
from kist.hub.app import make_app, open_hub
from kist.hub.config import HubConfig, load, split_listen
from kist.hub.server import bind_unix, make_server
from kist.registry.settings import is_loopback
from kist.version import VERSION


def _library(words: list[str]) -> int:
    from kist.hub.library.__main__ import main as library  # a builder that a running Hub has no use for

    return library(words)


PROGRAMS: dict[str, Callable[[list[str]], int]] = {"admin": admin.main, "library": _library}


def main(arguments: Sequence[str] | None = None) -> int:
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words and words[0] in PROGRAMS:
        return PROGRAMS[words[0]](words[1:])
    options = parser().parse_args(words)
    try:
        config = load(options.config, data=options.data, listen=options.listen, uds=options.uds,
                      access_log=options.access_log, max_blob=options.max_blob, accounts=options.accounts,
                      certificate=options.certificate, key=options.key, engine=options.engine)
        _logs(config)
        host, port = split_listen(config.listen)
        app = make_app(open_hub(config))
        sockets = [bind_unix(config.uds)] if config.uds else None
    except (KistError, OSError, RuntimeError) as error:
        print(f"kist hub: {error}", file=sys.stderr)
        return 125
    if not config.accounts and not config.uds and not is_loopback(config.listen):
        logging.getLogger("kist.hub").warning("%s is not loopback, and without accounts anybody may push", host)
    server = make_server(app, host=host, port=port, certificate=config.certificate, key=config.key,
                         proxies=config.proxies)
    server.run(sockets)
    return 0 if server.started else 1


def parser() -> argparse.ArgumentParser:
    command = argparse.ArgumentParser(prog="kist hub", description="A registry for images (OCI distribution 1.1).",
                                      epilog="See also: kist hub admin --help, kist hub library --help.")
    command.add_argument("--config", metavar="FILE", help="TOML file with the settings below, and more")
    command.add_argument("--data", metavar="DIR", type=Path, help="blobs and metadata (default /var/lib/kist/hub)")
    command.add_argument("--listen", metavar="HOST:PORT", help="default 127.0.0.1:5555")
    command.add_argument("--uds", metavar="PATH", help="listen on a unix socket instead")
    command.add_argument("--access-log", metavar="FILE", help='"-" is standard error (default), "" none')
    command.add_argument("--accounts", action="store_true", default=None, help="users, tokens and permissions")
    command.add_argument("--certificate", metavar="FILE", help="PEM file: serve over TLS")
    command.add_argument("--key", metavar="FILE", help="PEM file of the certificate's key")
    command.add_argument("--engine", metavar="PATH", help="socket of a local engine, whose networks a page shows")
    command.add_argument("--max-blob", metavar="BYTES", type=int, help="refuse larger blobs")
    command.add_argument("--version", action="version", version=f"Kist Hub {VERSION}")
    return command


def _logs(config: HubConfig) -> None:
    """Messages go to standard error, access lines to where the configuration says."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(name)s: %(message)s")
    for noisy in ("uvicorn.error", "uvicorn.asgi", "urllib3"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    access = logging.getLogger("kist.hub.access")
    access.propagate = False
    access.setLevel(logging.INFO if config.access_log else logging.CRITICAL)
    if config.access_log:
        handler = (logging.StreamHandler(sys.stderr) if config.access_log == "-"
                   else logging.handlers.WatchedFileHandler(config.access_log))
        handler.setFormatter(logging.Formatter("%(message)s"))
        access.addHandler(handler)


if __name__ == "__main__":
    sys.exit(main())
