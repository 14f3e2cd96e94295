/**
 * As much of the messages of the CRI (runtime.v1) as a pod host needs. Each line is `number name type`: s text, i number,
 * b flag, y bytes, t nanoseconds since 1970 (milliseconds here), m map of texts, or another message; [] for lists.
 * What a newer runtime says beside it is passed over; a field that is left out is its zero.
 */
const SOURCE: Readonly<Record<string, string>> = {
  VersionRequest: '1 version s',
  VersionResponse: '1 version s, 2 runtimeName s, 3 runtimeVersion s, 4 runtimeApiVersion s',
  StatusRequest: '',
  StatusResponse: '1 status RuntimeStatus',
  RuntimeStatus: '1 conditions []RuntimeCondition',
  RuntimeCondition: '1 type s, 2 status b, 3 reason s, 4 message s',

  RunPodSandboxRequest: '1 config PodSandboxConfig, 2 runtimeHandler s',
  PodSandboxId: '1 podSandboxId s',
  PodSandboxStatusRequest: '1 podSandboxId s, 2 verbose b',
  PodSandboxStatusResponse: '1 status PodSandboxStatus',
  PodSandboxStatus: '1 id s, 2 metadata PodSandboxMetadata, 3 state i, 4 createdAt t',
  ListPodSandboxRequest: '1 filter PodSandboxFilter',
  PodSandboxFilter: '3 labelSelector m',
  ListPodSandboxResponse: '1 items []PodSandbox',
  PodSandbox: '1 id s, 2 metadata PodSandboxMetadata, 3 state i, 4 createdAt t, 5 labels m',
  PodSandboxMetadata: '1 name s, 2 uid s, 3 namespace s, 4 attempt i',
  PodSandboxConfig: `1 metadata PodSandboxMetadata, 2 hostname s, 3 logDirectory s, 4 dnsConfig DNSConfig, 6 labels m,
    7 annotations m, 8 linux LinuxPodSandboxConfig`,
  DNSConfig: '1 servers []s, 2 searches []s, 3 options []s',
  LinuxPodSandboxConfig: '1 cgroupParent s, 2 securityContext LinuxSandboxSecurityContext, 3 sysctls m',
  LinuxSandboxSecurityContext:
    '1 namespaceOptions NamespaceOption, 6 privileged b, 9 seccomp SecurityProfile',
  NamespaceOption: '1 network i, 2 pid i, 3 ipc i',
  SecurityProfile: '1 profileType i, 2 localhostRef s',

  CreateContainerRequest: '1 podSandboxId s, 2 config ContainerConfig, 3 sandboxConfig PodSandboxConfig',
  ContainerId: '1 containerId s',
  StopContainerRequest: '1 containerId s, 2 timeout i',
  ListContainersRequest: '1 filter ContainerFilter',
  ContainerFilter: '4 labelSelector m',
  ListContainersResponse: '1 containers []Container',
  Container: '1 id s, 2 podSandboxId s, 3 metadata ContainerMetadata, 6 state i, 8 labels m',
  ContainerMetadata: '1 name s, 2 attempt i',
  ContainerStatusRequest: '1 containerId s, 2 verbose b',
  ContainerStatusResponse: '1 status ContainerStatus, 2 info m',
  ContainerStatus: `1 id s, 2 metadata ContainerMetadata, 3 state i, 5 startedAt t, 6 finishedAt t, 7 exitCode i,
    9 imageRef s, 10 reason s, 11 message s, 15 logPath s`,
  ContainerConfig: `1 metadata ContainerMetadata, 2 image ImageSpec, 3 command []s, 4 args []s, 5 workingDir s,
    6 envs []KeyValue, 7 mounts []Mount, 9 labels m, 10 annotations m, 11 logPath s, 12 stdin b, 13 stdinOnce b,
    14 tty b, 15 linux LinuxContainerConfig`,
  KeyValue: '1 key s, 2 value s',
  Mount: '1 containerPath s, 2 hostPath s, 3 readonly b',
  LinuxContainerConfig:
    '1 resources LinuxContainerResources, 2 securityContext LinuxContainerSecurityContext',
  LinuxContainerResources:
    '1 cpuPeriod i, 2 cpuQuota i, 3 cpuShares i, 4 memoryLimitInBytes i, 5 oomScoreAdj i',
  LinuxContainerSecurityContext: `1 capabilities Capability, 2 privileged b, 3 namespaceOptions NamespaceOption, 5 runAsUser Int64Value, 6 runAsUsername s,
    7 readonlyRootfs b, 8 supplementalGroups []i, 11 noNewPrivs b, 12 runAsGroup Int64Value, 13 maskedPaths []s,
    14 readonlyPaths []s, 15 seccomp SecurityProfile`,
  Capability: '1 addCapabilities []s, 2 dropCapabilities []s',
  Int64Value: '1 value i',
  ExecSyncRequest: '1 containerId s, 2 cmd []s, 3 timeout i',
  AttachRequest: '1 containerId s, 2 stdin b, 3 tty b, 4 stdout b, 5 stderr b',
  AttachResponse: '1 url s',
  ExecSyncResponse: '1 stdout y, 2 stderr y, 3 exitCode i',

  ImageStatusRequest: '1 image ImageSpec',
  ImageStatusResponse: '1 image Image',
  ImageSpec: '1 image s',
  Image: '1 id s, 5 uid Int64Value, 6 username s',
  PullImageRequest: '1 image ImageSpec, 3 sandboxConfig PodSandboxConfig',
  PullImageResponse: '1 imageRef s',
  Empty: '',
};

export interface FieldSpec {
  readonly number: number;
  readonly name: string;
  /** One of the letters, or the name of a message. */
  readonly type: string;
  readonly list: boolean;
}

const parsed = new Map<string, readonly FieldSpec[]>();

/** @throws Error for a name that the table has not: a mistake of ours */
export function fieldsOf(message: string): readonly FieldSpec[] {
  const known = parsed.get(message);
  if (known) return known;
  const source = SOURCE[message];
  if (source === undefined) throw new Error(`no message ${message}`);
  const fields = source
    .split(',')
    .map((line) => line.trim())
    .filter((line) => line !== '')
    .map(parseField);
  parsed.set(message, fields);
  return fields;
}

function parseField(line: string): FieldSpec {
  const [number = '', name = '', type = ''] = line.split(/\s+/);
  const list = type.startsWith('[]');
  return { number: Number(number), name, type: list ? type.slice(2) : type, list };
}
