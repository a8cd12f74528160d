"""``kist oci`` and ``kist-runtime``: the runtime as a command that Podman, containerd and CRI-O can call.

Options, exit statuses and log lines are runc's. The commands that put a process into a container run their
interpreter sealed (linux/sealed.py): those start it anew once.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from kist.runtime.cli.log import Log
    from kist.runtime.cli.options import Option, Parsed

VERBS = ("checkpoint", "create", "delete", "events", "exec", "explain", "features", "kill", "list", "pause", "ps",
         "restore", "resume", "run", "spec", "start", "state", "update")
_ENTER_CONTAINERS = frozenset(("create", "exec", "run"))
_PACKAGE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def main(argv: list[str] | None = None) -> None:
    """Never returns."""
    words = sys.argv[1:] if argv is None else argv
    if sys.path[0] != _PACKAGE and _PACKAGE not in sys.path:
        sys.path.insert(0, _PACKAGE)
    status = _main(words)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # tearing the interpreter down would take as long as making a container


def _main(words: list[str]) -> int:
    if not _ENTER_CONTAINERS.isdisjoint(words):
        _seal(words)  # first: what is imported before is imported twice
    from kist.runtime.cli.log import Log
    from kist.runtime.cli.options import Usage, parse

    log = Log("", "text")
    try:
        options = parse(_table(), words)
        options.environment = dict(os.environ)
        log = Log(options.string("log"), options.string("log-format") or "text")
        if options.flag("version"):
            return _version()
        if options.flag("help") or not options.rest or options.rest[0] == "help":
            return _usage()
        verb, arguments = options.rest[0], options.rest[1:]
        if verb not in VERBS:
            raise Usage(f"no such command: {verb}")
        return _call(verb, options, arguments, log)
    except Usage as error:
        log.error(str(error))
        return 1


def _table() -> dict[str, Option]:
    from kist.runtime.cli.options import FLAG, STRING, Option

    return {"root": Option("", STRING), "log": Option("", STRING), "log-format": Option("", STRING),
            "log-level": Option("", STRING), "debug": Option("", FLAG), "systemd-cgroup": Option("", FLAG),
            "cgroup-manager": Option("", STRING), "rootless": Option("", STRING), "criu": Option("", STRING),
            "version": Option("v", FLAG), "help": Option("h", FLAG)}


def _call(verb: str, options: Parsed, arguments: list[str], log: Log) -> int:
    import errno

    from kist.runtime.errors import RuntimeFailure, error_name

    module = __import__(f"kist.runtime.cli.{verb}", fromlist=["main"])
    try:
        return int(module.main(options, arguments, log))
    except RuntimeFailure as error:
        log.error(f"{getattr(module, 'FAILED', '')}{error}")
    except OSError as error:
        name = error_name(error.errno or errno.EIO)
        log.error(f"{verb}: {error.filename or ''}: {name}: {error.strerror}")
    return int(getattr(module, "STATUS", 1))


def _seal(words: list[str]) -> None:
    """Only root can; without privilege the interpreter could not be overwritten from a container either."""
    from kist.linux.sealed import is_sealed, reexec

    if os.geteuid() != 0 or is_sealed():
        return
    script = os.path.abspath(__file__)
    reexec(sys.executable, ["-I", "-S", script, *words], dict(os.environ))


def _version() -> int:
    from kist.version import VERSION

    print(f"kist-runtime version {VERSION}\nspec: 1.2.0")
    return 0


def _usage() -> int:
    print("Usage: kist oci [--root DIR] [--log FILE] [--log-format text|json] [--systemd-cgroup] COMMAND …\n\n"
          "An OCI runtime (runtime-spec 1.2) with runc's commands and options:\n  " + "\n  ".join(VERBS))
    return 0


if __name__ == "__main__":
    main()
