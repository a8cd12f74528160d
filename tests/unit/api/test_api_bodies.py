"""Request bodies: Go's habits, errors that name the field, bounds."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kist.api import bodies
from kist.errors import InvalidParameter

KINDS = [bodies.ContainerCreate, bodies.ContainerUpdate, bodies.ExecCreate, bodies.ExecStart, bodies.NetworkCreate,
         bodies.NetworkConnect, bodies.NetworkDisconnect, bodies.VolumeCreate, bodies.AuthConfig]


def _create(**body: Any) -> bodies.ContainerCreate:
    return bodies.decode(bodies.ContainerCreate, json.dumps(body).encode())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("data", [b"", b"{}", b"null", b'{"Nosuch": [1, {"a": null}]}'])
def test_nothing_and_unknown_fields_make_an_empty_body(kind: type[bodies.Body], data: bytes) -> None:
    assert bodies.decode(kind, data) == kind()


@pytest.mark.parametrize("kind", KINDS)
def test_null_means_not_given_for_every_field(kind: type[bodies.Body]) -> None:
    nulls = dict.fromkeys(kind.__struct_fields__)
    assert bodies.decode(kind, json.dumps(nulls).encode()) == kind()


@pytest.mark.parametrize("kind", KINDS)
def test_a_body_survives_being_written_and_read(kind: type[bodies.Body]) -> None:
    assert bodies.decode(kind, msgspec.json.encode(kind())) == kind()


def test_nulls_inside_lists_and_maps_are_zeros_as_in_go() -> None:
    body = _create(Env=[None, "A=b"], Labels={"x": None}, Volumes={"/v": None},
                   HostConfig={"PortBindings": {"80/tcp": None, "81/tcp": [None]}},
                   NetworkingConfig={"EndpointsConfig": {"n": None}})
    assert (body.Env, body.Labels, body.Volumes) == (["", "A=b"], {"x": ""}, {"/v": {}})
    assert body.HostConfig is not None
    assert body.HostConfig.PortBindings == {"80/tcp": None, "81/tcp": [bodies.PortBinding()]}
    assert body.NetworkingConfig == bodies.NetworkingConfig(EndpointsConfig={"n": None})


def test_an_empty_list_is_not_none() -> None:
    body = _create(Entrypoint=[], Cmd=None, HostConfig={"MaskedPaths": []})
    assert (body.Entrypoint, body.Cmd) == ([], None)
    assert body.HostConfig is not None
    assert body.HostConfig.MaskedPaths == []


def test_a_command_may_be_one_string() -> None:
    body = _create(Cmd="ls -l", Entrypoint="sh", Healthcheck={"Test": "x"}, HostConfig={"CapAdd": "ALL"})
    assert (body.Cmd, body.Entrypoint) == (["ls -l"], ["sh"])
    assert body.Healthcheck is not None
    assert body.Healthcheck.Test == ["x"]
    assert body.HostConfig is not None
    assert body.HostConfig.CapAdd == ["ALL"]


@pytest.mark.parametrize(("body", "words"), [
    ({"HostConfig": {"Memory": "1g"}}, "invalid value for HostConfig.Memory: expected int, got str"),
    ({"Env": ["A", 1]}, "invalid value for Env[1]: expected str, got int"),
    ({"Env": "A=b"}, "invalid value for Env: expected array | null, got str"),
    ({"Tty": "yes"}, "invalid value for Tty: expected bool, got str"),
    ({"HostConfig": []}, "invalid value for HostConfig: expected object | null, got array"),
    ({"HostConfig": {"Memory": 2**63}}, f"invalid value for HostConfig.Memory: expected int <= {2**63 - 1}"),
    ({"HostConfig": {"Mounts": [{"TmpfsOptions": {"Mode": -1}}]}},
     "invalid value for HostConfig.Mounts[0].TmpfsOptions.Mode: expected int >= 0"),
    ({"HostConfig": {"ConsoleSize": [1]}},
     "invalid value for HostConfig.ConsoleSize: expected array of length >= 2"),
    ({"MacAddress": "zz"}, "invalid value for MacAddress: expected str matching regex "
                           "'^$|^([0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}$'"),
    ([], "invalid JSON: Expected `object`, got `array`"),
])
def test_a_wrong_type_names_the_fields_path(body: Any, words: str) -> None:
    with pytest.raises(InvalidParameter) as caught:
        bodies.decode(bodies.ContainerCreate, json.dumps(body).encode())
    assert caught.value.message == words


@pytest.mark.parametrize("address", ["", "02:42:ac:11:00:02", "02-42-AC-11-00-02"])
def test_mac_addresses(address: str) -> None:
    assert _create(MacAddress=address).MacAddress == address


@pytest.mark.parametrize("data", [b"{", b"\xff", b'{"Image": "\xff"}', b"[" * 100_000, b'{"x":' * 50_000, b"{} {}"])
def test_what_is_no_json_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidParameter, match=r"^invalid JSON: "):
        bodies.decode(bodies.ContainerCreate, data)


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3), max_leaves=5)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_value_in_any_field_is_taken_or_refused(kind: type[bodies.Body], data: st.DataObject) -> None:
    body = data.draw(st.dictionaries(st.sampled_from(kind.__struct_fields__), values, max_size=4))
    try:
        taken = bodies.decode(kind, json.dumps(body).encode())
    except InvalidParameter:
        return
    assert bodies.decode(kind, msgspec.json.encode(taken)) == taken
