"""One module per command: its table of options (`COMMAND`), and the story of what it does."""
