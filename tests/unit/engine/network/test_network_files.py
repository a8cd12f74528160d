"""resolv.conf and hosts of a container."""

from __future__ import annotations

from kist.engine.network.files import hosts, resolv_conf

STUB = "nameserver 127.0.0.53\noptions edns0 trust-ad\nsearch example.org\n"


def test_the_hosts_resolvers_are_the_containers() -> None:
    assert resolv_conf("# x\nnameserver 192.0.2.53\nnameserver 192.0.2.54\nsearch a b\noptions ndots:2\n") == (
        "nameserver 192.0.2.53\nnameserver 192.0.2.54\nsearch a b\noptions ndots:2\n")


def test_loopback_resolvers_are_replaced_by_the_upstream_ones() -> None:
    assert resolv_conf(STUB, upstream="nameserver 192.0.2.1\nsearch up\n") == "nameserver 192.0.2.1\nsearch up\n"


def test_nothing_but_loopback_falls_back_to_public_resolvers() -> None:
    assert resolv_conf(STUB).startswith("nameserver 1.1.1.1\nnameserver 8.8.8.8\nsearch example.org\n")
    assert resolv_conf("").startswith("nameserver 1.1.1.1\n")


def test_ipv6_resolvers_only_for_containers_with_ipv6() -> None:
    text = "nameserver 2001:db8::53\nnameserver 192.0.2.53\nnameserver fe80::1%eth0\n"
    assert resolv_conf(text) == "nameserver 192.0.2.53\n"
    assert resolv_conf(text, ipv6=True) == "nameserver 2001:db8::53\nnameserver 192.0.2.53\n"


def test_the_users_words_replace_the_hosts() -> None:
    text = "nameserver 192.0.2.53\nsearch example.org\noptions rotate\n"
    assert resolv_conf(text, nameservers=["192.0.2.9"], search=["x.test"], options=["ndots:5"]) == (
        "nameserver 192.0.2.9\nsearch x.test\noptions ndots:5\n")
    assert "search" not in resolv_conf(text, search=["."])


def test_kists_own_resolver_is_the_only_one() -> None:
    assert resolv_conf("nameserver 192.0.2.53\nsearch a\n", internal="127.0.0.11") == (
        "nameserver 127.0.0.11\nsearch a\noptions ndots:0\n")
    assert "ndots:3" in resolv_conf("", internal="127.0.0.11", options=["ndots:3"])


def test_the_last_search_line_counts() -> None:
    assert "search b\n" in resolv_conf("nameserver 192.0.2.1\nsearch a\nsearch b\n")


def test_nonsense_is_left_out() -> None:
    assert resolv_conf("nameserver\nnameserver x\nnameserver 192.0.2.1 # c\n") == "nameserver 192.0.2.1\n"


def test_hosts() -> None:
    extra = ["db:192.0.2.9", "v6=2001:db8::1", "h:host-gateway", "b:[::1]"]
    text = hosts(["10.88.0.2", "fd00::2"], ["web.example.org", "web"], extra, gateways=["10.88.0.1", "fd00::1"])
    assert text.startswith("127.0.0.1\tlocalhost\n::1\tlocalhost ")
    assert text.endswith(
        "192.0.2.9\tdb\n2001:db8::1\tv6\n10.88.0.1\th\nfd00::1\th\n::1\tb\n"
        "10.88.0.2\tweb.example.org web\nfd00::2\tweb.example.org web\n")


def test_hosts_without_an_address() -> None:
    assert "web" not in hosts([""], ["web"])
    assert "web" not in hosts([], ["web"])
