/** A container runtime by its CRI. Every call says in its error which call it was, and of which runtime. */
import { HeddleError } from '../lib/errors.ts';
import { WireError } from '../lib/protobuf.ts';
import { decode, encode } from './codec.ts';
import { DEFAULT_ENDPOINT, socketOf } from './endpoint.ts';
import { type Channel, GrpcError, openChannel, Status } from './grpc.ts';
import type {
  Condition,
  Container,
  ContainerConfig,
  ContainerStatus,
  ExecResult,
  Image,
  PodSandbox,
  PodSandboxConfig,
  Version,
} from './types.ts';

type Labels = Readonly<Record<string, string>>;

export interface Cri {
  readonly endpoint: string;
  version(signal?: AbortSignal): Promise<Version>;
  conditions(): Promise<Condition[]>;
  /** Its id. `handler`: the runtime's name for a way to run it; empty: its usual one. */
  runPodSandbox(config: PodSandboxConfig, handler: string): Promise<string>;
  stopPodSandbox(id: string): Promise<void>;
  removePodSandbox(id: string): Promise<void>;
  /** Undefined where there is none. */
  podSandbox(id: string): Promise<PodSandbox | undefined>;
  listPodSandbox(labels: Labels): Promise<PodSandbox[]>;
  createContainer(sandbox: string, config: ContainerConfig, of: PodSandboxConfig): Promise<string>;
  startContainer(id: string): Promise<void>;
  /** Resolves when it has ended; killed when `seconds` are over. */
  stopContainer(id: string, seconds: number, signal?: AbortSignal): Promise<void>;
  removeContainer(id: string): Promise<void>;
  listContainers(labels: Labels): Promise<Container[]>;
  /** With what the runtime tells beside it, JSON by name. */
  containerStatus(id: string): Promise<{ status: ContainerStatus; info: Labels }>;
  execSync(id: string, argv: readonly string[], timeoutMs: number, signal?: AbortSignal): Promise<ExecResult>;
  /** The URL of its streams, of one use and of a minute. */
  attach(id: string, streams: { stdin: boolean; tty: boolean }): Promise<string>;
  /** Undefined where it has none of that name. */
  image(image: string): Promise<Image | undefined>;
  /** Its id. */
  pullImage(image: string, of: PodSandboxConfig, signal?: AbortSignal): Promise<string>;
  reopenContainerLog(id: string): Promise<void>;
  close(): void;
}

/** It answered that it did not do it. */
export class CriFailure extends HeddleError {
  /** Of gRPC. */
  readonly status: number;

  constructor(status: number, message: string, cause: unknown) {
    super('CriFailed', message, { hint: 'the log of the container runtime may say more', cause });
    this.status = status;
  }
}

export const isNotFound = (error: unknown): boolean =>
  error instanceof CriFailure && error.status === Status.notFound;

/** Milliseconds: a kubelet's, for calls, for what waits for a network, and for images. */
const CALL_MS = 120_000;
const SANDBOX_MS = 240_000;
const PULL_MS = 900_000;
const LOOK_MS = 10_000;

interface Ask {
  /** Message of the answer. */
  gives?: string;
  timeoutMs?: number;
  signal?: AbortSignal | undefined;
}

