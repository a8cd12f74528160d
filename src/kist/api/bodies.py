"""Request bodies of the Engine API v1.51 as typed structs (pure: bytes in, structs out).

Attributes carry the API's own names, so an error can name the path a client sent
(``invalid value for HostConfig.Memory: expected int, got str``) and a record can be kept as it came in.
Docker decodes with Go's encoding/json, so three of its habits are kept here, in one place:

- unknown fields are ignored;
- ``null`` means "not given" everywhere: lists, maps and pointers are ``None`` then (an empty list is
  something else than none), texts, numbers and booleans get their zero;
- ``Cmd``, ``Entrypoint`` and ``Shell`` may be one string in place of a list (Go's ``strslice``).
"""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

import msgspec

from kist.errors import InvalidParameter

Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
UInt16 = Annotated[int, msgspec.Meta(ge=0, le=65535)]
UInt32 = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]
UInt64 = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]  # msgspec takes no bound above int64
Mac = Annotated[str, msgspec.Meta(pattern="^$|^([0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}$")]
FileName = Annotated[str, msgspec.Meta(max_length=255)]  # it becomes a file's
StrSlice = Annotated[list[str], msgspec.Meta(extra={"strslice": True})]
Empty = dict[str, Any]
"""The value of Go's ``map[string]struct{}``."""


class Body(msgspec.Struct, kw_only=True):
    """Base of all bodies: every field has a default, the API's required ones are checked by the engine."""


# -- containers: what runs ------------------------------------------------------------------------


class HealthConfig(Body):
    """Times are nanoseconds; 0 inherits, see ``Test`` in the API for its first word."""

    Test: StrSlice | None = None
    Interval: Int64 = 0
    Timeout: Int64 = 0
    StartPeriod: Int64 = 0
    StartInterval: Int64 = 0
    Retries: Int64 = 0


class ContainerConfig(Body):
    """The part of a container that is portable between hosts."""

    Hostname: str = ""
    Domainname: str = ""
    User: str = ""
    AttachStdin: bool = False
    AttachStdout: bool = False
    AttachStderr: bool = False
    ExposedPorts: dict[str, Empty] | None = None
    Tty: bool = False
    OpenStdin: bool = False
    StdinOnce: bool = False
    Env: list[str] | None = None
    Cmd: StrSlice | None = None
    Healthcheck: HealthConfig | None = None
    ArgsEscaped: bool = False
    Image: str = ""
    Volumes: dict[str, Empty] | None = None
    WorkingDir: str = ""
    Entrypoint: StrSlice | None = None
    NetworkDisabled: bool = False
    MacAddress: Mac = ""
    OnBuild: list[str] | None = None
    Labels: dict[str, str] | None = None
    StopSignal: str = ""
    StopTimeout: Int64 | None = None
    Shell: StrSlice | None = None


# -- containers: how they run on this host -----------------------------------------------------------


class WeightDevice(Body):
    Path: str = ""
    Weight: UInt16 = 0


class ThrottleDevice(Body):
    Path: str = ""
    Rate: UInt64 = 0


class DeviceMapping(Body):
    PathOnHost: str = ""
    PathInContainer: str = ""
    CgroupPermissions: str = ""


class DeviceRequest(Body):
    Driver: str = ""
    Count: Int64 = 0
    DeviceIDs: list[str] | None = None
    Capabilities: list[list[str]] | None = None
    Options: dict[str, str] | None = None


class Ulimit(Body):
    Name: str = ""
    Soft: Int64 = 0
    Hard: Int64 = 0


class RestartPolicy(Body):
    Name: str = ""
    MaximumRetryCount: Int64 = 0


class LogConfig(Body):
    Type: str = ""
    Config: dict[str, str] | None = None


class BindOptions(Body):
    Propagation: str = ""
    NonRecursive: bool = False
    CreateMountpoint: bool = False
    ReadOnlyNonRecursive: bool = False
    ReadOnlyForceRecursive: bool = False


class DriverConfig(Body):
    Name: str = ""
    Options: dict[str, str] | None = None


class VolumeOptions(Body):
    NoCopy: bool = False
    Labels: dict[str, str] | None = None
    Subpath: str = ""
    DriverConfig: DriverConfig | None = None


class ImageOptions(Body):
    Subpath: str = ""


