"""Chain ids: the name of a stack of layers (image-spec 1.1, config.md#layer-chainid).

    chain([L0])         = L0
    chain([L0 … Ln])    = sha256(chain([L0 … Ln-1]) + " " + Ln)

Equal chain ids mean equal root file systems; a diff id alone says nothing of what lies beneath.
"""

from __future__ import annotations

from collections.abc import Iterable

from kist.oci.digest import Digest, of


def extend(parent: Digest | None, diff_id: Digest) -> Digest:
    """The chain id of layer *diff_id* on top of *parent* (None: it is the lowest)."""
    return diff_id if parent is None else of(f"{parent} {diff_id}".encode())


def chain_ids(diff_ids: Iterable[Digest]) -> list[Digest]:
    """The chain id of each layer, lowest first."""
    chain: list[Digest] = []
    for diff_id in diff_ids:
        chain.append(extend(chain[-1] if chain else None, diff_id))
    return chain


def chain_id(diff_ids: Iterable[Digest]) -> Digest | None:
    """The chain id of the whole stack; None for an image without layers."""
    chain = chain_ids(diff_ids)
    return chain[-1] if chain else None