export function openCri(
  endpoint: string = DEFAULT_ENDPOINT,
  channel: Channel = openChannel(socketOf(endpoint)),
): Cri {
  async function ask(method: string, takes: string, request: object, options: Ask = {}) {
    const { gives = 'Empty', timeoutMs = CALL_MS, signal } = options;
    const service = method.includes('Image') ? 'ImageService' : 'RuntimeService';
    try {
      const bytes = encode(takes, request);
      return decode(
        gives,
        await channel.call(`/runtime.v1.${service}/${method}`, bytes, { timeoutMs, signal }),
      );
    } catch (error) {
      signal?.throwIfAborted();
      throw failed(endpoint, method, error);
    }
  }
  const onContainer = (method: string, id: string, options?: Ask) =>
    ask(method, 'ContainerId', { containerId: id }, options);
  const onSandbox = async (method: string, id: string) =>
    void (await ask(method, 'PodSandboxId', { podSandboxId: id }, { timeoutMs: SANDBOX_MS }));

  return {
    endpoint,
    version: async (signal) =>
      (await ask(
        'Version',
        'VersionRequest',
        { version: 'v1' },
        { gives: 'VersionResponse', timeoutMs: LOOK_MS, signal },
      )) as unknown as Version,
    async conditions() {
      const given = await ask('Status', 'StatusRequest', {}, { gives: 'StatusResponse', timeoutMs: LOOK_MS });
      return (given['status'] as { conditions: Condition[] } | undefined)?.conditions ?? [];
    },
    async runPodSandbox(config, runtimeHandler) {
      const options = { gives: 'PodSandboxId', timeoutMs: SANDBOX_MS };
      const request = { config, runtimeHandler };
      return String((await ask('RunPodSandbox', 'RunPodSandboxRequest', request, options))['podSandboxId']);
    },
    stopPodSandbox: (id) => onSandbox('StopPodSandbox', id),
    removePodSandbox: (id) => onSandbox('RemovePodSandbox', id),
    async podSandbox(id) {
      const options = { gives: 'PodSandboxStatusResponse' };
      const given = await ask(
        'PodSandboxStatus',
        'PodSandboxStatusRequest',
        { podSandboxId: id },
        options,
      ).catch(ignoreNotFound);
      return given?.['status'] as PodSandbox | undefined;
    },
    async listPodSandbox(labelSelector) {
      const request = { filter: { labelSelector } };
      const given = await ask('ListPodSandbox', 'ListPodSandboxRequest', request, {
        gives: 'ListPodSandboxResponse',
      });
      const all = given['items'] as (PodSandbox & { labels?: Labels })[];
      // What is found may be removed: the filter's word alone is not enough.
      return all.filter(({ labels }) =>
        Object.entries(labelSelector).every(([key, value]) => labels?.[key] === value),
      );
    },
    async createContainer(podSandboxId, config, sandboxConfig) {
      const request = { podSandboxId, config, sandboxConfig };
      const options = { gives: 'ContainerId' };
      return String(
        (await ask('CreateContainer', 'CreateContainerRequest', request, options))['containerId'],
      );
    },
    startContainer: async (id) => void (await onContainer('StartContainer', id)),
    async stopContainer(containerId, seconds, signal) {
      const timeout = Math.ceil(seconds);
      const options = { timeoutMs: seconds * 1000 + CALL_MS, signal };
      await ask('StopContainer', 'StopContainerRequest', { containerId, timeout }, options);
    },
    removeContainer: async (id) => void (await onContainer('RemoveContainer', id)),
    async listContainers(labelSelector) {
      const request = { filter: { labelSelector } };
      const given = await ask('ListContainers', 'ListContainersRequest', request, {
        gives: 'ListContainersResponse',
      });
      return given['containers'] as Container[];
    },
    async containerStatus(containerId) {
      const options = { gives: 'ContainerStatusResponse' };
      const request = { containerId, verbose: true };
      const { status, info } = await ask('ContainerStatus', 'ContainerStatusRequest', request, options);
      return { status: status as ContainerStatus, info: info as Labels };
    },
    async execSync(containerId, cmd, timeoutMs, signal) {
      const request = { containerId, cmd, timeout: Math.ceil(timeoutMs / 1000) };
      const options = { gives: 'ExecSyncResponse', timeoutMs: timeoutMs + LOOK_MS, signal };
      return (await ask('ExecSync', 'ExecSyncRequest', request, options)) as unknown as ExecResult;
    },
    async attach(containerId, { stdin, tty }) {
      const request = { containerId, stdin, tty, stdout: true, stderr: !tty };
      return String((await ask('Attach', 'AttachRequest', request, { gives: 'AttachResponse' }))['url']);
    },
    async image(image) {
      const options = { gives: 'ImageStatusResponse' };
      const given = await ask('ImageStatus', 'ImageStatusRequest', { image: { image } }, options);
      return given['image'] as Image | undefined;
    },
    async pullImage(image, sandboxConfig, signal) {
      const request = { image: { image }, sandboxConfig };
      const options = { gives: 'PullImageResponse', timeoutMs: PULL_MS, signal };
      return String((await ask('PullImage', 'PullImageRequest', request, options))['imageRef']);
    },
    reopenContainerLog: async (id) => void (await onContainer('ReopenContainerLog', id)),
    close: () => channel.close(),
  };
}

function ignoreNotFound(error: unknown): undefined {
  if (!isNotFound(error)) throw error;
  return undefined;
}

function failed(endpoint: string, method: string, error: unknown): unknown {
  const cause = error;
  if (error instanceof WireError)
    return new HeddleError(
      'CriUnsupported',
      `${method} of ${endpoint}: the answer is no message of the CRI`,
      {
        hint: 'is it the socket of a container runtime?',
        cause,
      },
    );
  if (!(error instanceof GrpcError)) return error;
  const { status, message } = error;
  if (status === Status.unavailable || (status === Status.deadlineExceeded && method === 'Version'))
    return new HeddleError('CriUnavailable', `no container runtime answers at ${endpoint}: ${message}`, {
      hint: 'start containerd, or name its socket: heddle up --cri-endpoint unix:///…',
    });
  if (status === Status.unimplemented)
    return new HeddleError('CriUnsupported', `${endpoint} does not speak runtime.v1 of the CRI: ${message}`, {
      hint: 'containerd 1.6 or later does, unless its configuration has "cri" among disabled_plugins',
    });
  return new CriFailure(status, `${method}: ${message}`, cause);
}