class TmpfsOptions(Body):
    SizeBytes: Int64 = 0
    Mode: UInt32 = 0
    Options: list[list[str]] | None = None


class Mount(Body):
    Type: str = ""
    Source: str = ""
    Target: str = ""
    ReadOnly: bool = False
    Consistency: str = ""
    BindOptions: BindOptions | None = None
    VolumeOptions: VolumeOptions | None = None
    ImageOptions: ImageOptions | None = None
    TmpfsOptions: TmpfsOptions | None = None
    ClusterOptions: Empty | None = None
    IDMap: str = ""  # Kist's own: "owner", or `uids=…;gids=…`


class PortBinding(Body):
    HostIp: str = ""
    HostPort: str = ""


class NetworkRate(Body):
    """Kist's own: bytes per second, 0 for no limit; in an update ``None`` leaves it as it is."""

    Egress: UInt64 | None = None
    Ingress: UInt64 | None = None


class Resources(Body):
    """Limits. 0 and None mean "no limit of our own" (or "leave it" in an update), sizes are bytes."""

    CpuShares: Int64 = 0
    Memory: Int64 = 0
    NanoCpus: Int64 = 0
    CgroupParent: str = ""
    BlkioWeight: UInt16 = 0
    BlkioWeightDevice: list[WeightDevice] | None = None
    BlkioDeviceReadBps: list[ThrottleDevice] | None = None
    BlkioDeviceWriteBps: list[ThrottleDevice] | None = None
    BlkioDeviceReadIOps: list[ThrottleDevice] | None = None
    BlkioDeviceWriteIOps: list[ThrottleDevice] | None = None
    CpuPeriod: Int64 = 0
    CpuQuota: Int64 = 0
    CpuRealtimePeriod: Int64 = 0
    CpuRealtimeRuntime: Int64 = 0
    CpusetCpus: str = ""
    CpusetMems: str = ""
    Devices: list[DeviceMapping] | None = None
    DeviceCgroupRules: list[str] | None = None
    DeviceRequests: list[DeviceRequest] | None = None
    KernelMemory: Int64 = 0
    KernelMemoryTCP: Int64 = 0
    MemoryReservation: Int64 = 0
    MemorySwap: Int64 = 0
    MemorySwappiness: Int64 | None = None
    OomKillDisable: bool | None = None
    PidsLimit: Int64 | None = None
    Ulimits: list[Ulimit] | None = None
    CpuCount: Int64 = 0
    CpuPercent: Int64 = 0
    IOMaximumIOps: UInt64 = 0
    IOMaximumBandwidth: UInt64 = 0
    NetworkRate: NetworkRate | None = None


class HostConfig(Resources):
    """The part of a container that belongs to this host."""

    Binds: list[str] | None = None
    ContainerIDFile: str = ""
    LogConfig: LogConfig | None = None
    NetworkMode: str = ""
    PortBindings: dict[str, list[PortBinding] | None] | None = None
    RestartPolicy: RestartPolicy | None = None
    AutoRemove: bool = False
    VolumeDriver: str = ""
    VolumesFrom: list[str] | None = None
    Mounts: list[Mount] | None = None
    ConsoleSize: Annotated[list[UInt32], msgspec.Meta(min_length=2, max_length=2)] | None = None
    Annotations: dict[str, str] | None = None
    CapAdd: StrSlice | None = None
    CapDrop: StrSlice | None = None
    CgroupnsMode: str = ""
    Dns: list[str] | None = None
    DnsOptions: list[str] | None = None
    DnsSearch: list[str] | None = None
    ExtraHosts: list[str] | None = None
    GroupAdd: list[str] | None = None
    IpcMode: str = ""
    Cgroup: str = ""
    Links: list[str] | None = None
    OomScoreAdj: Int64 = 0
    PidMode: str = ""
    Privileged: bool = False
    PublishAllPorts: bool = False
    ReadonlyRootfs: bool = False
    SecurityOpt: list[str] | None = None
    StorageOpt: dict[str, str] | None = None
    Tmpfs: dict[str, str] | None = None
    UTSMode: str = ""
    UsernsMode: str = ""
    ShmSize: Int64 = 0
    Sysctls: dict[str, str] | None = None
    Runtime: str = ""
    Init: bool | None = None
    Isolation: str = ""
    MaskedPaths: list[str] | None = None
    ReadonlyPaths: list[str] | None = None
    HealthOnFailure: str = ""  # Kist's own: none, restart, stop or kill


