"""kist logs: what a container wrote."""

from __future__ import annotations

from kist.api.frames import STDERR, FrameDecoder
from kist.cli.attach import write_all
from kist.cli.parser import CliError, Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from kist.cli.parser import Arguments
    from kist.cli.session import Session
    from kist.client.transport import Response


def run(args: Arguments, session: Session) -> int:
    container = args.words[0]
    answer = session.client.containers.logs(
        container, follow=args.flag("follow"), timestamps=args.flag("timestamps"), details=args.flag("details"),
        tail=args.text("tail"), since=_moment(args, "since"), until=_moment(args, "until"))
    decoder = None if _is_raw(answer, session, container) else FrameDecoder()
    for chunk in answer.chunks():
        if decoder is None:
            write_all(1, chunk)
            continue
        for stream, piece in decoder.feed(chunk):
            write_all(2 if stream >= STDERR else 1, piece)
    return 0


def _moment(args: Arguments, option: str) -> str:
    if not args.text(option):
        return ""
    from kist.cli.times import timestamp

    try:
        return timestamp(args.text(option))
    except ValueError as error:
        raise CliError(f'invalid value for "{option}": {error}') from None


def _is_raw(answer: Response, session: Session, container: str) -> bool:
    """Whether the container has a terminal: its output is not in frames. API 1.42 and later say so."""
    kind = answer.headers.get("content-type", "")
    since_142 = tuple(map(int, session.client.version.split("."))) >= (1, 42)
    if kind.startswith("application/vnd.docker.") and since_142:
        return kind.endswith("raw-stream")
    return bool(session.client.containers.inspect(container)["Config"].get("Tty"))


COMMAND = Command(
    "Fetch the logs of a container", "[OPTIONS] CONTAINER", run, arity=(1, 1),
    options=(
        ("details", "", "", "Show the labels and variables that the log driver keeps"),
        ("follow", "f", "", "Go on as it writes"),
        ("since", "", "string", "Show what is newer (2013-01-02T13:23:37Z, or 42m for 42 minutes)"),
        ("tail", "n", "string", "How many lines from the end", "all"),
        ("timestamps", "t", "", "Show when each line was written"),
        ("until", "", "string", "Show what is older (2013-01-02T13:23:37Z, or 42m for 42 minutes)"),
    ),
    requests=("ContainerLogs",))
