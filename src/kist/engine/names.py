"""Container ids and names: new ones at random, and looking one up by name, id or unique prefix."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping

from kist.errors import InvalidParameter, NotFound

_HEX = re.compile(r"[0-9a-f]{1,64}")

_ADJECTIVES = """
    able airy amber apt arctic autumn azure balmy blithe bold brave breezy bright brisk calm candid
    careful cheery civil classy clear clever cosy crisp curious dapper daring deft dewy earnest easy
    elated fair fearless fine fleet fluent fond frank frosty gentle gifted glad golden handy hardy
    hearty honest humble ideal jolly jovial keen kind lively loyal lucid lucky merry mild modest neat
    nimble noble orderly patient placid plucky polite proud quick quiet ready robust rosy serene sharp
    silver sleek snug sober spry stable steady sturdy sunny swift tender tidy tranquil upbeat valiant
    vivid warm wise witty zesty
"""
_SURNAMES = """
    abel agnesi alhazen anning babbage backus banneker barzilai bernoulli boole borg brahmagupta brin
    cantor carver cerf chandra clarke curie darwin diffie dijkstra easley eckert edison elion engelbart
    euclid euler faraday fermat feynman franklin galileo galois gauss germain goodall hamilton hawking
    hellman hertz hilbert hodgkin hopper hypatia jackson johnson joliot keller kepler khayyam khorana
    kilby knuth lamarr lamport leibniz liskov lovelace lumiere maxwell mccarthy mcclintock meitner
    mendel mirzakhani moore morse nash newton nobel noether northcutt pascal pasteur payne perlman
    poincare ramanujan ride ritchie rubin sammet shannon shaw sinoussi tesla thompson torvalds turing
    varahamihira volhard wescoff wiles wing wozniak wright yalow yonath
"""
ADJECTIVES = tuple(_ADJECTIVES.split())
SURNAMES = tuple(_SURNAMES.split())


def new_id() -> str:
    """64 hex digits. Docker's own rule: the first 12 are never all decimal, so that a short id that is used
    as a host name is never taken for a number."""
    while True:
        made = secrets.token_hex(32)
        if not made[:12].isdecimal():
            return made


def random_name(taken: Callable[[str], bool]) -> str:
    """``adjective_surname``, with a digit when ten tries met only taken names."""
    for attempt in range(1000):
        name = f"{secrets.choice(ADJECTIVES)}_{secrets.choice(SURNAMES)}"
        if attempt >= 10:
            name += str(secrets.randbelow(10 ** min(attempt // 10, 9)))
        if not taken(name):
            return name
    raise AssertionError("a thousand random names were all taken")


def resolve_id(ref: str, ids: Mapping[str, object], id_by_name: Mapping[str, str]) -> str:
    """The id that `ref` means, in Docker's order: full id, then name, then unique id prefix."""
    if ref in ids:
        return ref
    by_name = id_by_name.get(ref.removeprefix("/"))
    if by_name is not None:
        return by_name
    found = [known for known in ids if known.startswith(ref)] if _HEX.fullmatch(ref) else []
    if len(found) > 1:
        raise InvalidParameter(f"multiple IDs found with provided prefix: {ref}")
    if not found:
        raise NotFound(f"No such container: {ref}")
    return found[0]
