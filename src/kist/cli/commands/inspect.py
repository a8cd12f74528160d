"""kist inspect: everything about containers, images, networks and volumes, as JSON or by a template."""

from __future__ import annotations

from kist.cli.parser import CliError, Command
from kist.cli.session import said
from kist.client import wirejson
from kist.client.client import NoServer
from kist.errors import KistError, NotFound, NotSupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from kist.cli.gotemplate.execute import Template
    from kist.cli.parser import Arguments, Option
    from kist.cli.session import Session

KINDS = ("container", "image", "network", "volume")
# What Go calls them (gotemplate/structs.py).
TYPES = {"container": "container.InspectResponse", "image": "image.InspectResponse", "network": "network.Inspect",
         "volume": "volume.Volume"}


def _find(session: Session, args: Arguments, kind: str, name: str) -> Any:
    client = session.client
    if kind == "container":
        return client.containers.inspect(name, size="size" in args.values and args.flag("size"))
    if kind == "image":
        platform = args.text("platform") if args.given("platform") else ""
        return wirejson.loads(client.images.inspect_raw(name, platform=platform))
    if kind == "network":
        return client.networks.inspect(name, verbose=args.given("verbose"))
    return client.volumes.inspect(name)


def _any(session: Session, args: Arguments, name: str) -> tuple[str, Any]:
    """The first object of that name, whatever its kind: the kind, and all that is known."""
    for kind in KINDS:
        try:
            return kind, _find(session, args, kind, name)
        except (NotFound, NotSupported):
            continue
    raise CliError(f"Error: No such object: {name}")


def _inspector(kind: str) -> Callable[[Arguments, Session], int]:
    def run(args: Arguments, session: Session) -> int:
        wanted = kind or args.text("type")
        if wanted and wanted not in KINDS:
            raise CliError(f'unknown type: "{wanted}": must be one of "container", "image", "network", "volume"')
        form = args.text("format")
        template = _template(form) if form not in ("", "json") else None
        found: list[tuple[str, Any]] = []
        problems = []
        for name in args.words:
            try:
                found.append((wanted, _find(session, args, wanted, name)) if wanted else _any(session, args, name))
            except NoServer:
                raise
            except KistError as error:
                problems.append(said(error))
            except CliError as error:
                problems.append(str(error))
        if template is None:
            _print(session, [one for _, one in found], form)
        else:
            problems += _render(session, found, template)
        if problems:
            raise CliError("\n".join(problems))
        return 0

    return run


def _print(session: Session, found: list[Any], form: str) -> None:
    import json

    text = json.dumps(found, ensure_ascii=False, **({"separators": (",", ":")} if form else {"indent": 4}))
    session.out(text)


def _template(form: str) -> Template:
    from kist.cli.details import details_template

    return details_template(form)


def _render(session: Session, found: list[tuple[str, Any]], template: Template) -> list[str]:
    """A line for each; what went wrong. A template that doesn't fit the typed object is tried on its JSON."""
    from kist.cli.gotemplate.errors import TemplateError
    from kist.cli.gotemplate.values import ANY, Value

    lines, problems = [], []
    for kind, one in found:
        try:
            lines.append(template.render(Value(TYPES[kind], one)))
        except TemplateError:
            try:
                lines.append(template.render(Value(ANY, one), strict=True))
            except TemplateError as error:
                problems.append(f"template parsing error: {error}")
    session.out("\n".join(lines))
    return problems


FORMAT: Option = ("format", "f", "string", "Show it by a template: 'json', or a Go template")
SIZE: Option = ("size", "s", "", "Show how much room a container takes")

COMMAND = Command(
    "Return low-level information on Kist's objects", "[OPTIONS] NAME|ID [NAME|ID...]", _inspector(""),
    arity=(1, None), options=(FORMAT, SIZE, ("type", "", "string", "Look only for objects of this type")),
    requests=("ContainerInspect", "ImageInspect"))
CONTAINER = Command(
    "Display detailed information on one or more containers", "[OPTIONS] CONTAINER [CONTAINER...]",
    _inspector("container"), arity=(1, None), options=(FORMAT, SIZE), requests=("ContainerInspect",))
IMAGE = Command(
    "Display detailed information on one or more images", "[OPTIONS] IMAGE [IMAGE...]", _inspector("image"),
    arity=(1, None), options=(FORMAT, ("platform", "", "string", "Inspect this variant of the image (os/arch)")),
    requests=("ImageInspect",))
NETWORK = Command(
    "Display detailed information on one or more networks", "[OPTIONS] NETWORK [NETWORK...]", _inspector("network"),
    arity=(1, None), options=(FORMAT, ("verbose", "v", "", "Show what helps to find faults")),
    requests=("NetworkInspect",))
VOLUME = Command(
    "Display detailed information on one or more volumes", "[OPTIONS] VOLUME [VOLUME...]", _inspector("volume"),
    arity=(1, None), options=(FORMAT,), requests=("VolumeInspect",))
