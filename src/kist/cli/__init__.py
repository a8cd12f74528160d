"""The command line. The script `kist` (src/bin/kist) starts it by start.py; `python -m kist.cli` is the same."""


def main() -> None:
    """Never returns."""
    from kist.cli.__main__ import main

    main()
