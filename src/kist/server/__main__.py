"""``kistd``: the server's process. Containers outlive it: they are the monitors', not the server's."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence

from kist.errors import InvalidParameter, KistError
from kist.server import listen, logs
from kist.version import VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from kist.engine.config import Config


def main(argv: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    logs.set_up(options.log_level or ("debug" if options.debug else "info"))
    try:
        return _run(options)
    except KistError as exc:
        print(f"kistd: {exc.message}", file=sys.stderr)
        return 1
    except OSError as exc:
        print(f"kistd: {exc}", file=sys.stderr)
        return 1


def _run(options: argparse.Namespace) -> int:
    """Check, lock, serve: in this order, so that a second server touches nothing."""
    from kist.engine.config import Config

    if os.geteuid() != 0:
        raise InvalidParameter("the server must run as root (try sudo kistd)")
    env = os.environ
    config = Config.load(options.config or env.get("KIST_CONFIG") or None,
                         data=options.data or env.get("KIST_DATA") or None,
                         run=options.run or env.get("KIST_RUN") or None,
                         socket=options.socket).with_environment(env)
    if config.debug and not options.log_level:
        logs.set_up("debug")
    hosts = options.host or ([] if options.socket else _own_host(env.get("KIST_HOST", "")))
    addresses = _addresses(hosts, config.socket)
    os.umask(0o022)  # whoever starts us: users in containers read /etc/hosts, those of the machine write nothing
    lock = listen.lock_run_dir(config.run)
    try:
        if options.uninstall:
            return _uninstall(config, force=options.force)
        from kist.server.ready import Ready
        from kist.server.serve import serve

        # Taken out: it is this process's, not the launcher's or a resolver's.
        ready = Ready(options.ready_fd, env.pop("NOTIFY_SOCKET", ""))
        return asyncio.run(serve(config, addresses, _tls(options), ready))
    finally:
        os.close(lock)


def _uninstall(config: Config, *, force: bool) -> int:
    from kist.engine.uninstall import uninstall

    if not force:
        print(f"This removes all containers, images and volumes in {config.data}, and what the server has made of "
              "networks, packet filter and control groups.\nAre you sure you want to continue? [y/N] ",
              end="", flush=True)
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            return 1
    for path in asyncio.run(uninstall(config)):
        print(f"kept, as it is not the server's: {path}")
    return 0


def _own_host(host: str) -> list[str]:
    """``KIST_HOST`` says where clients look. A unix socket there is ours; elsewhere it is another machine's."""
    return [host] if host.startswith("unix://") else []


def _addresses(hosts: list[str], socket: str) -> list[listen.Address]:
    return [listen.Address.parse(host) for host in hosts] or [listen.Address(path=socket)]


def _tls(options: argparse.Namespace) -> listen.Tls | None:
    files = options.tlscacert, options.tlscert, options.tlskey
    if not options.tlsverify:
        if any(files):
            raise InvalidParameter("--tlscacert, --tlscert and --tlskey need --tlsverify")
        return None
    if not all(files):
        raise InvalidParameter("--tlsverify needs --tlscacert, --tlscert and --tlskey")
    return listen.Tls(*files)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="kistd", description="The Kist server (Docker Engine API).",
                                     allow_abbrev=False)
    add = parser.add_argument
    add("--config", metavar="FILE", help="configuration file (default /etc/kist/config.toml)")
    add("--data", metavar="DIR", help="where images and containers are kept (default /var/lib/kist)")
    add("--run", metavar="DIR", help="where sockets and run state are (default /run/kist)")
    add("--socket", metavar="PATH", help="the API's unix socket (default RUN/kist.sock)")
    add("-H", "--host", metavar="ADDRESS", action="append", default=[],
        help="listen on unix:///path or tcp://host:port in place of --socket (default: KIST_HOST, if it is a "
             "unix socket); may be given more than once")
    add("--tlsverify", action="store_true", help="serve TCP with TLS to clients that show a certificate")
    add("--tlscacert", metavar="FILE", help="the authority that signed the clients' certificates")
    add("--tlscert", metavar="FILE", help="the server's certificate")
    add("--tlskey", metavar="FILE", help="the server's key")
    add("-D", "--debug", action="store_true", help="the same as --log-level debug")
    add("--log-level", choices=sorted(logs.LEVELS), help="default info")
    add("--ready-fd", metavar="N", type=int, help="write one byte to this descriptor once listening")
    add("--uninstall", action="store_true",
        help="remove all that servers with this configuration have left on the machine, data included, and end")
    add("-f", "--force", action="store_true", help="with --uninstall: don't ask")
    add("--version", action="version", version=f"Kist version {VERSION}")
    return parser


if __name__ == "__main__":
    sys.exit(main())
