"""The Go types of what Docker's client gives to templates (docker/cli 28.2 and its API types), field by field.

A struct is its fields, separated by `;`: `Name type`, `Name=json-name type`; `,o` behind it: left out of JSON when it
is empty; `+type`: embedded, its fields are seen as the outer struct's own. What `printf "%#v"` says of docker 28.
"""

from __future__ import annotations

# Names of other types → what they are made of.
NAMED = {
    "container.ContainerState": "string", "container.HealthStatus": "string", "container.NetworkMode": "string",
    "container.RestartPolicyMode": "string", "container.CgroupnsMode": "string", "container.IpcMode": "string",
    "container.CgroupSpec": "string", "container.PidMode": "string", "container.UTSMode": "string",
    "container.UsernsMode": "string", "container.Isolation": "string", "mount.Type": "string",
    "mount.Propagation": "string", "mount.Consistency": "string", "nat.Port": "string",
    "nat.PortMap": "map[nat.Port][]nat.PortBinding", "nat.PortSet": "map[nat.Port]struct {}",
    "strslice.StrSlice": "[]string", "json.Number": "string", "digest.Digest": "string", "time.Duration": "int64",
    "os.FileMode": "uint32", "time.Time": "string", "swarm.LocalNodeState": "string", "registry.NetIPNet": "string",
    "events.Type": "string", "events.Action": "string", "image.ManifestKind": "string",
}

