"""The command line. Its start script calls `main`."""

import sys


def main() -> None:
    """Never returns. `kist oci` is called by machines, again and again: it doesn't wait for the client's modules."""
    if sys.argv[1:2] == ["oci"]:
        from kist.cli.runtime import become

        become(sys.argv[2:])
    from kist.cli.__main__ import main

    main()
