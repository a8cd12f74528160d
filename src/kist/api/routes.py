"""Every path of the Engine API v1.51 as data: what Kist serves, and what it refuses in which words.

A row: method, path pattern, the API's operationId, the handler that serves it (``module.function`` in
`server/routes`), and a refusal: while that is not empty, the route answers 501 with it. In patterns ``{id}``
and ``{name}`` take one path segment, ``{name*}`` takes several: names of images and networks hold slashes.
The first row that matches wins, so fixed paths stand above the patterns that would take them.

docs/compatibility.md is made from this table, the server's router is compiled from it.
"""

from __future__ import annotations

from typing import NamedTuple


class Route(NamedTuple):
    method: str
    pattern: str
    operation: str
    handler: str = ""
    refusal: str = ""


_BUILD = "Kist does not build images by this interface yet"
_PLUGINS = "Kist has no plugins"
_SWARM = "Kist has no swarm mode"

ROUTES: tuple[Route, ...] = (
    # -- system
    Route("GET", "/_ping", "SystemPing", "system.ping"),
    Route("HEAD", "/_ping", "SystemPingHead", "system.ping"),
    Route("GET", "/version", "SystemVersion", "system.version"),
    Route("GET", "/info", "SystemInfo", "system.info"),
    Route("GET", "/events", "SystemEvents", "system.events"),
    Route("GET", "/system/df", "SystemDataUsage", "system.disk_usage"),
    Route("POST", "/auth", "SystemAuth", "system.auth"),
    # -- containers
    Route("GET", "/containers/json", "ContainerList", "containers.list_"),
    Route("POST", "/containers/create", "ContainerCreate", "containers.create"),
    Route("POST", "/containers/prune", "ContainerPrune", "containers.prune"),
    Route("GET", "/containers/{id}/json", "ContainerInspect", "containers.inspect"),
    Route("GET", "/containers/{id}/top", "ContainerTop", "containers.top"),
    Route("GET", "/containers/{id}/logs", "ContainerLogs", "streams.logs"),
    Route("GET", "/containers/{id}/changes", "ContainerChanges", "containers.changes"),
    Route("GET", "/containers/{id}/export", "ContainerExport", "archive.export"),
    Route("GET", "/containers/{id}/stats", "ContainerStats", "streams.stats"),
    Route("POST", "/containers/{id}/resize", "ContainerResize", "containers.resize"),
    Route("POST", "/containers/{id}/start", "ContainerStart", "containers.start"),
    Route("POST", "/containers/{id}/stop", "ContainerStop", "containers.stop"),
    Route("POST", "/containers/{id}/restart", "ContainerRestart", "containers.restart"),
    Route("POST", "/containers/{id}/kill", "ContainerKill", "containers.kill"),
    Route("POST", "/containers/{id}/update", "ContainerUpdate", "containers.update"),
    Route("POST", "/containers/{id}/rename", "ContainerRename", "containers.rename"),
    Route("POST", "/containers/{id}/pause", "ContainerPause", "containers.pause"),
    Route("POST", "/containers/{id}/unpause", "ContainerUnpause", "containers.unpause"),
    Route("POST", "/containers/{id}/attach", "ContainerAttach", "streams.attach"),
    Route("GET", "/containers/{id}/attach/ws", "ContainerAttachWebsocket", "streams.attach_websocket"),
    Route("POST", "/containers/{id}/wait", "ContainerWait", "streams.wait"),
    Route("POST", "/containers/{id}/exec", "ContainerExec", "execs.create"),
    Route("HEAD", "/containers/{id}/archive", "ContainerArchiveInfo", "archive.stat"),
    Route("GET", "/containers/{id}/archive", "ContainerArchive", "archive.get"),
    Route("PUT", "/containers/{id}/archive", "PutContainerArchive", "archive.put"),
    Route("DELETE", "/containers/{id*}", "ContainerDelete", "containers.remove"),
    # -- execs
    Route("POST", "/exec/{id}/start", "ExecStart", "execs.start"),
    Route("POST", "/exec/{id}/resize", "ExecResize", "execs.resize"),
    Route("GET", "/exec/{id}/json", "ExecInspect", "execs.inspect"),
    # -- images
    Route("GET", "/images/json", "ImageList", "images.list_"),
    Route("POST", "/images/create", "ImageCreate", "images.create"),
    Route("GET", "/images/search", "ImageSearch", "images.search"),
    Route("POST", "/images/prune", "ImagePrune", "images.prune"),
    Route("GET", "/images/get", "ImageGetAll", "images.save"),
    Route("POST", "/images/load", "ImageLoad", "images.load"),
    Route("GET", "/images/{name*}/json", "ImageInspect", "images.inspect"),
    Route("GET", "/images/{name*}/history", "ImageHistory", "images.history"),
    Route("GET", "/images/{name*}/get", "ImageGet", "images.save"),
    Route("POST", "/images/{name*}/push", "ImagePush", "images.push"),
    Route("POST", "/images/{name*}/tag", "ImageTag", "images.tag"),
    Route("DELETE", "/images/{name*}", "ImageDelete", "images.remove"),
    Route("POST", "/commit", "ImageCommit", "images.commit"),
    Route("GET", "/distribution/{name*}/json", "DistributionInspect", "images.distribution"),
    # -- Kist's own
    Route("POST", "/kist/check", "KistCheck", "system.check"),
    Route("GET", "/kist/containers/{id}/explain", "KistExplain", "containers.explain"),
    Route("GET", "/kist/images/{name*}/explain", "KistExplainImage", "containers.explain_image"),
    Route("GET", "/kist/manifests/{name*}", "KistManifest", "images.manifest"),
    Route("POST", "/kist/manifests/{name*}", "KistManifestPush", "images.push_manifests"),
    Route("GET", "/kist/volumes/{name}/export", "KistVolumeExport", "volumes.export"),
    Route("POST", "/kist/volumes/{name}/import", "KistVolumeImport", "volumes.import_"),
    Route("POST", "/kist/volumes/{name}/snapshot", "KistVolumeSnapshot", "volumes.snapshot"),
    Route("POST", "/kist/volumes/{name}/restore", "KistVolumeRestore", "volumes.restore"),
    Route("GET", "/kist/networks/map", "KistNetworkMap", "networks.map_"),
    # -- networks
    Route("GET", "/networks", "NetworkList", "networks.list_"),
    Route("POST", "/networks/create", "NetworkCreate", "networks.create"),
    Route("POST", "/networks/prune", "NetworkPrune", "networks.prune"),
    Route("GET", "/networks/{id*}", "NetworkInspect", "networks.inspect"),
    Route("DELETE", "/networks/{id*}", "NetworkDelete", "networks.remove"),
    Route("POST", "/networks/{id*}/connect", "NetworkConnect", "networks.connect"),
    Route("POST", "/networks/{id*}/disconnect", "NetworkDisconnect", "networks.disconnect"),
    # -- volumes
    Route("GET", "/volumes", "VolumeList", "volumes.list_"),
    Route("POST", "/volumes/create", "VolumeCreate", "volumes.create"),
    Route("POST", "/volumes/prune", "VolumePrune", "volumes.prune"),
    Route("GET", "/volumes/{name}", "VolumeInspect", "volumes.inspect"),
    Route("PUT", "/volumes/{name}", "VolumeUpdate", refusal="Kist has no cluster volumes"),
    Route("DELETE", "/volumes/{name}", "VolumeDelete", "volumes.remove"),
    # -- builds
    Route("POST", "/build", "ImageBuild", refusal=_BUILD),
    Route("POST", "/build/cancel", "BuildCancel", refusal=_BUILD),
    Route("POST", "/build/prune", "BuildPrune", "system.prune_builds"),
    Route("POST", "/session", "Session", refusal=_BUILD),
    Route("POST", "/grpc", "Grpc", refusal=_BUILD),
    # -- plugins
    Route("GET", "/plugins", "PluginList", "system.plugins"),
    Route("GET", "/plugins/privileges", "GetPluginPrivileges", refusal=_PLUGINS),
    Route("POST", "/plugins/pull", "PluginPull", refusal=_PLUGINS),
    Route("POST", "/plugins/create", "PluginCreate", refusal=_PLUGINS),
    Route("GET", "/plugins/{name*}/json", "PluginInspect", "system.no_plugin"),
    Route("DELETE", "/plugins/{name*}", "PluginDelete", "system.no_plugin"),
    Route("POST", "/plugins/{name*}/enable", "PluginEnable", "system.no_plugin"),
    Route("POST", "/plugins/{name*}/disable", "PluginDisable", "system.no_plugin"),
    Route("POST", "/plugins/{name*}/upgrade", "PluginUpgrade", refusal=_PLUGINS),
    Route("POST", "/plugins/{name*}/push", "PluginPush", "system.no_plugin"),
    Route("POST", "/plugins/{name*}/set", "PluginSet", "system.no_plugin"),
    # -- swarm
    Route("GET", "/nodes", "NodeList", refusal=_SWARM),
    Route("GET", "/nodes/{id}", "NodeInspect", refusal=_SWARM),
    Route("DELETE", "/nodes/{id}", "NodeDelete", refusal=_SWARM),
    Route("POST", "/nodes/{id}/update", "NodeUpdate", refusal=_SWARM),
    Route("GET", "/swarm", "SwarmInspect", refusal=_SWARM),
    Route("POST", "/swarm/init", "SwarmInit", refusal=_SWARM),
    Route("POST", "/swarm/join", "SwarmJoin", refusal=_SWARM),
    Route("POST", "/swarm/leave", "SwarmLeave", refusal=_SWARM),
    Route("POST", "/swarm/update", "SwarmUpdate", refusal=_SWARM),
    Route("GET", "/swarm/unlockkey", "SwarmUnlockkey", refusal=_SWARM),
    Route("POST", "/swarm/unlock", "SwarmUnlock", refusal=_SWARM),
    Route("GET", "/services", "ServiceList", refusal=_SWARM),
    Route("POST", "/services/create", "ServiceCreate", refusal=_SWARM),
    Route("GET", "/services/{id}", "ServiceInspect", refusal=_SWARM),
    Route("DELETE", "/services/{id}", "ServiceDelete", refusal=_SWARM),
    Route("POST", "/services/{id}/update", "ServiceUpdate", refusal=_SWARM),
    Route("GET", "/services/{id}/logs", "ServiceLogs", refusal=_SWARM),
    Route("GET", "/tasks", "TaskList", refusal=_SWARM),
    Route("GET", "/tasks/{id}", "TaskInspect", refusal=_SWARM),
    Route("GET", "/tasks/{id}/logs", "TaskLogs", refusal=_SWARM),
    Route("GET", "/secrets", "SecretList", refusal=_SWARM),
    Route("POST", "/secrets/create", "SecretCreate", refusal=_SWARM),
    Route("GET", "/secrets/{id}", "SecretInspect", refusal=_SWARM),
    Route("DELETE", "/secrets/{id}", "SecretDelete", refusal=_SWARM),
    Route("POST", "/secrets/{id}/update", "SecretUpdate", refusal=_SWARM),
    Route("GET", "/configs", "ConfigList", refusal=_SWARM),
    Route("POST", "/configs/create", "ConfigCreate", refusal=_SWARM),
    Route("GET", "/configs/{id}", "ConfigInspect", refusal=_SWARM),
    Route("DELETE", "/configs/{id}", "ConfigDelete", refusal=_SWARM),
    Route("POST", "/configs/{id}/update", "ConfigUpdate", refusal=_SWARM),
)
