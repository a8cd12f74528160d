"""kist info: the server's state and abilities."""

from __future__ import annotations

from kist.cli.commands.inspect import FORMAT
from kist.cli.commands.version import client_version
from kist.cli.output import binary_size
from kist.cli.parser import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from kist.cli.parser import Arguments
    from kist.cli.session import Session

# What is shown: label, field of the answer. Fields that the server leaves out are not shown.
LINES = (
    ("Containers", "Containers"), (" Running", "ContainersRunning"), (" Paused", "ContainersPaused"),
    (" Stopped", "ContainersStopped"), ("Images", "Images"), ("Server Version", "ServerVersion"),
    ("Storage Driver", "Driver"), ("Logging Driver", "LoggingDriver"), ("Cgroup Driver", "CgroupDriver"),
    ("Cgroup Version", "CgroupVersion"), ("Plugins", "Plugins"), ("Swarm", "Swarm"),
    ("Runtimes", "Runtimes"), ("Default Runtime", "DefaultRuntime"),
    ("Init Binary", "InitBinary"), ("Security Options", "SecurityOptions"), ("Kernel Version", "KernelVersion"),
    ("Operating System", "OperatingSystem"), ("OSType", "OSType"), ("Architecture", "Architecture"),
    ("CPUs", "NCPU"), ("Total Memory", "MemTotal"), ("Name", "Name"), ("ID", "ID"),
    ("Docker Root Dir", "DockerRootDir"), ("Debug Mode", "Debug"), ("HTTP Proxy", "HttpProxy"),
    ("HTTPS Proxy", "HttpsProxy"), ("No Proxy", "NoProxy"), ("Labels", "Labels"),
    ("Experimental", "ExperimentalBuild"), ("Insecure Registries", "RegistryConfig"),
    ("Registry Mirrors", "RegistryConfig"), ("Live Restore Enabled", "LiveRestoreEnabled"),
)


def run(args: Arguments, session: Session) -> int:
    form = args.text("format")
    if form:
        from kist.cli.details import details_template, show_details

        template = details_template(form)
        told = {**session.client.system.info(), "ClientInfo": client_info(session)}
        show_details(session, told, template, "system.dockerInfo")
        return 0
    told, client = session.client.system.info(), client_version(session)
    session.out(f"Client: Kist\n Version:    {client['Version']}\n Context:    default\n"
                f" Debug Mode: {str(session.settings.debug).lower()}\n\nServer:")
    for label, field in LINES:
        value = told.get(field)
        if field == "RegistryConfig":
            value = (value or {}).get("Mirrors" if label == "Registry Mirrors" else "InsecureRegistryCIDRs")
        if value not in (None, "", [], {}):
            session.out(f" {label}:{_shown(field, value)}")
        if field == "Driver":
            for name, value in told.get("DriverStatus") or ():
                session.out(f"  {name}: {value}")
    session.out("")
    for warning in told.get("Warnings") or ():
        session.warn(warning)
    return 0


def client_info(session: Session) -> dict[str, Any]:
    return {"Debug": session.settings.debug, **client_version(session), "Plugins": [], "Warnings": None}


def _shown(field: str, value: Any) -> str:
    """What stands behind the colon: a blank and the value, or lines of their own."""
    below = _below(field, value)
    if below is not None:
        return "".join(f"\n  {line}" for line in below)
    if field == "MemTotal":
        return f" {binary_size(value)}"
    if field == "Swarm":
        return f" {value['LocalNodeState']}"
    if isinstance(value, bool):
        return f" {str(value).lower()}"
    return f" {' '.join(value) if isinstance(value, dict) else value}"


def _below(field: str, value: Any) -> list[str] | None:
    """The lines of a field that has some."""
    if field == "Plugins":
        return [f"{kind}: {' '.join(value[kind])}" for kind in ("Volume", "Network", "Log") if value.get(kind)]
    if field == "SecurityOptions":
        options = [dict(pair.partition("=")[::2] for pair in one.split(",")) for one in value]
        return [line for one in options for line in (
            one.pop("name", ""), *(f" {key.capitalize()}: {text}" for key, text in one.items()))]
    return value if isinstance(value, list) else None


COMMAND = Command("Display system-wide information", "[OPTIONS]", run, options=(FORMAT,), requests=("SystemInfo",))
