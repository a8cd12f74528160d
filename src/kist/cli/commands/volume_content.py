"""kist volume export, import, snapshot, restore: whole volumes out, in and back."""

from __future__ import annotations

from kist.cli.files import check_output, read_pieces, write_archive
from kist.cli.parser import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from kist.cli.parser import Arguments
    from kist.cli.session import Session


def _export(args: Arguments, session: Session) -> int:
    check_output(args.text("output"), "failed to export volume")
    write_archive(session.client.volumes.export(args.words[0]).chunks(), args.text("output"))
    return 0


def _import(args: Arguments, session: Session) -> int:
    session.client.volumes.import_(args.words[0], read_pieces(args.words[1] if len(args.words) > 1 else "-"))
    session.out(args.words[0])
    return 0


def _snapshot(args: Arguments, session: Session) -> int:
    name = args.words[1] if len(args.words) > 1 else ""
    made = session.client.volumes.snapshot(args.words[0], name, pause=args.flag("pause"))
    _say_how(args, session, made)
    session.out(made["Name"])
    return 0


def _restore(args: Arguments, session: Session) -> int:
    _say_how(args, session, session.client.volumes.restore(args.words[0], args.words[1]))
    session.out(args.words[0])
    return 0


def _say_how(args: Arguments, session: Session, made: dict[str, Any]) -> None:
    """A copy takes time and room; who expected neither is told why."""
    if made.get("Copied") and not args.flag("quiet"):
        files = "1 file" if made["Copied"] == 1 else f"{made['Copied']} files"
        session.warn(f"Copied {files}: the file system can't share their blocks (reflinks)")


QUIET = ("quiet", "q", "", "Don't say when files had to be copied")
EXPORT = Command("Export a volume's content as a tar archive", "[OPTIONS] VOLUME", _export, arity=(1, 1),
                 options=(("output", "o", "string", "Write to this file, not to STDOUT"),),
                 requests=("KistVolumeExport",))
IMPORT = Command("Import a tar archive into a volume, over what it holds", "VOLUME [FILE|-]", _import, arity=(1, 2),
                 requests=("KistVolumeImport",))
SNAPSHOT = Command("Make a new volume with what a volume holds now", "[OPTIONS] VOLUME [NAME]", _snapshot,
                   arity=(1, 2), options=(
                       ("pause", "p", "", "Pause the containers that use it meanwhile", True), QUIET),
                   requests=("KistVolumeSnapshot",))
RESTORE = Command("Put the content of another volume in place of a volume's own", "[OPTIONS] VOLUME SNAPSHOT",
                  _restore, arity=(2, 2), options=(QUIET,), requests=("KistVolumeRestore",))
