"""``kist oci`` and ``kist-runtime``: the runtime as a command that Podman, containerd and CRI-O can call.

Options, exit statuses and log lines are runc's. How the interpreter is started, and sealed: start.py.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from kist.runtime.cli.log import Log
    from kist.runtime.cli.options import Option, Parsed
    from kist.runtime.errors import RuntimeFailure
    from kist.runtime.start import Bundle

VERBS = ("checkpoint", "create", "delete", "events", "exec", "explain", "features", "kill", "list", "pause", "ps",
         "restore", "resume", "run", "spec", "start", "state", "update")

def main(argv: list[str] | None = None, bundle: Bundle | None = None) -> None:
    """Never returns."""
    words = sys.argv[1:] if argv is None else argv
    if bundle is None:
        bundle = _begin(words)
    script = words[1] if words[:1] == ["--script"] and len(words) > 1 else ""
    status = _main(words[2:] if script else words)
    if bundle.stale:
        from kist.runtime.bundle import make

        make()
    if script:  # src/bin/kist-runtime found no sealer of its own, or one that is no longer true
        from kist.runtime.sealer import leave

        leave(script)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # tearing the interpreter down would take as long as making a container


def _begin(words: list[str]) -> Bundle:
    """Called by a start script or as one."""
    packages = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    if packages not in sys.path:
        sys.path.append(packages)
    from kist.runtime.start import begin

    return begin(words)


def _main(words: list[str]) -> int:
    from kist.runtime.cli.log import Log
    from kist.runtime.cli.options import Usage, parse

    log = Log("", "text")
    try:
        options = parse(_table(), words)
        options.environment = dict(os.environ)
        if options.string("log-format") not in ("", "text", "json"):
            raise Usage(f"invalid log-format: {options.string('log-format')}")
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

    from kist.runtime.cli.options import HelpWanted
    from kist.runtime.errors import RuntimeFailure, error_name

    module = __import__(f"kist.runtime.cli.{verb}", fromlist=["main"])
    try:
        return int(module.main(options, arguments, log))
    except HelpWanted as wanted:
        return _help(module.__doc__ or "", wanted.table)
    except RuntimeFailure as error:
        log.error(f"{getattr(module, 'FAILED', '')}{error}{_in_words(error)}")
    except OSError as error:
        name = error_name(error.errno or errno.EIO)
        log.error(f"{verb}: {error.filename or ''}: {name}: {error.strerror}")
    return int(getattr(module, "STATUS", 1))


def _in_words(error: RuntimeFailure) -> str:
    """What Podman looks for: "no such file or directory" makes its status 127, "permission denied" 126."""
    import errno

    from kist.runtime.errors import error_name

    if error.errno == errno.EISDIR:  # what execve(2) gives for a directory is EACCES
        return ": permission denied"
    return f": {os.strerror(error.errno).lower()}" if str(error).endswith(error_name(error.errno)) else ""


def _version() -> int:
    from kist.version import VERSION

    print(f"kist-runtime version {VERSION}\nspec: 1.2.0")
    return 0


def _usage() -> int:
    print("Usage: kist oci [--root DIR] [--log FILE] [--log-format text|json] [--systemd-cgroup] COMMAND …\n\n"
          "An OCI runtime (runtime-spec 1.2) with runc's commands and options:\n  " + "\n  ".join(VERBS) +
          "\n\n'kist oci COMMAND --help' shows a command's options.")
    return 0


def _help(about: str, table: dict[str, Option]) -> int:
    """Of one command: its module's first line has usage and summary, as ``usage``: summary."""
    usage, _, summary = about.partition("\n")[0].removeprefix("``").partition("``: ")
    print(f"Usage: kist oci {usage}\n\n{summary[:1].upper()}{summary[1:]}")
    if table:
        print("\nOptions:")
    for name, option in sorted(table.items()):
        value = "" if option.kind == "flag" else f" {option.kind.upper()}"
        print(f"  --{name}{f', -{option.short}' if option.short else ''}{value}")
    return 0


if __name__ == "__main__":
    main()
