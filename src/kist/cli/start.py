"""What the script `kist` starts: an interpreter without site directories, `python -S -P start.py WORD…`.

Tiny, because it is compiled each time; all else is in sites.py.
"""

import sys


def main() -> None:
    """Never returns."""
    sys.path.append(__file__.removesuffix("/kist/cli/start.py"))
    from kist.cli.sites import main

    main()


if __name__ == "__main__":
    main()
