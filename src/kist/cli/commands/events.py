"""kist events: what happens, as it happens."""

from __future__ import annotations

from kist.cli.listing import FILTER, FORMAT, filters
from kist.cli.parser import CliError, Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from kist.cli.parser import Arguments
    from kist.cli.session import Session



def run(args: Arguments, session: Session) -> int:
    from kist.cli.times import timestamp

    shown = _shower(args.text("format"))
    try:
        since = timestamp(args.text("since")) if args.text("since") else ""
        until = timestamp(args.text("until")) if args.text("until") else ""
    except ValueError as error:
        raise CliError(str(error)) from None
    for event in session.client.system.events(since=since, until=until, filters=filters(args)):
        session.out(shown(event))
        session.flush()
    return 0


def _shower(form: str) -> Callable[[dict[str, Any]], str]:
    """How an event is shown."""
    if not form:
        return plain
    from kist.cli.gotemplate.errors import TemplateError
    from kist.cli.gotemplate.execute import Template
    from kist.cli.gotemplate.values import Value

    try:
        template = Template("{{json .}}" if form == "json" else form)
        template.render(Value("*events.Message", {}))  # what can't be shown of any event is told at once
    except TemplateError as error:
        raise CliError(f"Error parsing format: {error}", 64) from None

    def by_template(event: dict[str, Any]) -> str:
        try:
            return template.render(Value("*events.Message", event))
        except TemplateError as error:
            raise CliError(f"Error parsing format: {error}", 64) from None

    return by_template


def plain(event: dict[str, Any]) -> str:
    """`2026-11-23T15:04:05.123456789+01:00 container start ID (image=busybox, name=x)`"""
    import time

    nano = int(event.get("timeNano") or event.get("time", 0) * 1_000_000_000)
    moment = time.localtime(nano // 1_000_000_000)
    zone = time.strftime("%z", moment)
    zone = "Z" if zone == "+0000" else f"{zone[:3]}:{zone[3:]}"
    stamp = f"{time.strftime('%Y-%m-%dT%H:%M:%S', moment)}.{nano % 1_000_000_000:09d}{zone}"
    actor = event.get("Actor") or {}
    attributes = actor.get("Attributes") or {}
    text = f"{stamp} {event.get('Type')} {event.get('Action')} {actor.get('ID')}"
    if attributes:
        text += " (" + ", ".join(f"{key}={attributes[key]}" for key in sorted(attributes)) + ")"
    return text


COMMAND = Command("Get real time events from the server", "[OPTIONS]", run, options=(
    FILTER, FORMAT,
    ("since", "", "string", "Begin with this time"),
    ("until", "", "string", "End at this time"),
), requests=("SystemEvents",))
