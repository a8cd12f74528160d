"""Images in one file, by the engine: what happens to them meanwhile."""

from __future__ import annotations

import asyncio
import io
import os
import tarfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from kist.engine.transfer import Transfer
from kist.errors import NotFound
from kist.store.store import Store
from support.tars import file, put_image, tar

NAME = "docker.io/library/app:v1"


class Events:
    """Somebody removes the image while its `save` is being told of."""

    def __init__(self, store: Store) -> None:
        self.store = store

    async def tell(self, action: str, image: str) -> None:
        self.store.images.delete(cast(Any, image))


@pytest.mark.parametrize("removed", ["before the first byte", "after it"])
def test_an_image_that_goes_while_it_is_saved(tmp_path: Path, removed: str) -> None:
    """Either the request fails, before anything is answered, or the archive is whole."""

    async def save(store: Store) -> bytes:
        events = Events(store)
        early = removed == "before the first byte"
        teller = events if early else SimpleNamespace(tell=lambda *_: asyncio.sleep(0))
        parts = SimpleNamespace(store=store)
        pieces = await Transfer(cast(Any, parts), cast(Any, None), cast(Any, teller)).save([NAME], None)
        assert not early
        await events.tell("delete", image.id)
        store.gc(grace=0)
        return b"".join([piece async for piece in pieces])

    with Store.open(str(tmp_path / "data")) as store:
        layer = tar(*(file(f"f{number}", os.urandom(1 << 20)) for number in range(8)))
        image = put_image(store, NAME, layer)
        if removed == "before the first byte":
            with pytest.raises(NotFound, match="No such image"):
                asyncio.run(save(store))
            return
        with tarfile.open(fileobj=io.BytesIO(asyncio.run(save(store)))) as archive:
            sizes = [member.size for member in archive if member.name.startswith("blobs/")]
        assert max(sizes) > 8 << 20