STRUCTS = {
    "struct {}": "",
    "container.InspectResponse":
        "+*container.ContainerJSONBase;Mounts []container.MountPoint;Config *container.Config;"
        "NetworkSettings *container.NetworkSettings;ImageManifestDescriptor *v1.Descriptor,o",
    "container.ContainerJSONBase":
        "ID=Id string;Created string;Path string;Args []string;State *container.State;Image string;"
        "ResolvConfPath string;HostnamePath string;HostsPath string;LogPath string;Name string;RestartCount int;"
        "Driver string;Platform string;MountLabel string;ProcessLabel string;AppArmorProfile string;ExecIDs []string;"
        "HostConfig *container.HostConfig;GraphDriver storage.DriverData;SizeRw *int64,o;SizeRootFs *int64,o",
    "container.State":
        "Status container.ContainerState;Running bool;Paused bool;Restarting bool;OOMKilled bool;Dead bool;Pid int;"
        "ExitCode int;Error string;StartedAt string;FinishedAt string;Health *container.Health,o",
    "container.Health":
        "Status container.HealthStatus;FailingStreak int;Log []*container.HealthcheckResult",
    "container.HealthcheckResult": "Start time.Time;End time.Time;ExitCode int;Output string",
    "container.MountPoint":
        "Type mount.Type,o;Name string,o;Source string;Destination string;Driver string,o;Mode string;RW bool;"
        "Propagation mount.Propagation",
    "container.Config":
        "Hostname string;Domainname string;User string;AttachStdin bool;AttachStdout bool;AttachStderr bool;"
        "ExposedPorts nat.PortSet,o;Tty bool;OpenStdin bool;StdinOnce bool;Env []string;Cmd strslice.StrSlice;"
        "Healthcheck *v1.HealthcheckConfig,o;ArgsEscaped bool,o;Image string;Volumes map[string]struct {};"
        "WorkingDir string;Entrypoint strslice.StrSlice;NetworkDisabled bool,o;MacAddress string,o;OnBuild []string;"
        "Labels map[string]string;StopSignal string,o;StopTimeout *int,o;Shell strslice.StrSlice,o",
    "v1.HealthcheckConfig":
        "Test []string,o;Interval time.Duration,o;Timeout time.Duration,o;StartPeriod time.Duration,o;"
        "StartInterval time.Duration,o;Retries int,o",
    "container.HostConfig":
        "Binds []string;ContainerIDFile string;LogConfig container.LogConfig;NetworkMode container.NetworkMode;"
        "PortBindings nat.PortMap;RestartPolicy container.RestartPolicy;AutoRemove bool;VolumeDriver string;"
        "VolumesFrom []string;ConsoleSize [2]uint;Annotations map[string]string,o;CapAdd strslice.StrSlice;"
        "CapDrop strslice.StrSlice;CgroupnsMode container.CgroupnsMode;DNS=Dns []string;DNSOptions=DnsOptions []string;"
        "DNSSearch=DnsSearch []string;ExtraHosts []string;GroupAdd []string;IpcMode container.IpcMode;"
        "Cgroup container.CgroupSpec;Links []string;OomScoreAdj int;PidMode container.PidMode;Privileged bool;"
        "PublishAllPorts bool;ReadonlyRootfs bool;SecurityOpt []string;StorageOpt map[string]string,o;"
        "Tmpfs map[string]string,o;UTSMode container.UTSMode;UsernsMode container.UsernsMode;ShmSize int64;"
        "Sysctls map[string]string,o;Runtime string,o;Isolation container.Isolation;+container.Resources;"
        "Mounts []mount.Mount,o;MaskedPaths []string;ReadonlyPaths []string;Init *bool,o",
    "container.LogConfig": "Type string;Config map[string]string",
    "container.RestartPolicy": "Name container.RestartPolicyMode;MaximumRetryCount int",
    "container.Resources":
        "CPUShares=CpuShares int64;Memory int64;NanoCPUs=NanoCpus int64;CgroupParent string;BlkioWeight uint16;"
        "BlkioWeightDevice []*blkiodev.WeightDevice;BlkioDeviceReadBps []*blkiodev.ThrottleDevice;"
        "BlkioDeviceWriteBps []*blkiodev.ThrottleDevice;BlkioDeviceReadIOps []*blkiodev.ThrottleDevice;"
        "BlkioDeviceWriteIOps []*blkiodev.ThrottleDevice;CPUPeriod=CpuPeriod int64;CPUQuota=CpuQuota int64;"
        "CPURealtimePeriod=CpuRealtimePeriod int64;CPURealtimeRuntime=CpuRealtimeRuntime int64;CpusetCpus string;"
        "CpusetMems string;Devices []container.DeviceMapping;DeviceCgroupRules []string;"
        "DeviceRequests []container.DeviceRequest;KernelMemory int64,o;KernelMemoryTCP int64,o;"
        "MemoryReservation int64;MemorySwap int64;MemorySwappiness *int64;OomKillDisable *bool;PidsLimit *int64;"
        "Ulimits []*units.Ulimit;CPUCount=CpuCount int64;CPUPercent=CpuPercent int64;IOMaximumIOps uint64;"
        "IOMaximumBandwidth uint64",
    "blkiodev.WeightDevice": "Path string;Weight uint16",
    "blkiodev.ThrottleDevice": "Path string;Rate uint64",
    "units.Ulimit": "Name string;Hard int64;Soft int64",
    "container.DeviceMapping": "PathOnHost string;PathInContainer string;CgroupPermissions string",
    "container.DeviceRequest":
        "Driver string;Count int;DeviceIDs []string;Capabilities [][]string;Options map[string]string",
    "mount.Mount":
        "Type mount.Type,o;Source string,o;Target string,o;ReadOnly bool,o;Consistency mount.Consistency,o;"
        "BindOptions *mount.BindOptions,o;VolumeOptions *mount.VolumeOptions,o;ImageOptions *mount.ImageOptions,o;"
        "TmpfsOptions *mount.TmpfsOptions,o;ClusterOptions *mount.ClusterOptions,o",
    "mount.BindOptions":
        "Propagation mount.Propagation,o;NonRecursive bool,o;CreateMountpoint bool,o;ReadOnlyNonRecursive bool,o;"
        "ReadOnlyForceRecursive bool,o",
    "mount.VolumeOptions":
        "NoCopy bool,o;Labels map[string]string,o;Subpath string,o;DriverConfig *mount.Driver,o",
    "mount.Driver": "Name string,o;Options map[string]string,o",
    "mount.ImageOptions": "Subpath string,o",
    "mount.TmpfsOptions": "SizeBytes int64,o;Mode os.FileMode,o;Options [][]string,o",
    "mount.ClusterOptions": "",
    "nat.PortBinding": "HostIP=HostIp string;HostPort string",
    "container.NetworkSettings":
        "+container.NetworkSettingsBase;+container.DefaultNetworkSettings;"
        "Networks map[string]*network.EndpointSettings",
    "container.NetworkSettingsBase":
        "Bridge string;SandboxID string;SandboxKey string;Ports nat.PortMap;HairpinMode bool;"
        "LinkLocalIPv6Address string;LinkLocalIPv6PrefixLen int;SecondaryIPAddresses []network.Address;"
        "SecondaryIPv6Addresses []network.Address",
    "container.DefaultNetworkSettings":
        "EndpointID string;Gateway string;GlobalIPv6Address string;GlobalIPv6PrefixLen int;IPAddress string;"
        "IPPrefixLen int;IPv6Gateway string;MacAddress string",
    "network.Address": "Addr string;PrefixLen int",
    "network.EndpointSettings":
        "IPAMConfig *network.EndpointIPAMConfig;Links []string;Aliases []string;MacAddress string;"
        "DriverOpts map[string]string;GwPriority int;NetworkID string;EndpointID string;Gateway string;"
        "IPAddress string;IPPrefixLen int;IPv6Gateway string;GlobalIPv6Address string;GlobalIPv6PrefixLen int;"
        "DNSNames []string",
    "network.EndpointIPAMConfig": "IPv4Address string,o;IPv6Address string,o;LinkLocalIPs []string,o",
    "storage.DriverData": "Data map[string]string;Name string",
    "v1.Descriptor":
        "MediaType=mediaType string;Digest=digest digest.Digest;Size=size int64;URLs=urls []string,o;"
        "Annotations=annotations map[string]string,o;Data=data []uint8,o;Platform=platform *v1.Platform,o;"
        "ArtifactType=artifactType string,o",
    "v1.Platform":
        "Architecture=architecture string;OS=os string;OSVersion=os.version string,o;"
        "OSFeatures=os.features []string,o;Variant=variant string,o",
    "image.InspectResponse":
        "ID=Id string;RepoTags []string;RepoDigests []string;Parent string;Comment string;Created string,o;"
        "Container string,o;ContainerConfig *container.Config,o;DockerVersion string;Author string;"
        "Config *v1.DockerOCIImageConfig;Architecture string;Variant string,o;Os string;OsVersion string,o;Size int64;"
        "VirtualSize int64,o;GraphDriver storage.DriverData;RootFS image.RootFS;Metadata image.Metadata;"
        "Descriptor *v1.Descriptor,o;Manifests []image.ManifestSummary,o",
    "image.RootFS": "Type string,o;Layers []string,o",
    "image.Metadata": "LastTagTime time.Time,o",
    "image.ManifestSummary": "ID string;Available bool;Kind image.ManifestKind",
    "v1.DockerOCIImageConfig": "+v1.ImageConfig;+v1.DockerOCIImageConfigExt",
    "v1.ImageConfig":
        "User string,o;ExposedPorts map[string]struct {},o;Env []string,o;Entrypoint []string,o;Cmd []string,o;"
        "Volumes map[string]struct {},o;WorkingDir string,o;Labels map[string]string,o;StopSignal string,o;"
        "ArgsEscaped bool,o",
    "v1.DockerOCIImageConfigExt": "Healthcheck *v1.HealthcheckConfig,o;OnBuild []string,o;Shell []string,o",
    "network.Inspect":
        "Name string;ID=Id string;Created time.Time;Scope string;Driver string;EnableIPv4 bool;EnableIPv6 bool;"
        "IPAM network.IPAM;Internal bool;Attachable bool;Ingress bool;ConfigFrom network.ConfigReference;"
        "ConfigOnly bool;Containers map[string]network.EndpointResource;Options map[string]string;"
        "Labels map[string]string;Peers []network.PeerInfo,o;Services map[string]network.ServiceInfo,o",
    "network.IPAM": "Driver string;Options map[string]string;Config []network.IPAMConfig",
    "network.IPAMConfig":
        "Subnet string,o;IPRange string,o;Gateway string,o;AuxAddress=AuxiliaryAddresses map[string]string,o",
    "network.ConfigReference": "Network string",
    "network.EndpointResource":
        "Name string;EndpointID string;MacAddress string;IPv4Address string;IPv6Address string",
    "network.PeerInfo": "Name string;IP string",
    "network.ServiceInfo": "VIP string;Ports []string;LocalLBIndex int",
    "volume.Volume":
        "ClusterVolume *volume.ClusterVolume,o;CreatedAt string,o;Driver string;Labels map[string]string;"
        "Mountpoint string;Name string;Options map[string]string;Scope string;Status map[string]interface {},o;"
        "UsageData *volume.UsageData,o",
    "volume.ClusterVolume": "ID string",
    "volume.UsageData": "RefCount int64;Size int64",
    "events.Message":
        "Status=status string,o;ID=id string,o;From=from string,o;Type events.Type;Action events.Action;"
        "Actor events.Actor;Scope=scope string,o;Time=time int64,o;TimeNano=timeNano int64,o",
    "events.Actor": "ID string;Attributes map[string]string",
    "formatter.diskUsageContext":
        "Images []*formatter.imageContext;Containers []*formatter.ContainerContext;"
        "Volumes []*formatter.volumeContext;BuildCache []*formatter.buildCacheContext",
    "system.versionInfo": "Client system.clientVersion;Server *types.Version",
    "system.platformInfo": "Name string,o",
    "system.clientVersion":
        "Platform *system.platformInfo,o;Version string,o;APIVersion=ApiVersion string,o;DefaultAPIVersion string,o;"
        "GitCommit string,o;GoVersion string,o;Os string,o;Arch string,o;BuildTime string,o;Context string",
    "struct { Name string }": "Name string",
    "types.Version":
        "Platform struct { Name string },o;Components []types.ComponentVersion,o;Version string;"
        "APIVersion=ApiVersion string;MinAPIVersion string,o;GitCommit string;GoVersion string;Os string;Arch string;"
        "KernelVersion string,o;Experimental bool,o;BuildTime string,o",
    "types.ComponentVersion": "Name string;Version string;Details map[string]string,o",
    "system.dockerInfo":
        "+*system.Info;ServerErrors []string,o;UserName string,o;ClientInfo *system.clientInfo,o;"
        "ClientErrors []string,o",
    "system.clientInfo": "Debug bool;+system.clientVersion;Plugins []manager.Plugin;Warnings []string",
    "manager.Plugin": "SchemaVersion string,o;Vendor string,o;Version string,o;ShortDescription string,o;Name string,o",
    "system.Info":
        "ID string;Containers int;ContainersRunning int;ContainersPaused int;ContainersStopped int;Images int;"
        "Driver string;DriverStatus [][2]string;SystemStatus [][2]string,o;Plugins system.PluginsInfo;"
        "MemoryLimit bool;SwapLimit bool;KernelMemory bool,o;KernelMemoryTCP bool,o;CPUCfsPeriod=CpuCfsPeriod bool;"
        "CPUCfsQuota=CpuCfsQuota bool;CPUShares bool;CPUSet bool;PidsLimit bool;IPv4Forwarding bool;Debug bool;"
        "NFd int;OomKillDisable bool;NGoroutines int;SystemTime string;LoggingDriver string;CgroupDriver string;"
        "CgroupVersion string,o;NEventsListener int;KernelVersion string;OperatingSystem string;OSVersion string;"
        "OSType string;Architecture string;IndexServerAddress string;RegistryConfig *registry.ServiceConfig;NCPU int;"
        "MemTotal int64;GenericResources []swarm.GenericResource;DockerRootDir string;HTTPProxy=HttpProxy string;"
        "HTTPSProxy=HttpsProxy string;NoProxy string;Name string;Labels []string;ExperimentalBuild bool;"
        "ServerVersion string;Runtimes map[string]system.RuntimeWithStatus;DefaultRuntime string;Swarm swarm.Info;"
        "LiveRestoreEnabled bool;Isolation container.Isolation;InitBinary string;ContainerdCommit system.Commit;"
        "RuncCommit system.Commit;InitCommit system.Commit;SecurityOptions []string;ProductLicense string,o;"
        "DefaultAddressPools []system.NetworkAddressPool,o;FirewallBackend *system.FirewallInfo,o;CDISpecDirs []string;"
        "DiscoveredDevices []system.DeviceInfo,o;Containerd *system.ContainerdInfo,o;Warnings []string",
    "system.PluginsInfo": "Volume []string;Network []string;Authorization []string;Log []string",
    "registry.ServiceConfig":
        "AllowNondistributableArtifactsCIDRs []*registry.NetIPNet,o;"
        "AllowNondistributableArtifactsHostnames []string,o;InsecureRegistryCIDRs []*registry.NetIPNet;"
        "IndexConfigs map[string]*registry.IndexInfo;Mirrors []string;ExtraFields map[string]interface {},o",
    "registry.IndexInfo": "Name string;Mirrors []string;Secure bool;Official bool",
    "swarm.GenericResource": "",
    "system.RuntimeWithStatus": "+system.Runtime;Status=status map[string]string,o",
    "system.Runtime":
        "Path=path string,o;Args=runtimeArgs []string,o;Type=runtimeType string,o;"
        "Options=options map[string]interface {},o",
    "swarm.Info":
        "NodeID string;NodeAddr string;LocalNodeState swarm.LocalNodeState;ControlAvailable bool;Error string;"
        "RemoteManagers []swarm.Peer;Nodes int,o;Managers int,o;Cluster *swarm.ClusterInfo,o;Warnings []string,o",
    "swarm.Peer": "NodeID string;Addr string",
    "swarm.ClusterInfo": "ID string",
    "system.Commit": "ID string;Expected string",
    "system.NetworkAddressPool": "Base string;Size int",
    "system.FirewallInfo": "Driver string;Info [][2]string,o",
    "system.DeviceInfo": "Source string;ID string",
    "system.ContainerdInfo": "Address string,o;Namespaces system.ContainerdNamespaces",
    "system.ContainerdNamespaces": "Containers string;Plugins string",
}
