"""nftables by libnftables: rules go in as text.

Text, because the rules that are read in the code, in `docs/networking.md` and in `nft list ruleset` are then the same
words. One call of `run` is one transaction: all of it takes effect, or nothing.
The library is loaded when the first `Nftables` is made. Most commands make it read all rules of the namespace into its
cache, and begin anew when somebody changes one meanwhile: with a hundred tables a call costs 10 ms and up to 100 MiB,
beside somebody who never stops it never ends. So use it where nothing else is, and carry its tables over
(`netlink/nfrules.py`).

The library waits for the kernel by select(2), which knows descriptors below 1024 only, and glibc ends the whole process
for one above: a server with five hundred containers has more than that open. So places below are kept for it.

Source: libnftables(3), nft(8) (nftables 1.0.6).
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import socket

LIBRARY = "libnftables.so.1"
MISSING = f"{LIBRARY} is not installed: install the package libnftables1 (Debian, Ubuntu) or nftables (Fedora, Arch)"


class NftablesError(OSError):
    """nftables refused the commands; the text has its words and the place."""


class Nftables:
    """A context of libnftables. It belongs to the network namespace of the thread that made it.

    Synchronous; one user at a time. Raises FileNotFoundError where the library is missing."""

    __slots__ = ("_context", "_library")

    def __init__(self) -> None:
        self._library = _load()
        self._context: int | None = _new_context(self._library)
        self._library.nft_ctx_buffer_output(self._context)
        self._library.nft_ctx_buffer_error(self._context)

    def close(self) -> None:
        if self._context:
            self._library.nft_ctx_free(self._context)
            self._context = None
            _keep_places()

    def __enter__(self) -> Nftables:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self, commands: str) -> None:
        """Carry out nft(8) commands in one transaction."""
        self._run(commands)

    def check(self, commands: str) -> None:
        """Raise what `run` would raise, and change nothing."""
        self._library.nft_ctx_set_dry_run(self._context, 1)
        try:
            self._run(commands)
        finally:
            self._library.nft_ctx_set_dry_run(self._context, 0)

    def _run(self, commands: str) -> None:
        if self._library.nft_run_cmd_from_buffer(self._context, commands.encode()):
            said: bytes = self._library.nft_ctx_get_error_buffer(self._context)
            raise NftablesError(_first_error(said.decode("utf-8", "replace")))


FD_SETSIZE, PLACES, ATTEMPTS = 1024, 8, 50
NETLINK_NETFILTER, SO_DOMAIN, SO_PROTOCOL = 12, 39, 38
_places: list[int] = []  # low descriptors that are kept for the library's socket


def _keep_places() -> None:
    """Fill the kept places up again, as far as there are low descriptors."""
    while len(_places) < PLACES:
        if not _places:
            made = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        else:
            made = fcntl.fcntl(_places[0], fcntl.F_DUPFD_CLOEXEC, 3)
        if made >= FD_SETSIZE:
            os.close(made)
            return
        _places.append(made)


def _new_context(library: ctypes.CDLL) -> int:
    """A context whose socket is a low descriptor: the lowest that is free, or else a kept one that is given up for it.
    When another thread was faster to take that, once more."""
    _keep_places()
    for _ in range(ATTEMPTS):
        low = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        os.close(low)
        if low >= FD_SETSIZE:
            if not _places:
                break
            low = _places.pop()
            os.close(low)
        context: int | None = library.nft_ctx_new(0)
        if not context:
            raise NftablesError("libnftables: no context (is the netfilter netlink socket there?)")
        if _is_netfilter_socket(low):
            return context
        library.nft_ctx_free(context)
    raise OSError(errno.EMFILE, "no descriptor below 1024 is free for libnftables")


def _is_netfilter_socket(descriptor: int) -> bool:
    try:
        one = socket.socket(fileno=os.dup(descriptor))
    except OSError:
        return False
    with one:
        return (one.getsockopt(socket.SOL_SOCKET, SO_DOMAIN), one.getsockopt(socket.SOL_SOCKET, SO_PROTOCOL)) == (
            socket.AF_NETLINK, NETLINK_NETFILTER)


def _first_error(text: str) -> str:
    """`Error: No such file or directory; list table inet x`: the sentence and the line that it is about."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        return "nftables: failed without a word"
    about = lines[1] if len(lines) > 1 else ""
    return f"nftables: {lines[0]}" + (f" in: {about[:160]}" if about and set(about) - {"^", "~"} else "")


def trim_memory() -> None:
    """Give the system back what a closed context has freed. Not everywhere: musl has no such call, and needs none."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


_loaded: list[ctypes.CDLL] = []


def _load() -> ctypes.CDLL:
    if not _loaded:
        try:
            library = ctypes.CDLL(LIBRARY)
        except OSError:
            raise FileNotFoundError(2, MISSING) from None
        pointer, number, words = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p
        signatures = {
            "nft_ctx_new": (pointer, ctypes.c_uint32), "nft_ctx_free": (None, pointer),
            "nft_ctx_buffer_output": (number, pointer), "nft_ctx_buffer_error": (number, pointer),
            "nft_ctx_get_error_buffer": (words, pointer),
            "nft_ctx_set_dry_run": (None, pointer, ctypes.c_bool),
            "nft_run_cmd_from_buffer": (number, pointer, words),
        }
        for name, (result, *arguments) in signatures.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
        _loaded.append(library)
    return _loaded[0]
