"""kist manifest inspect: what a registry has under a name, without pulling it."""

from __future__ import annotations

from kist.cli.credentials import for_image
from kist.cli.names import full_name, with_tag
from kist.cli.parser import CliError, Command
from kist.cli.session import parsing
from kist.errors import NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from kist.cli.parser import Arguments
    from kist.cli.session import Session

    JSON = dict[str, Any]


def _inspect(args: Arguments, session: Session) -> int:
    """The document itself; with -v also what the name is for the registry."""
    import json
    from binascii import a2b_base64

    image = args.words[-1]
    if shown := _local(args, session):
        session.out(shown)
        return 0
    try:
        told = session.client.images.manifest(image, auth=for_image(session, image))
    except NotFound:
        raise CliError(f"no such manifest: {with_tag(image)}") from None
    document = json.loads(a2b_base64(told["Raw"]))
    if args.flag("verbose"):
        document = _verbose({**told, "Ref": image}, document)
    session.out(json.dumps(document, indent="\t", ensure_ascii=False))
    return 0


def _local(args: Arguments, session: Session) -> str:
    """What a list has that was made here, or one of its manifests; "" where the registry is to be asked."""
    import json
    from binascii import a2b_base64

    from kist.cli.commands.manifest_list import index, load

    manifests = load(session.settings, args.words[0])
    if manifests is None:
        if len(args.words) > 1:
            raise CliError(f"No such manifest: {full_name(with_tag(args.words[0]))}")
        return ""
    if len(args.words) == 1 and not args.flag("verbose"):
        return index(manifests)[0]
    documents = [_verbose(one, json.loads(a2b_base64(one["Raw"]))) if args.flag("verbose")
                 else json.loads(a2b_base64(one["Raw"]))
                 for one in manifests if len(args.words) == 1 or one["Ref"] == with_tag(args.words[1])]
    if not documents:
        raise CliError(f"No such manifest: {full_name(with_tag(args.words[1]))}")
    return json.dumps(documents if len(args.words) == 1 else documents[0], indent="\t", ensure_ascii=False)


def _verbose(told: JSON, document: JSON) -> JSON:
    kind = "SchemaV2Manifest" if "docker" in told["Descriptor"]["mediaType"] else "OCIManifest"
    return {"Ref": with_tag(told["Ref"]), "Descriptor": told["Descriptor"], "Raw": told["Raw"],
            "Manifests" if "manifests" in document else kind: document.get("manifests", document)}


INSPECT = Command(
    "Show an image's manifest as its registry has it", "[OPTIONS] [MANIFEST_LIST] MANIFEST", parsing(_inspect),
    arity=(1, 2),
    options=(
        ("insecure", "", "", "Understood; which registries may be asked without TLS is the server's configuration"),
        ("verbose", "v", "", "Show the descriptor, too"),
    ),
    requests=("KistManifest",))
