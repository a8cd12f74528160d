"""One suite for every implementation of the metadata and of the accounts' storage."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from kist.hub.account_storage import TokenRecord
from kist.hub.database import Database
from kist.hub.memory_metadata import MemoryMetadata
from kist.hub.metadata import Metadata, StoredManifest
from kist.hub.sqlite_metadata import SqliteMetadata
from kist.oci import digest as digests
from kist.oci.digest import Digest

BLOB, OTHER, M1, M2, M3 = (digests.of(text) for text in (b"blob", b"other", b"m1", b"m2", b"m3"))


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["sqlite", "memory"])
def metadata(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[Metadata]:
    made: Metadata = (SqliteMetadata(Database(tmp_path / "hub.db"), clock) if request.param == "sqlite"
                      else MemoryMetadata(clock))
    yield made
    made.close()


def stored(digest: Digest, *, subject: Digest | None = None, kind: str | None = None,
           pushed: float = 1000.0) -> StoredManifest:
    return StoredManifest(digest, "application/x", kind, subject, {"a": "ü"}, b"bytes", pushed)


def put(metadata: Metadata, name: str, digest: Digest, *children: Digest, **more: object) -> int:
    number = metadata.ensure_repository(name)
    metadata.put_manifest(number, stored(digest, **more), children)  # type: ignore[arg-type]
    return number


# --- transactions --------------------------------------------------------------------------------------------


def test_a_transaction_that_fails_leaves_nothing_and_one_inside_joins_it(metadata: Metadata) -> None:
    def fail() -> None:
        with metadata.transaction():
            put(metadata, "app", M1, BLOB)
            metadata.add_blob(BLOB, 4)
            with metadata.transaction():
                metadata.begin_upload("u", "app")
                metadata.accounts.add_user("alice", "x", admin=False, now=1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert metadata.repository("app") is None
    assert metadata.blob_size(BLOB) is None
    assert metadata.upload_repository("u") is None
    assert metadata.accounts.user("alice") is None
    assert set(metadata.totals().values()) == {0}


def test_writers_of_several_threads_wait_for_each_other(metadata: Metadata) -> None:
    number = metadata.ensure_repository("app")

    def count() -> None:
        for _ in range(20):
            with metadata.transaction():
                have = metadata.total_pulls("app")
                metadata.add_pulls({("app", "2026-01-01"): 1})
                assert metadata.total_pulls("app") == have + 1
    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert number and metadata.total_pulls("app") == 80


# --- repositories ----------------------------------------------------------------------------------------------


def test_a_repository_is_made_once_and_described(metadata: Metadata) -> None:
    assert metadata.repository("app") is None
    number = metadata.ensure_repository("app", private=True, upstream="up")
    assert metadata.ensure_repository("app") == number
    metadata.describe("app", summary="one", immutable=True)
    metadata.describe("app", description="two")
    metadata.describe("absent", summary="nothing happens")
    found = metadata.repository("app")
    assert found is not None
    assert (found.id, found.private, found.immutable, found.summary, found.description, found.upstream,
            found.created) == (number, True, True, "one", "two", "up", 1000.0)
    metadata.describe("app", private=False, summary="")
    found = metadata.repository("app")
    assert found is not None and not found.private and found.summary == "" and found.immutable


def test_lists_hold_repositories_with_manifests_in_pages(metadata: Metadata) -> None:
    for name in ("c", "a/b", "a", "b"):
        put(metadata, name, M1)
    metadata.ensure_repository("empty")
    assert metadata.repositories(10) == ["a", "a/b", "b", "c"]
    assert metadata.repositories(2, "a") == ["a/b", "b"]
    assert metadata.has_manifests("a") and not metadata.has_manifests("empty")


def test_a_deleted_repository_takes_all_along(metadata: Metadata) -> None:
    number = put(metadata, "app", M1, BLOB)
    metadata.tag(number, "v1", M1)
    metadata.add_blob(BLOB, 4)
    metadata.link(number, BLOB)
    metadata.add_pulls({("app", "2026-01-01"): 3, ("absent", "2026-01-01"): 1})
    assert metadata.delete_repository("app") and not metadata.delete_repository("app")
    assert metadata.manifest("app", M1) is None and metadata.tags("app", 9) == []
    assert metadata.linked_size("app", BLOB) is None and metadata.blob_size(BLOB) == 4
    metadata.ensure_repository("app")
    assert metadata.total_pulls("app") == 0


def test_search_finds_all_words_anywhere(metadata: Metadata) -> None:
    for name, summary, description in (
            ("redis", "In-Memory store", ""), ("web", "server", "uses REDIS"), ("x", "", "")):
        put(metadata, name, M1)
        metadata.describe(name, summary=summary, description=description)
    metadata.tag(put(metadata, "redis", M2), "v1", M2)
    metadata.add_pulls({("redis", "2026-01-01"): 2, ("redis", "2026-01-02"): 3})
    assert [one.name for one in metadata.search(["redis"], 9)] == ["redis", "web"]
    (found,) = metadata.search(["memory", "redis"], 9)
    assert (found.pulls, found.tags) == (5, 1)
    assert len(metadata.search([], 2)) == 2
    assert metadata.search(["%"], 9) == [] and metadata.search(["' or 1 --"], 9) == []


def test_caches_are_listed_least_recently_pulled_first(metadata: Metadata, clock: Clock) -> None:
    for name, day in (("up/b", "2026-02-01"), ("up/a", "2026-01-01"), ("up/never", "")):
        number = metadata.ensure_repository(name, upstream="up")
        digest = digests.of(name.encode())
        metadata.add_blob(digest, 100)
        metadata.link(number, digest)
        if day:
            metadata.add_pulls({(name, day): 1})
    metadata.ensure_repository("own")
    assert metadata.cached() == [("up/never", 100), ("up/a", 100), ("up/b", 100)]


# --- blobs -----------------------------------------------------------------------------------------------------


def test_a_blob_belongs_to_the_repositories_that_link_it(metadata: Metadata) -> None:
    one, two = metadata.ensure_repository("one"), metadata.ensure_repository("two")
    metadata.add_blob(BLOB, 4)
    metadata.link(one, BLOB)
    assert metadata.linked_size("one", BLOB) == 4 and metadata.linked_size("two", BLOB) is None
    metadata.link(two, BLOB)
    assert metadata.unlink("one", BLOB) and not metadata.unlink("one", BLOB)
    assert metadata.linked_size("one", BLOB) is None and metadata.linked_size("two", BLOB) == 4


def test_a_blob_is_open_in_a_public_repository_and_in_caches_of_the_same_upstream(metadata: Metadata) -> None:
    for name, private, upstream in (("alice/secret", True, None), ("up.example/app", False, "up.example")):
        with metadata.transaction():
            metadata.add_blob(BLOB, 4)
            metadata.link(metadata.ensure_repository(name, private=private, upstream=upstream), BLOB)
        assert metadata.is_open(BLOB, "up.example/") is (name == "up.example/app")
        assert not metadata.is_open(BLOB, "other.example/"), "another upstream's cache has readers of its own"
    metadata.describe("alice/secret", private=False)
    assert metadata.is_open(BLOB, "other.example/")
    assert metadata.holders(BLOB, 10) == ["alice/secret", "up.example/app"]
    assert metadata.holders(BLOB, 1) == ["alice/secret"]
    metadata.unlink("alice/secret", BLOB)
    assert not metadata.is_open(BLOB, "other.example/")


def test_a_lease_is_renewed_when_it_matters(metadata: Metadata, clock: Clock) -> None:
    metadata.add_blob(BLOB, 4)
    metadata.link(metadata.ensure_repository("app"), BLOB)
    clock.now += 100
    metadata.renew("app", BLOB, 200)
    assert metadata.drop_links(1001) == 1, "not renewed: it was fresh enough"
    metadata.link(metadata.ensure_repository("app"), BLOB)
    clock.now += 300
    metadata.renew("app", BLOB, 200)
    metadata.renew("absent", BLOB, 200)
    assert metadata.drop_links(clock.now) == 0


def test_a_listing_goes_with_its_blob(metadata: Metadata) -> None:
    metadata.keep_listing(BLOB, b"no blob, no listing")
    assert metadata.listing(BLOB) is None
    metadata.add_blob(BLOB, 4)
    metadata.keep_listing(BLOB, b"packed")
    metadata.keep_listing(BLOB, b"the first stays")
    assert metadata.listing(BLOB) == b"packed"
    metadata.forget_blob(BLOB)
    assert metadata.listing(BLOB) is None and not metadata.knows_blob(BLOB)


# --- manifests and tags ----------------------------------------------------------------------------------------


def test_a_manifest_is_kept_as_it_came(metadata: Metadata, clock: Clock) -> None:
    clock.now = 2000.0
    number = put(metadata, "app", M1, BLOB, M2, kind="k", subject=M3)
    found = metadata.manifest("app", M1)
    assert found == stored(M1, kind="k", subject=M3)
    metadata.put_manifest(number, stored(M1, pushed=5.0), [BLOB])
    assert metadata.manifest("app", M1) == found, "what is there stays"
    assert metadata.manifest("other", M1) is None and metadata.manifest("app", M2) is None
    assert metadata.parents("app", BLOB) == metadata.parents("app", M2) == [M1]
    repository = metadata.repository("app")
    assert repository is not None and repository.updated == 2000.0


def test_tags_move_and_go_with_their_manifest(metadata: Metadata, clock: Clock) -> None:
    number = put(metadata, "app", M1)
    put(metadata, "app", M2)
    for name in ("b", "a", "B"):
        metadata.tag(number, name, M1)
    clock.now += 5
    metadata.tag(number, "a", M2)
    assert [tag.name for tag in metadata.tags("app", 9)] == ["B", "a", "b"]
    assert [tag.name for tag in metadata.tags("app", 1, "B")] == ["a"]
    assert metadata.tag_updated("app", "a") == 1005.0 and metadata.tag_updated("app", "x") is None
    moved = metadata.manifest_of_tag("app", "a")
    assert moved is not None and moved.digest == M2
    assert metadata.untag("app", "B") and not metadata.untag("app", "B")
    assert metadata.delete_manifest("app", M1) and not metadata.delete_manifest("app", M1)
    assert [tag.name for tag in metadata.tags("app", 9)] == ["a"]
    assert metadata.parents("app", BLOB) == []


def test_referrers_in_the_order_in_which_they_came(metadata: Metadata) -> None:
    put(metadata, "app", M2, subject=M1, kind="x", pushed=20.0)
    put(metadata, "app", M3, subject=M1, kind="y", pushed=10.0)
    put(metadata, "other", M2, subject=M1, kind="x")
    assert [one.digest for one in metadata.referrers("app", M1)] == [M3, M2]
    assert [one.digest for one in metadata.referrers("app", M1, "x")] == [M2]
    assert list(metadata.referrers("app", M2)) == []


# --- uploads and numbers -----------------------------------------------------------------------------------------


def test_uploads_are_known_by_repository_and_age(metadata: Metadata, clock: Clock) -> None:
    metadata.begin_upload("u1", "app")
    clock.now += 10
    metadata.begin_upload("u2", "app")
    assert metadata.upload_repository("u1") == "app" and metadata.upload_repository("x") is None
    assert metadata.uploads_before(1005.0) == ["u1"]
    metadata.end_upload("u1")
    metadata.end_upload("u1")
    assert metadata.uploads_before(9999.0) == ["u2"]


def test_pulls_by_day(metadata: Metadata) -> None:
    metadata.ensure_repository("app")
    metadata.add_pulls({("app", "2026-01-02"): 2, ("app", "2026-01-01"): 1})
    metadata.add_pulls({("app", "2026-01-02"): 3})
    assert metadata.pulls("app", "2026-01-01") == {"2026-01-01": 1, "2026-01-02": 5}
    assert metadata.pulls("app", "2026-01-02") == {"2026-01-02": 5}
    assert metadata.total_pulls("app") == 6 and metadata.total_pulls("x") == 0


def test_totals(metadata: Metadata) -> None:
    number = put(metadata, "app", M1)
    metadata.tag(number, "v1", M1)
    metadata.add_blob(BLOB, 4)
    metadata.add_blob(OTHER, 6)
    metadata.begin_upload("u", "app")
    assert metadata.totals() == {"repositories": 1, "manifests": 1, "tags": 1, "blobs": 2, "bytes": 10, "uploads": 1}


# --- garbage -----------------------------------------------------------------------------------------------------


def test_what_nothing_names_is_dropped(metadata: Metadata) -> None:
    number = put(metadata, "app", M1, M2)  # an index of M2
    put(metadata, "app", M2, BLOB)
    put(metadata, "app", M3, subject=M1)
    metadata.tag(number, "v1", M1)
    assert metadata.drop_untagged(9999.0) == 0
    metadata.untag("app", "v1")
    assert metadata.drop_untagged(1000.0) == 0, "too young"
    assert [metadata.drop_untagged(9999.0) for _ in range(3)] == [1, 2, 0]


def test_a_manifest_that_a_push_relies_on_is_not_dropped(metadata: Metadata, clock: Clock) -> None:
    put(metadata, "app", M1, BLOB)
    pushed = clock.now
    clock.now += 300
    metadata.renew_manifest("app", M1, 400)
    assert metadata.drop_untagged(pushed) == 0
    metadata.renew_manifest("app", M1, 200)
    metadata.renew_manifest("app", M2, 200)
    metadata.renew_manifest("absent", M1, 200)
    assert metadata.drop_untagged(clock.now) == 0, "asked for"
    clock.now += 300
    metadata.put_manifest(metadata.ensure_repository("app"), stored(M1, pushed=clock.now), [BLOB])
    assert metadata.drop_untagged(clock.now) == 0, "brought once more"
    found = metadata.manifest("app", M1)
    assert found is not None and found.pushed == pushed, "and as old as ever"
    assert metadata.drop_untagged(clock.now + 1) == 1
    assert metadata.manifest("app", M1) is None


def test_links_that_a_manifest_needs_stay(metadata: Metadata) -> None:
    number = put(metadata, "app", M1, BLOB)
    for digest in (BLOB, OTHER):
        metadata.add_blob(digest, 4)
        metadata.link(number, digest)
    assert metadata.drop_links(9999.0) == 1
    assert metadata.linked_size("app", BLOB) == 4 and metadata.linked_size("app", OTHER) is None


def test_a_doomed_blob_counts_as_absent_until_it_comes_back(metadata: Metadata) -> None:
    number = metadata.ensure_repository("app")
    metadata.add_blob(BLOB, 4)
    metadata.link(number, BLOB)
    assert metadata.doom() == [] and metadata.doomed_size(BLOB) is None
    metadata.unlink("app", BLOB)
    assert metadata.doom() == [BLOB] and metadata.doom() == [BLOB]
    assert metadata.blob_size(BLOB) is None and metadata.doomed_size(BLOB) == 4 and metadata.knows_blob(BLOB)
    metadata.add_blob(BLOB, 4)
    metadata.link(number, BLOB)
    assert metadata.blob_size(BLOB) == 4 and metadata.doomed_size(BLOB) is None and metadata.doom() == []


# --- accounts ----------------------------------------------------------------------------------------------------


def test_users_are_kept_and_removed_with_all_that_is_theirs(metadata: Metadata) -> None:
    accounts = metadata.accounts
    bob = accounts.add_user("bob", "hash", admin=False, now=1)
    accounts.add_user("alice", "hash2", admin=True, now=2)
    assert [(user.name, user.admin) for user in accounts.users()] == [("alice", True), ("bob", False)]
    assert accounts.name_taken("bob") and not accounts.name_taken("acme")
    accounts.add_organisation("acme", 1)
    assert accounts.name_taken("acme")
    accounts.add_token(TokenRecord("t1", bob, "s", "ci", "READ", 5.0, None, 9.0))
    accounts.open_session("c1", bob, 100.0, 1.0)
    accounts.set_member("acme", bob, "WRITE")
    accounts.set_grant("x/y", bob, "READ")
    accounts.remove_user(bob)
    assert accounts.user("bob") is None and accounts.token("t1") is None and accounts.session("c1", 1.0) is None
    assert accounts.members("acme") == {} and accounts.grants("x/y") == {} and accounts.grant("x/y", bob) is None


def test_a_new_password_ends_sessions(metadata: Metadata) -> None:
    accounts = metadata.accounts
    bob, eve = (accounts.add_user(name, "old", admin=False, now=1) for name in ("bob", "eve"))
    accounts.open_session("c1", bob, 100.0, 1.0)
    accounts.open_session("c2", eve, 100.0, 1.0)
    accounts.set_password(bob, "new")
    user = accounts.user("bob")
    assert user is not None and user.password == "new"
    assert accounts.session("c1", 1.0) is None and accounts.session("c2", 1.0) is not None


def test_sessions_end(metadata: Metadata) -> None:
    accounts = metadata.accounts
    bob = accounts.add_user("bob", "x", admin=False, now=1)
    accounts.open_session("c1", bob, 10.0, 1.0)
    found = accounts.session("c1", 9.0)
    assert found is not None and found.name == "bob"
    assert accounts.session("c1", 10.0) is None
    accounts.open_session("c2", bob, 100.0, 50.0)
    accounts.close_session("c2")
    assert accounts.session("c2", 50.0) is None


def test_tokens(metadata: Metadata) -> None:
    accounts = metadata.accounts
    bob, eve = (accounts.add_user(name, "x", admin=False, now=1) for name in ("bob", "eve"))
    first, second = (TokenRecord(f"t{n}", bob, "s", "l", "READ", 10.0 - n, None, None) for n in (1, 2))
    accounts.add_token(first)
    accounts.add_token(second)
    assert accounts.tokens(bob) == [second, first] and accounts.tokens(eve) == []
    accounts.touch_token("t1", 77.0)
    found = accounts.token("t1")
    assert found is not None and (found[0].used, found[1].name) == (77.0, "bob")
    accounts.remove_token(eve, "t1")
    assert accounts.token("t1") is not None, "somebody else's"
    accounts.remove_token(bob, "t1")
    assert accounts.token("t1") is None


def test_organisations_members_and_grants(metadata: Metadata) -> None:
    accounts = metadata.accounts
    bob, eve = (accounts.add_user(name, "x", admin=False, now=1) for name in ("bob", "eve"))
    for name in ("zoo", "acme"):
        accounts.add_organisation(name, 1)
    assert accounts.organisations() == ["acme", "zoo"]
    assert accounts.set_member("acme", eve, "READ") and accounts.set_member("acme", bob, "READ")
    assert accounts.set_member("acme", bob, "ADMIN") and not accounts.set_member("absent", bob, "READ")
    assert accounts.members("acme") == {"bob": "ADMIN", "eve": "READ"}
    assert accounts.memberships(bob) == {"acme": "ADMIN"}
    assert accounts.set_member("acme", bob, None) and accounts.memberships(bob) == {}
    assert accounts.remove_organisation("acme") and not accounts.remove_organisation("acme")
    assert accounts.memberships(eve) == {}
    accounts.set_grant("x/y", eve, "READ")
    accounts.set_grant("x/y", eve, "WRITE")
    assert accounts.grants("x/y") == {"eve": "WRITE"} and accounts.grant("x/y", eve) == "WRITE"
    accounts.set_grant("x/y", eve, None)
    assert accounts.grants("x/y") == {}


def test_a_secret_is_made_once(metadata: Metadata) -> None:
    assert metadata.accounts.secret("key", b"one") == b"one"
    assert metadata.accounts.secret("key", b"two") == b"one"