class EndpointIPAMConfig(Body, omit_defaults=True):
    IPv4Address: str = ""
    IPv6Address: str = ""
    LinkLocalIPs: list[str] | None = None


class EndpointSettings(Body):
    IPAMConfig: EndpointIPAMConfig | None = None
    Links: list[str] | None = None
    Aliases: list[str] | None = None
    MacAddress: Mac = ""
    DriverOpts: dict[str, str] | None = None
    GwPriority: Int64 = 0
    NetworkID: str = ""
    EndpointID: str = ""
    Gateway: str = ""
    IPAddress: str = ""
    IPPrefixLen: Int64 = 0
    IPv6Gateway: str = ""
    GlobalIPv6Address: str = ""
    GlobalIPv6PrefixLen: Int64 = 0
    DNSNames: list[str] | None = None


class NetworkingConfig(Body):
    EndpointsConfig: dict[str, EndpointSettings | None] | None = None


class ContainerCreate(ContainerConfig):
    """``POST /containers/create``."""

    HostConfig: HostConfig | None = None
    NetworkingConfig: NetworkingConfig | None = None


class ContainerChanges(Body):
    """Kist's own part of an update (Docker's clients never send it): what is given replaces what has the same name,
    the same port or the same path; what is named by ``…Remove`` goes. See docs/update.md."""

    Env: list[str] | None = None
    EnvRemove: list[str] | None = None
    Labels: dict[str, str] | None = None
    LabelsRemove: list[str] | None = None
    PortBindings: dict[str, list[PortBinding] | None] | None = None
    PortsRemove: list[str] | None = None  # "80/tcp", "8080:80", "127.0.0.1:8080:80"
    Binds: list[str] | None = None
    Mounts: list[Mount] | None = None
    MountsRemove: list[str] | None = None  # paths in the container
    HealthOnFailure: str | None = None
    LimitsRemove: list[str] | None = None  # HostConfig's names: "Memory", "NanoCpus", "BlkioDeviceReadBps"…
    DryRun: bool = False
    RestartNow: bool = False


class ContainerUpdate(Resources):
    """``POST /containers/{id}/update``."""

    RestartPolicy: RestartPolicy | None = None
    Kist: ContainerChanges | None = None


# -- execs ---------------------------------------------------------------------------------------------


class ExecCreate(Body):
    """``POST /containers/{id}/exec``."""

    User: str = ""
    Privileged: bool = False
    Tty: bool = False
    ConsoleSize: Annotated[list[UInt32], msgspec.Meta(min_length=2, max_length=2)] | None = None
    AttachStdin: bool = False
    AttachStdout: bool = False
    AttachStderr: bool = False
    DetachKeys: str = ""
    Env: list[str] | None = None
    WorkingDir: str = ""
    Cmd: StrSlice | None = None


class ExecStart(Body):
    """``POST /exec/{id}/start``."""

    Detach: bool = False
    Tty: bool = False
    ConsoleSize: Annotated[list[UInt32], msgspec.Meta(min_length=2, max_length=2)] | None = None


# -- networks and volumes ----------------------------------------------------------------------------------


class IPAMConfig(Body):
    Subnet: str = ""
    IPRange: str = ""
    Gateway: str = ""
    AuxiliaryAddresses: dict[str, str] | None = None


class IPAM(Body):
    Driver: str = ""
    Config: list[IPAMConfig] | None = None
    Options: dict[str, str] | None = None


class ConfigReference(Body):
    Network: str = ""


class NetworkCreate(Body):
    """``POST /networks/create``."""

    Name: FileName = ""
    CheckDuplicate: bool = False
    Driver: str = ""
    Scope: str = ""
    EnableIPv4: bool | None = None
    EnableIPv6: bool | None = None
    IPAM: IPAM | None = None
    Internal: bool = False
    Attachable: bool = False
    Ingress: bool = False
    ConfigOnly: bool = False
    ConfigFrom: ConfigReference | None = None
    Options: dict[str, str] | None = None
    Labels: dict[str, str] | None = None


class NetworkConnect(Body):
    """``POST /networks/{id}/connect``."""

    Container: str = ""
    EndpointConfig: EndpointSettings | None = None


class NetworkDisconnect(Body):
    """``POST /networks/{id}/disconnect``."""

    Container: str = ""
    Force: bool = False


