"""kist version: versions of the client and of the server."""

from __future__ import annotations

from kist.cli.commands.inspect import FORMAT
from kist.cli.parser import CliError, Command
from kist.cli.session import no_server, said
from kist.client.client import NoServer
from kist.errors import KistError
from kist.version import API_VERSION, VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from kist.cli.parser import Arguments
    from kist.cli.session import Session


def run(args: Arguments, session: Session) -> int:
    form = args.text("format")
    if form:
        from kist.cli.details import details_template, show_details

        template = details_template(form, "version")
    told: dict[str, Any] = {"Client": client_version(session), "Server": None}
    problem = ""
    try:
        told["Server"] = session.client.system.version()
        told["Client"]["ApiVersion"] = session.client.version
    except NoServer as error:
        problem = no_server(session.settings, error)
    except KistError as error:
        problem = said(error)
    if form:
        try:
            show_details(session, told, template, "system.versionInfo")
        except CliError as error:
            problem = problem or str(error)
    else:
        session.write(_text(told))
    if problem:
        session.warn(problem)
    return 1 if problem else 0


def client_version(session: Session) -> dict[str, Any]:
    import os
    import sys

    from kist.cli.platforms import SAME

    system = os.uname()
    return {"Platform": {"Name": "Kist"}, "Version": VERSION, "ApiVersion": API_VERSION,
            "DefaultAPIVersion": API_VERSION, "PythonVersion": ".".join(map(str, sys.version_info[:3])),
            "Os": system.sysname.lower(), "Arch": SAME.get(system.machine, system.machine), "Context": "default"}


def _text(told: dict[str, Any]) -> str:
    client, server = told["Client"], told["Server"]
    lines = ["Client: Kist"]
    lines += _lines([("Version", client["Version"]), ("API version", client["ApiVersion"]),
                     ("Python version", client["PythonVersion"]), ("OS/Arch", f"{client['Os']}/{client['Arch']}")], 1)
    if server:
        lines += ["", f"Server: {(server.get('Platform') or {}).get('Name') or 'Kist'}", " Engine:"]
        lines += _lines([
            ("Version", server.get("Version", "")),
            ("API version", f"{server.get('ApiVersion')} (minimum version {server.get('MinAPIVersion')})"),
            ("OS/Arch", f"{server.get('Os')}/{server.get('Arch')}"),
            ("Kernel", server.get("KernelVersion", ""))], 2)
        for part in server.get("Components") or ():
            if part.get("Name") != "Engine":
                lines += [f" {part['Name']}:", *_lines([("Version", part.get("Version", ""))], 2)]
    return "\n".join(lines) + "\n"


def _lines(pairs: list[tuple[str, str]], indent: int) -> list[str]:
    return [f"{' ' * indent}{name + ':':<{20 - indent}}{value}" for name, value in pairs]


COMMAND = Command("Show Kist's version information", "[OPTIONS]", run, options=(FORMAT,),
                  requests=("SystemVersion",))
