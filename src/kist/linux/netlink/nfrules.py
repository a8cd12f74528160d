"""Tables of nftables by netlink, whoever else changes the host's rules meanwhile.

libnftables reads the whole rule set before each command, and begins anew when its generation has changed when it is
through: beside somebody who changes rules all the time it never ends. What is asked and sent here depends on nothing
but the tables that it is about.

Nor need the library's compiler be written once more: it makes its tables in a network namespace where there is nothing
else, and `copied` reads them from there as the messages that make the same elsewhere. A dump's attributes are those of
the request, and some that the kernel adds (handles, counts of uses); PARTS lists which are sent.

Sources: linux/netfilter/nf_tables.h, net/netfilter/nf_tables_api.c (Linux 6.1 and 6.18).
"""

from __future__ import annotations

from collections import namedtuple

from kist.linux.netlink import wire
from kist.linux.netlink.nfnetlink import FAMILIES, NFGENMSG, NFNL_SUBSYS_NFTABLES, Nfnetlink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import NamedTuple

NFT = NFNL_SUBSYS_NFTABLES << 8
NEWTABLE, GETTABLE, DELTABLE, NEWCHAIN, GETCHAIN, NEWRULE, GETRULE = (NFT | number for number in (0, 1, 2, 3, 4, 6, 7))
NEWSET, GETSET, NEWSETELEM, GETSETELEM = (NFT | number for number in (9, 10, 12, 13))
TABLE, NAME = 1, 2  # in messages about what is in a table; a table's own name is attribute 1, too
CHAIN_NAME, CHAIN_HOOK, CHAIN_POLICY, HOOK_NUMBER = 3, 4, 5, 1
SET_ID = 10
NF_DROP = 0
DUMP_INTERRUPTED = 0x10  # NLM_F_DUMP_INTR: the rules were changed meanwhile, some may be missing
DUMPS = 5

if TYPE_CHECKING:

    class Part(NamedTuple):
        """How a kind of object is dumped and made, and the attributes that say what it is."""

        get: int
        new: int
        flags: int
        attributes: tuple[int, ...]

    class Chain(NamedTuple):
        """`hook` is None for one that packets reach by a jump only."""

        family: str
        table: str
        name: str
        hook: int | None
        drops: bool

else:
    Part = namedtuple("Part", "get new flags attributes")
    Chain = namedtuple("Chain", "family table name hook drops")

TABLES = Part(GETTABLE, NEWTABLE, wire.NLM_F_CREATE, (1, 2, 6))  # name, flags, user data
# table, name, hook, policy, type, user data
CHAINS = Part(GETCHAIN, NEWCHAIN, wire.NLM_F_CREATE, (1, 3, 4, 5, 7, 12))
# table, name, flags, key and data type and length, policy, description, timeout, gc interval, user data, object type,
# expressions
SETS = Part(GETSET, NEWSET, wire.NLM_F_CREATE, (1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 15, 17, 18))
ELEMENTS = Part(GETSETELEM, NEWSETELEM, wire.NLM_F_CREATE, (1, 2, 3))  # table, set, elements
# table, chain, expressions, user data
RULES = Part(GETRULE, NEWRULE, wire.NLM_F_CREATE | wire.NLM_F_APPEND, (1, 2, 4, 7))


def has_table(kernel: Nfnetlink, family: str, name: str) -> bool:
    try:
        list(kernel.ask(_request(GETTABLE, 0, FAMILIES[family], wire.text(TABLE, name))))
    except FileNotFoundError:
        return False
    return True


def removal(family: str, name: str) -> list[wire.Request]:
    """Removes a table, there or not: deleting a missing one fails, so it is made first."""
    body, words = wire.text(TABLE, name), f"table {family} {name}"
    return [_request(NEWTABLE, wire.NLM_F_CREATE, FAMILIES[family], body, words),
            _request(DELTABLE, 0, FAMILIES[family], body, words)]


def chains(kernel: Nfnetlink) -> list[Chain]:
    """Every chain of the host. While others keep changing rules, one may be missed."""
    found: dict[Chain, None] = {}
    names = {number: name for name, number in FAMILIES.items()}
    for _ in range(DUMPS):
        interrupted = False
        for answer in kernel.ask(_request(GETCHAIN, wire.NLM_F_DUMP, 0)):
            interrupted = interrupted or bool(answer.flags & DUMP_INTERRUPTED)
            have = wire.attributes(answer.body, NFGENMSG.size)
            hook = wire.attributes(have[CHAIN_HOOK])[HOOK_NUMBER] if CHAIN_HOOK in have else None
            found[Chain(
                names.get(answer.body[0], str(answer.body[0])), _text(have[TABLE]), _text(have[CHAIN_NAME]),
                None if hook is None else int.from_bytes(hook, "big"),
                CHAIN_POLICY in have and int.from_bytes(have[CHAIN_POLICY], "big") == NF_DROP)] = None
        if not interrupted:
            break
    return list(found)


def copied(kernel: Nfnetlink) -> list[wire.Request]:
    """What makes elsewhere the tables that are in this namespace, which nobody else may change meanwhile: tables,
    chains, sets and maps with their elements, rules. (Objects and flow tables are not looked for.)"""
    requests = [*_made_anew(kernel, TABLES), *_made_anew(kernel, CHAINS)]
    sets = list(_made_anew(kernel, SETS))
    for number, one in enumerate(sets, 1):  # within one transaction, each set has a number
        requests.append(one._replace(body=one.body + wire.attribute(SET_ID, number.to_bytes(4, "big"))))
    for one in sets:
        name = wire.attributes(one.body, NFGENMSG.size)
        which = wire.attribute(TABLE, bytes(name[TABLE])) + wire.attribute(NAME, bytes(name[NAME]))
        requests += _made_anew(kernel, ELEMENTS, one.body[0], which)
    return [*requests, *_made_anew(kernel, RULES)]


def _made_anew(kernel: Nfnetlink, part: Part, family: int = 0, which: bytes = b"") -> Iterator[wire.Request]:
    """Dump objects, as the requests that make them."""
    for answer in kernel.ask(_request(part.get, wire.NLM_F_DUMP, family, which)):
        have = wire.attributes(answer.body, NFGENMSG.size)
        body = b"".join(wire.attribute(kind, bytes(have[kind])) for kind in part.attributes if kind in have)
        yield _request(part.new, part.flags, answer.body[0], body, f"table {_text(have[TABLE])}")


def _request(kind: int, flags: int, family: int, body: bytes = b"", words: str = "nftables") -> wire.Request:
    return wire.Request(kind, flags, NFGENMSG.pack(family, 0, 0) + body, words)


def _text(value: memoryview) -> str:
    return bytes(value).rstrip(b"\0").decode("utf-8", "replace")
