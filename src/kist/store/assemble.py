"""Get all layers of an image, several at a time, and stack them up in order."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack

from kist.oci import chainid
from kist.oci.digest import Digest
from kist.oci.image import ImageConfig, InvalidImage
from kist.oci.manifest import Descriptor, Manifest
from kist.store import ingest
from kist.store.layers import Staged
from kist.store.store import Store

#: Gives the bytes of a blob from an offset on; `ingest.CannotResume` if it can't.
Source = Callable[[Descriptor, int], Iterable[bytes]]
#: Told of each layer's progress: ``exists``; or ``fetched`` (and unpacked), then ``complete`` (in its place).
Report = Callable[[str, Descriptor], None]


def assemble(store: Store, manifest: Manifest, config: ImageConfig, source: Source, *, workers: int = 3,
             limit_bytes: int | None = None, report: Report = lambda _event, _blob: None) -> Digest | None:
    """Fetch and unpack what is missing of an image's layers; the chain id of all of them.

    *limit_bytes* bounds each layer's tar. If one layer fails, none that needs it is published, its error is
    raised, and what has come of the blobs stays for the next try. Hold a `Store.lease` around this.
    """
    blobs, diff_ids = manifest.layers, config.diff_ids
    if len(blobs) != len(diff_ids):
        raise InvalidImage(f"invalid image: {len(blobs)} layers in the manifest, {len(diff_ids)} in the config")
    chains = chainid.chain_ids(diff_ids)
    stop = threading.Event()

    def fetch(number: int) -> _Layer:
        blob, chain = blobs[number], chains[number]
        stoppable = _stoppable(source, blob, stop)
        with ExitStack() as stack:
            # Two pulls of one layer share the work: the second waits here until the first has published it.
            stack.enter_context(store.layers.making(chain))
            if store.layers.has(chain):
                if not store.content.has(blob.digest):
                    ingest.fetch(store.content, blob, stoppable)
                report("exists", blob)
                return None
            staged = stack.enter_context(ingest.fetch_layer(store.content, store.layers, blob, diff_ids[number],
                                                            stoppable, limit_bytes=limit_bytes))
            report("fetched", blob)
            return staged, stack.pop_all()

    with ThreadPoolExecutor(workers, thread_name_prefix="kist-layer") as pool:
        futures = [pool.submit(fetch, number) for number in range(len(blobs))]
        try:
            _publish(store, futures, [None, *chains[:-1]], lambda number: report("complete", blobs[number]))
        except BaseException:
            stop.set()
            raise
        finally:
            _abandon(futures)
    return chains[-1] if chains else None


_Layer = tuple[Staged, ExitStack] | None


class _Stopped(Exception):
    """Another layer of the image failed."""


def _stoppable(source: Source, blob: Descriptor, stop: threading.Event) -> ingest.Fetch:
    def fetch(offset: int) -> Iterable[bytes]:
        if stop.is_set():
            raise _Stopped
        for piece in source(blob, offset):
            if stop.is_set():
                raise _Stopped
            yield piece

    return fetch


def _publish(store: Store, futures: list[Future[_Layer]], parents: list[Digest | None],
             done: Callable[[int], None]) -> None:
    for number, future in enumerate(futures):
        found = future.result()
        if found is not None:
            staged, stack = found
            with stack:
                store.layers.publish(staged, parents[number])
            done(number)


def _abandon(futures: list[Future[_Layer]]) -> None:
    """Throw away what is staged but wasn't published (nothing, if all went well)."""
    for future in futures:
        future.cancel()
    for future in futures:
        if not future.cancelled() and future.exception() is None:
            found = future.result()
            if found is not None:
                found[1].close()
