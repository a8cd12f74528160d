"""A container as `inspect` and `ps` show it (Engine API v1.51: ContainerInspectResponse, ContainerSummary). Pure."""

from __future__ import annotations

from typing import Any

from kist.engine import states
from kist.engine.alter import changes
from kist.engine.records import ContainerRecord, Health, Mount
from kist.engine.times import rfc3339
from kist.engine.views.network import network_settings, networks, port_list
from kist.engine.views.status import health_word, status

Json = dict[str, Any]
# What Docker's inspect leaves out of HostConfig while it is empty.
_OMIT_EMPTY = frozenset({"Annotations", "HealthOnFailure", "Init", "KernelMemory", "KernelMemoryTCP", "Mounts",
                         "NetworkRate", "StorageOpt", "Sysctls", "Tmpfs"})


def inspect(record: ContainerRecord, *, data_dir: str, exec_ids: list[str], graph: Json,
            sizes: tuple[int, int] | None) -> Json:
    """`graph`: GraphDriver.Data; `sizes`: (changed, whole) bytes when asked for."""
    found: Json = {
        "Id": record.id,
        "Created": rfc3339(record.created),
        "Path": record.path,
        "Args": record.args,
        "State": state(record),
        "Image": record.image_id,
        "ResolvConfPath": f"{data_dir}/resolv.conf",
        "HostnamePath": f"{data_dir}/hostname",
        "HostsPath": f"{data_dir}/hosts",
        "LogPath": f"{data_dir}/{record.id}-json.log" if record.host["LogConfig"]["Type"] == "json-file" else "",
        "Name": f"/{record.name}",
        "RestartCount": record.restart_count,
        "Driver": "overlay2",
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": record.apparmor,
        "ExecIDs": exec_ids or None,
        "HostConfig": host_config(record.host),
        "GraphDriver": {"Name": "overlay2", "Data": graph},
        "Mounts": mount_points(record),
        "Config": {**record.config, "Env": record.config.get("Env") or None},
        "NetworkSettings": network_settings(record),
    }
    if record.manifest is not None:
        found["ImageManifestDescriptor"] = record.manifest
    if record.pending is not None:  # Kist's own: what an update has changed for the next start
        found["Pending"] = [{"What": row.what, "Before": row.before, "After": row.after}
                            for row in changes(record, record.upcoming(), alive=False)]
    if sizes is not None:
        found["SizeRw"], found["SizeRootFs"] = sizes
    return found


def state(record: ContainerRecord) -> Json:
    found: Json = {
        "Status": record.state,
        "Running": record.state in states.COUNTED_AS_RUNNING,
        "Paused": record.state == states.PAUSED,
        "Restarting": record.state == states.RESTARTING,
        "OOMKilled": record.oom_killed,
        "Dead": record.state == states.DEAD,
        "Pid": record.pid,
        "ExitCode": record.exit_code,
        "Error": record.error,
        "StartedAt": rfc3339(record.started_at),
        "FinishedAt": rfc3339(record.finished_at),
    }
    if record.health is not None:
        found["Health"] = health(record.health)
    return found


def health(found: Health) -> Json:
    return {
        "Status": found.status,
        "FailingStreak": found.failing_streak,
        "Log": [{"Start": rfc3339(entry.start), "End": rfc3339(entry.end), "ExitCode": entry.exit_code,
                 "Output": entry.output} for entry in found.log],
    }


def host_config(host: Json) -> Json:
    found = {name: value for name, value in host.items() if value or value is False or name not in _OMIT_EMPTY}
    if found.get("Mounts"):
        found["Mounts"] = [{name: value for name, value in mount.items() if value or name in ("Type", "Target")}
                           for mount in found["Mounts"]]
    return found


def mount_points(record: ContainerRecord) -> list[Json]:
    """All but those of --tmpfs (moby: they are no mount points)."""
    return [mount_point(mount) for mount in record.mounts
            if mount.type != "tmpfs" or mount.target not in (record.host["Tmpfs"] or {})]


def mount_point(mount: Mount) -> Json:
    found: Json = {"Type": mount.type}
    if mount.name:
        found["Name"] = mount.name
    found |= {"Source": mount.source, "Destination": mount.target}
    if mount.driver:
        found["Driver"] = mount.driver
    return {**found, "Mode": mount.mode, "RW": mount.rw, "Propagation": mount.propagation}


def summary(record: ContainerRecord, now: int, sizes: tuple[int, int] | None = None) -> Json:
    found: Json = {
        "Id": record.id,
        "Names": [f"/{record.name}"],
        "Image": record.image,
        "ImageID": record.image_id,
        "Command": command_line(record),
        "Created": record.created // 1_000_000_000,
        "Ports": port_list(record),
        "Labels": record.config.get("Labels") or {},
        "State": record.state,
        "Status": status(record, now),
        "HostConfig": {"NetworkMode": record.host["NetworkMode"]},
        "NetworkSettings": {"Networks": networks(record)},
        "Mounts": mount_points(record),
    }
    if record.manifest is not None:
        found["ImageManifestDescriptor"] = record.manifest
    if sizes is not None:
        found["SizeRw"], found["SizeRootFs"] = sizes
    return found


def command_line(record: ContainerRecord) -> str:
    """Words with a space in quotes, as Docker's list has it."""
    return " ".join([record.path, *(f"'{arg}'" if " " in arg else arg for arg in record.args)])


__all__ = ["command_line", "health_word", "inspect", "mount_point", "state", "summary"]