class VolumeCreate(Body):
    """``POST /volumes/create``."""

    Name: FileName = ""
    Driver: str = ""
    DriverOpts: dict[str, str] | None = None
    Labels: dict[str, str] | None = None
    ClusterVolumeSpec: Empty | None = None


# -- registries -------------------------------------------------------------------------------------------


class AuthConfig(Body):
    """``POST /auth`` and the decoded ``X-Registry-Auth`` header (base64url of this JSON)."""

    username: str = ""
    password: str = ""
    auth: str = ""
    email: str = ""
    serveraddress: str = ""
    identitytoken: str = ""
    registrytoken: str = ""


class ManifestListPush(Body):
    """``POST /kist/manifests/{name}``: the list's text, and by which reference each manifest in it was found."""

    Content: str = ""
    MediaType: str = ""
    Sources: list[str] | None = None


# -- decoding ---------------------------------------------------------------------------------------------

B = TypeVar("B", bound=Body)
_decoders: dict[type[Body], msgspec.json.Decoder[Any]] = {}
_shapes: dict[type[Body], msgspec.inspect.Type] = {}


def decode(kind: type[B], data: bytes) -> B:
    """The body as a ``kind`` (no bytes: an empty one); raises InvalidParameter naming the field's path."""
    if not data:
        return kind()
    decoder = _decoders.get(kind)
    if decoder is None:
        decoder = _decoders[kind] = msgspec.json.Decoder(kind)
    try:
        body: B = decoder.decode(data)
        return body
    except msgspec.ValidationError:
        return _decode_as_go(kind, data)  # perhaps only Go's habits: nulls and single strings
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise InvalidParameter(f"invalid JSON: {exc}") from None
    except RecursionError:
        raise InvalidParameter("invalid JSON: nested too deeply") from None


def _decode_as_go(kind: type[B], data: bytes) -> B:
    shape = _shapes.get(kind)
    if shape is None:  # costs milliseconds, so once per kind
        shape = _shapes[kind] = msgspec.inspect.type_info(kind)
    try:
        return msgspec.convert(_go_value(msgspec.json.decode(data), shape), kind)
    except msgspec.ValidationError as exc:
        raise InvalidParameter(_named(str(exc))) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise InvalidParameter(f"invalid JSON: {exc}") from None
    except RecursionError:
        raise InvalidParameter("invalid JSON: nested too deeply") from None


def _go_value(value: Any, kind: msgspec.inspect.Type) -> Any:
    if isinstance(kind, msgspec.inspect.Metadata):
        if isinstance(value, str) and (kind.extra or {}).get("strslice"):
            return [value]
        return _go_value(value, kind.type)
    if isinstance(kind, msgspec.inspect.UnionType):
        if value is None:
            return None
        return _go_value(value, next(t for t in kind.types if not isinstance(t, msgspec.inspect.NoneType)))
    if value is None:
        return _ZERO.get(type(kind))
    if isinstance(kind, msgspec.inspect.StructType) and isinstance(value, dict):
        types = {field.encode_name: field for field in kind.fields}
        return {
            name: _go_value(item, types[name].type)
            for name, item in value.items()
            if name in types and (item is not None or types[name].default is None)
        }
    if isinstance(kind, msgspec.inspect.ListType) and isinstance(value, list):
        return [_go_value(item, kind.item_type) for item in value]
    if isinstance(kind, msgspec.inspect.DictType) and isinstance(value, dict):
        return {name: _go_value(item, kind.value_type) for name, item in value.items()}
    return value


_ZERO: dict[type[msgspec.inspect.Type], Any] = {
    msgspec.inspect.StrType: "",
    msgspec.inspect.IntType: 0,
    msgspec.inspect.BoolType: False,
    msgspec.inspect.ListType: [],
    msgspec.inspect.DictType: {},
    msgspec.inspect.StructType: {},
}


def _named(text: str) -> str:
    """``Expected `int`, got `str` - at `$.HostConfig.Memory`` with the field first."""
    problem, at, path = text.rpartition(" - at `$")
    if not at:
        return f"invalid JSON: {text}"
    field = path.rstrip("`").lstrip(".").replace("`", "")
    problem = problem.replace("`", "")
    return f"invalid value for {field}: {problem[:1].lower()}{problem[1:]}"
