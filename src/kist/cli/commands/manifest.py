"""kist manifest inspect: what a registry has under a name, without pulling it."""

from __future__ import annotations

from kist.cli.credentials import for_image
from kist.cli.names import with_tag
from kist.cli.parser import CliError, Command
from kist.cli.session import parsing
from kist.errors import NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from kist.cli.parser import Arguments
    from kist.cli.session import Session


def _inspect(args: Arguments, session: Session) -> int:
    """The document itself; with -v also what the name is for the registry."""
    import json
    from binascii import a2b_base64

    image = args.words[-1]
    try:
        told = session.client.images.manifest(image, auth=for_image(session, image))
    except NotFound:
        raise CliError(f"no such manifest: {with_tag(image)}") from None
    document = json.loads(a2b_base64(told["Raw"]))
    if args.flag("verbose"):
        kind = "SchemaV2Manifest" if "docker" in told["Descriptor"]["mediaType"] else "OCIManifest"
        document = {"Ref": with_tag(image), "Descriptor": told["Descriptor"], "Raw": told["Raw"],
                    "Manifests" if "manifests" in document else kind: document.get("manifests", document)}
    session.out(json.dumps(document, indent="\t", ensure_ascii=False))
    return 0


INSPECT = Command(
    "Show an image's manifest as its registry has it", "[OPTIONS] [MANIFEST_LIST] MANIFEST", parsing(_inspect),
    arity=(1, 2),
    options=(
        ("insecure", "", "", "Understood; which registries may be asked without TLS is the server's configuration"),
        ("verbose", "v", "", "Show the descriptor, too"),
    ),
    requests=("KistManifest",))
