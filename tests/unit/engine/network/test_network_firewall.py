"""The commands for nftables, without nftables."""

from __future__ import annotations

from kist.engine.network.firewall import Bridge, Port, Published, Rules
from kist.linux.netlink.nfelements import Element

WEB = Published("tcp", "", 8080, "10.88.0.2", 80)
DNS = Published("udp", "192.0.2.1", 53, "10.88.0.3", 5353)
WEB6 = Published("tcp", "", 8080, "fd00::2", 80)


def rules(*, respect_host: bool = True) -> Rules:
    return Rules("kist", "kist0-o", "kist0-i", respect_host)


def shown(elements: list[Element]) -> list[str]:
    return [f"{'add' if one.add else 'delete'} {one.family} {one.table} {one.set} " + " : ".join(
        " . ".join(value for _, value in parts) for parts in (one.key, one.data) if parts) for one in elements]


def test_publish_and_withdraw_change_elements_only() -> None:
    one = rules()
    assert shown(one.publish([WEB, DNS, WEB6])) == [
        "add ip kist open 6 . 8080",
        "add ip kist open_at 192.0.2.1 . 17 . 53",
        "add ip kist port 6 . 8080 : 10.88.0.2 . 80",
        "add ip kist port_at 192.0.2.1 . 17 . 53 : 10.88.0.3 . 5353",
        "add ip6 kist open 6 . 8080",
        "add ip6 kist port 6 . 8080 : fd00::2 . 80",
    ]
    assert one.publish([WEB]) == []
    assert shown(one.withdraw([WEB])) == ["delete ip kist open 6 . 8080", "delete ip kist port 6 . 8080"]
    assert one.withdraw([WEB]) == []
    assert one.published == {DNS, WEB6}


def test_without_respect_for_the_hosts_rules_nothing_is_relayed() -> None:
    one = rules(respect_host=False)
    assert "open" not in {element.set for element in one.publish([WEB])}
    assert "iifname @inside fib" not in one.tables()
    assert "iifname @inside fib" in rules().tables()


def test_what_the_kernel_lacks_is_left_out_and_told() -> None:
    one = rules()
    one.try_without(lambda commands: "dup to" not in commands and "table bridge" not in commands)
    text = one.tables()
    assert "dup to" not in text
    assert "table bridge" not in text
    assert len(one.lacking) == 2
    assert one.guard(Port("kv1", "02:42:00:00:00:01", ("10.0.0.2",))) == []


def test_a_guarded_port_owns_its_addresses() -> None:
    one = rules()
    added = one.guard(Port("kv1", "02:42:00:00:00:01", ("10.0.0.2", "fd00::2")))
    assert shown(added) == [
        "add bridge kist guarded kv1", "add bridge kist own_mac kv1 . 02:42:00:00:00:01",
        "add bridge kist own_ip kv1 . 10.0.0.2",
        "add bridge kist own_ip6 kv1 . fd00::2", "add bridge kist own_ip6 kv1 . fe80::42:ff:fe00:1",
        "add bridge kist own_target kv1 . fd00::2", "add bridge kist own_target kv1 . fe80::42:ff:fe00:1"]
    assert one.elements() == added
    assert [element.add for element in one.unguard("kv1")] == [False] * 7
    assert one.unguard("kv1") == []


def test_bridge_properties_are_set_memberships() -> None:
    assert shown(rules().add_bridge(Bridge("kb1", masquerade=False, internal=True, icc=False))) == [
        "add inet kist bridges kb1", "add ip kist inside kb1", "add ip6 kist inside kb1", "add inet kist internal kb1"]
    one = rules()
    added = one.add_bridge(Bridge("kb1", subnets=("10.1.0.0/16", "fd00::/64"), sources=("192.0.2.1", "2001:db8::1")))
    assert shown(added)[5:] == [
        "add inet kist source kb1 : 192.0.2.1", "add inet kist source6 kb1 : 2001:db8::1",
        "add inet kist within kb1 . kb1", "add inet kist neighbours 10.1.0.0 . 10.1.0.0",
        "add inet kist neighbours6 fd00:: . fd00::"]
    assert [[value for _, value in one.end] for one in added[-2:]] == [["10.1.255.255"] * 2,
                                                                       ["fd00::ffff:ffff:ffff:ffff"] * 2]
    assert one.remove_bridge("kb1") == [element._replace(add=False) for element in added]
    assert one.remove_bridge("kb1") == []


def test_everything_holds_the_present_state() -> None:
    one = rules()
    added = one.add_bridge(Bridge("kb1")) + one.publish([WEB])
    assert one.elements() == added
