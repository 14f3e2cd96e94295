/** Messages of the CRI as objects; see messages.ts. Asking, what is left out is its zero; answers are whole. */
type Texts = Readonly<Record<string, string>>;

export interface Version {
  version: string;
  runtimeName: string;
  runtimeVersion: string;
  runtimeApiVersion: string;
}

export interface Condition {
  type: string;
  status: boolean;
  reason: string;
  message: string;
}

export const NamespaceMode = { pod: 0, container: 1, node: 2 } as const;
export const ProfileType = { runtimeDefault: 0, unconfined: 1, localhost: 2 } as const;
export const SandboxState = { ready: 0, notReady: 1 } as const;
export const ContainerState = { created: 0, running: 1, exited: 2, unknown: 3 } as const;

/** Of system calls. */
export interface SecurityProfile {
  profileType: number;
  /** Path of the file, of one of type `localhost`. */
  localhostRef?: string;
}

export interface NamespaceOption {
  network?: number;
  pid?: number;
  ipc?: number;
}

export interface PodSandboxConfig {
  metadata: { name: string; uid: string; namespace: string; attempt: number };
  hostname: string;
  logDirectory: string;
  dnsConfig?: { servers: readonly string[]; searches: readonly string[]; options: readonly string[] };
  labels: Texts;
  annotations?: Texts;
  linux: {
    cgroupParent: string;
    securityContext: { namespaceOptions: NamespaceOption; privileged: boolean; seccomp?: SecurityProfile };
    sysctls?: Texts;
  };
}

export interface PodSandbox {
  id: string;
  metadata?: { name: string; uid: string; namespace: string; attempt: number };
  state: number;
  /** Milliseconds since 1970. */
  createdAt: number;
}

export interface Mount {
  containerPath: string;
  hostPath: string;
  readonly: boolean;
}

export interface ContainerResources {
  cpuPeriod?: number;
  cpuQuota?: number;
  cpuShares?: number;
  memoryLimitInBytes?: number;
  oomScoreAdj?: number;
}

export interface ContainerSecurity {
  capabilities?: { addCapabilities: readonly string[]; dropCapabilities: readonly string[] };
  privileged: boolean;
  namespaceOptions: NamespaceOption;
  runAsUser?: { value: number };
  runAsGroup?: { value: number };
  runAsUsername?: string;
  readonlyRootfs?: boolean;
  supplementalGroups?: readonly number[];
  noNewPrivs?: boolean;
  maskedPaths?: readonly string[];
  readonlyPaths?: readonly string[];
  seccomp: SecurityProfile;
}

export interface ContainerConfig {
  metadata: { name: string; attempt: number };
  image: { image: string };
  command: readonly string[];
  args: readonly string[];
  workingDir?: string | undefined;
  envs: readonly { key: string; value: string }[];
  mounts: readonly Mount[];
  labels: Texts;
  annotations?: Texts;
  /** Below the sandbox's `logDirectory`. */
  logPath: string;
  stdin?: boolean;
  stdinOnce?: boolean;
  tty?: boolean;
  linux: { resources: ContainerResources; securityContext: ContainerSecurity };
}

export interface Container {
  id: string;
  podSandboxId: string;
  metadata?: { name: string; attempt: number };
  state: number;
  labels: Texts;
}

export interface ContainerStatus {
  id: string;
  metadata?: { name: string; attempt: number };
  state: number;
  /** Milliseconds since 1970; 0: not yet. */
  startedAt: number;
  finishedAt: number;
  exitCode: number;
  imageRef: string;
  reason: string;
  message: string;
  logPath: string;
}

export interface Image {
  id: string;
  /** Who its programs run as where nobody says; absent where it names somebody. */
  uid?: { value: number };
  username: string;
}

export interface ExecResult {
  stdout: Uint8Array;
  stderr: Uint8Array;
  exitCode: number;
}
