"""Every word that names a command: word → where it is in `commands/` (`module`, or `module:NAME`).

Nothing is imported before it is asked for. What the server does not do yet stands in `NOT_YET`: such a word
is understood, but not offered by `--help` (a test holds it against the server's route table).
"""

from __future__ import annotations

# One word commands, in the groups of `kist --help`.
COMMON = {
    "run": "run", "exec": "exec", "ps": "ps", "pull": "pull", "push": "push", "images": "images",
    "login": "login", "logout": "logout", "search": "search", "version": "version", "info": "info",
}
PROGRAMS = {"server": "programs:SERVER", "hub": "programs:HUB", "oci": "programs:OCI", "ui": "ui"}
OTHERS = {
    "attach": "attach", "commit": "commit", "cp": "cp", "create": "create", "diff": "diff", "events": "events",
    "explain": "explain", "export": "export", "history": "history", "import": "import_", "inspect": "inspect",
    "kill": "kill", "load": "load", "logs": "logs", "pause": "pause", "port": "port", "rename": "rename",
    "restart": "restart",
    "rm": "rm", "rmi": "rmi", "save": "save", "start": "start", "stats": "stats", "stop": "stop", "tag": "tag",
    "top": "top", "unpause": "unpause", "update": "update", "wait": "wait",
}
MODULES = {**COMMON, **PROGRAMS, **OTHERS}

NOUNS: dict[str, tuple[str, dict[str, str]]] = {
    "container": ("Manage containers", {
        "attach": "attach", "commit": "commit", "cp": "cp", "create": "create", "diff": "diff", "exec": "exec",
        "export": "export", "inspect": "inspect:CONTAINER", "kill": "kill", "logs": "logs", "ls": "ps",
        "pause": "pause", "port": "port", "prune": "prune:CONTAINER", "rename": "rename",
    "restart": "restart",
        "rm": "rm", "run": "run", "start": "start", "stats": "stats", "stop": "stop", "top": "top",
        "unpause": "unpause", "update": "update", "wait": "wait"}),
    "image": ("Manage images", {
        "history": "history", "import": "import_", "inspect": "inspect:IMAGE", "load": "load", "ls": "images",
        "prune": "prune:IMAGE", "pull": "pull", "push": "push", "rm": "rmi", "save": "save", "tag": "tag",
        "tree": "tree"}),
    "manifest": ("Manage image manifests and lists of them", {
        "annotate": "manifest_list:ANNOTATE", "create": "manifest_list:CREATE", "inspect": "manifest:INSPECT",
        "push": "manifest_list:PUSH", "rm": "manifest_list:RM"}),
    "network": ("Manage networks", {
        "connect": "network:CONNECT", "create": "network:CREATE", "disconnect": "network:DISCONNECT",
        "inspect": "inspect:NETWORK", "ls": "network:LS", "map": "network_map", "prune": "prune:NETWORK",
        "rm": "network:RM"}),
    "volume": ("Manage volumes", {
        "create": "volume:CREATE", "export": "volume_content:EXPORT", "import": "volume_content:IMPORT",
        "inspect": "inspect:VOLUME", "ls": "volume:LS", "prune": "prune:VOLUME", "restore": "volume_content:RESTORE",
        "rm": "volume:RM", "snapshot": "volume_content:SNAPSHOT"}),
    "system": ("Manage Kist", {
        "check": "check", "df": "df", "dial-stdio": "dial_stdio", "events": "events", "info": "info",
        "prune": "prune:SYSTEM"}),
}

# Other words for the verbs of a noun; understood, not listed.
ALSO = {
    ("container", "list"): "ls", ("container", "ps"): "ls", ("container", "remove"): "rm",
    ("image", "list"): "ls", ("image", "remove"): "rm",
    ("network", "list"): "ls", ("network", "remove"): "rm",
    ("volume", "list"): "ls", ("volume", "remove"): "rm",
}

# Paths of commands whose requests the server refuses so far.
NOT_YET: frozenset[str] = frozenset()
UNLISTED = frozenset(("system dial-stdio",))
