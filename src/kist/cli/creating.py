"""Making a container, the part that `run` and `create` share: cidfile, pull when needed, warnings."""

from __future__ import annotations

import os

from kist.cli.container_body import container_body, problem, refusal
from kist.cli.names import with_tag
from kist.cli.parser import CliError
from kist.cli.session import no_server, parsed
from kist.client.client import NoServer
from kist.errors import KistError, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from kist.cli.parser import Arguments
    from kist.cli.session import Session

PULL = ("always", "missing", "never")
# How the server says that the image, or the image for that platform, isn't here (a network may be missing, too).
NO_IMAGE = ("no such image", "image with reference")
# Docker's client tells why a container could not start by words of the server's message.
STATUSES = (("executable file not found", 127), ("no such file or directory", 127), ("permission denied", 126),
            ("is a directory", 126))


def create(args: Arguments, session: Session, body: dict[str, Any] | None = None) -> str:
    """Make the container that the arguments describe; returns its id."""
    body = container_body(args, session.settings) if body is None else body
    _check(args)
    config = b""
    if args.flag("use-api-socket"):
        from kist.cli.api_socket import prepare

        config = prepare(body, args, session.settings)
    try:
        if args.words[0].startswith(("/", "./", "../")):  # a path: no image's name begins so
            from kist.cli.archived import load

            body["Image"] = load(session, args.words[0])
        elif args.text("pull") == "always":
            _pull(args, session)
        made = _create(args, session, body)
        if config:
            from kist.cli.api_socket import hand_over

            hand_over(session, str(made["Id"]), config)
    except KistError as error:
        raise failure(args, session, error) from None
    except CliError as error:  # no server, and none can be started; or no image to be had
        error.status = error.status if _only_creates(args) else 125
        raise
    for warning in made.get("Warnings") or ():
        session.warn(f"WARNING: {warning}")
    container = str(made["Id"])
    if args.text("cidfile"):
        _write_cidfile(args, container)
    return container


def _write_cidfile(args: Arguments, container: str) -> None:
    path = args.text("cidfile")
    try:
        with open(path, "x", encoding="ascii") as file:
            file.write(container)
    except OSError as error:
        raise _by_words(refusal(args, f"failed to create the container ID file: open {path}: "
                                      f"{(error.strerror or str(error)).lower()}"), args) from None


def _only_creates(args: Arguments) -> bool:
    return args.path.endswith(" create")


def _check(args: Arguments) -> None:
    if args.text("pull") not in PULL:
        raise problem(args, f"invalid pull option: '{args.text('pull')}': must be one of \"always\", "
                            '"missing" or "never"')
    cidfile = args.text("cidfile")
    if cidfile and os.path.lexists(cidfile):
        raise refusal(args, f"container ID file found, make sure the other container isn't running or delete {cidfile}")
    if args.text("platform"):
        _platform(args)


def _platform(args: Arguments) -> None:
    from kist.cli.platforms import normal

    try:
        args.values["platform"] = normal(args.text("platform"))
    except ValueError as error:
        raise refusal(args, f"error parsing specified platform: {error}") from None


def _create(args: Arguments, session: Session, body: dict[str, Any]) -> dict[str, Any]:
    """Create; when the image is missing, get it and create again."""
    containers = session.client.containers
    try:
        return containers.create(body, name=args.text("name"), platform=args.text("platform"))
    except NotFound as error:
        if args.text("pull") != "missing" or not error.message.lower().startswith(NO_IMAGE):
            raise
    if not args.flag("quiet"):
        session.warn(f"Unable to find image '{with_tag(args.words[0])}' locally")
    _pull(args, session)
    return containers.create(body, name=args.text("name"), platform=args.text("platform"))


def _pull(args: Arguments, session: Session) -> None:
    from kist.cli.pulling import pull

    pull(session, args.words[0], platform=args.text("platform"), quiet=args.flag("quiet"), to_stderr=True)


def failure(args: Arguments, session: Session, error: KistError) -> CliError:
    """An error as `run` and `create` tell it; the status is 126, 127 or 125 by its words, as Docker's."""
    text = no_server(session.settings, error) if isinstance(error, NoServer) else parsed(error)
    if _only_creates(args):
        return CliError(text)
    return _by_words(problem(args, text), args)


def _by_words(error: CliError, args: Arguments) -> CliError:
    if not _only_creates(args):
        error.status = next((status for words, status in STATUSES if words in str(error)), 125)
    return error
