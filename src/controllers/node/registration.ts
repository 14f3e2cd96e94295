/** Makes the node known to the API server, and says every ten seconds that its agent lives. */
import { NODE } from '../../api/kinds.ts';
import type { Node } from '../../api/types.ts';
import { ApiError } from '../../client/api-error.ts';
import type { Client } from '../../client/types.ts';
import type { Clock } from '../../lib/clock.ts';
import { errorText } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import type { NodeInfo } from '../../lib/machine.ts';

export interface RegistrationDeps {
  readonly client: Client;
  readonly node: string;
  readonly addresses: readonly string[];
  /** Of its own and of its place, beside those that every node has. */
  readonly labels?: Readonly<Record<string, string>>;
  /** What the machine is, as `kubectl get nodes -o wide` shows it. */
  readonly info: NodeInfo;
  /** Quantities by name of the resource; undefined while it is not known. */
  room(): { readonly capacity: Quantities; readonly allocatable: Quantities } | undefined;
  /** Beside Ready: what the agent has found out of its node. */
  conditions?(): readonly NodeFinding[];
  /** Why the node is not ready, or undefined if it is. */
  notReady(): string | undefined;
  readonly clock: Clock;
  readonly log: Log;
}

type Quantities = Readonly<Record<string, string>>;

/** A condition of the node's object. */
export interface NodeFinding {
  readonly type: string;
  readonly status: string;
  readonly reason: string;
  readonly message: string;
}

/** Milliseconds between heartbeats; the node lifecycle controller waits for four of them. */
const HEARTBEAT = 10_000;
/** Milliseconds between looks at whether the node has become ready or ceased to be. */
const LOOK = 200;

function labelsOf({ node, info, labels }: RegistrationDeps): Record<string, string> {
  return {
    ...labels,
    'kubernetes.io/hostname': node,
    'kubernetes.io/os': 'linux',
    'kubernetes.io/arch': info.architecture,
  };
}

const nodeObject = (deps: RegistrationDeps): Node => ({
  apiVersion: 'v1',
  kind: 'Node',
  metadata: { name: deps.node, labels: labelsOf(deps) },
  spec: {},
});

/** Ready is the last, as a kubelet has it. */
function findings(deps: RegistrationDeps): NodeFinding[] {
  const why = deps.notReady();
  const well = why === undefined;
  return [
    {
      type: 'NetworkUnavailable',
      status: well ? 'False' : 'True',
      reason: well ? 'NetworkReady' : 'NetworkNotReady',
      message: why ?? 'networks of pods can be made',
    },
    ...(deps.conditions?.() ?? []),
    {
      type: 'Ready',
      status: well ? 'True' : 'False',
      reason: well ? 'KubeletReady' : 'KubeletNotReady',
      message: well ? 'the agent has programmed the data path' : why,
    },
  ];
}

function conditionsOf(deps: RegistrationDeps, before: Node | undefined) {
  const now = new Date(deps.clock.now()).toISOString().replace(/\.\d+Z$/, 'Z');
  return findings(deps).map((one) => {
    const old = before?.status?.conditions?.find(({ type }) => type === one.type);
    return {
      ...one,
      lastHeartbeatTime: now,
      lastTransitionTime: old?.status === one.status ? (old.lastTransitionTime ?? now) : now,
    };
  });
}

function statusPatch(deps: RegistrationDeps, before: Node | undefined) {
  const { info, addresses, node } = deps;
  return {
    status: {
      addresses: [
        ...addresses.map((address) => ({ type: 'InternalIP', address })),
        { type: 'Hostname', address: node },
      ],
      conditions: conditionsOf(deps, before),
      ...roomOf(deps, before),
      nodeInfo: {
        architecture: info.architecture,
        bootID: info.bootID,
        containerRuntimeVersion: `heddle://${info.version}`,
        kernelVersion: info.kernelVersion,
        kubeProxyVersion: '',
        kubeletVersion: `v1.35.0+heddle-${info.version}`,
        machineID: info.machineID,
        operatingSystem: 'linux',
        osImage: info.osImage,
        systemUUID: info.systemUUID,
      },
    },
  };
}

/** What others have told of the node (extended resources) pods may ask for too, as with a kubelet. */
function roomOf(deps: RegistrationDeps, before: Node | undefined) {
  const room = deps.room();
  if (!room) return {};
  const others = Object.entries(before?.status?.capacity ?? {}).filter(
    ([name]) => name.includes('/') && !Object.hasOwn(room.capacity, name),
  );
  return {
    capacity: room.capacity,
    allocatable: { ...Object.fromEntries(others), ...room.allocatable },
  };
}

async function ensureNode(deps: RegistrationDeps): Promise<Node> {
  try {
    return await labelled(deps, await deps.client.get(NODE, deps.node));
  } catch (error) {
    if (!(error instanceof ApiError) || error.code !== 404) throw error;
  }
  return deps.client.create(NODE, nodeObject(deps));
}

/** A node that came back may stand elsewhere. Labels of others stay. */
async function labelled(deps: RegistrationDeps, node: Node): Promise<Node> {
  const labels = labelsOf(deps);
  const has = node.metadata.labels ?? {};
  if (Object.entries(labels).every(([key, value]) => has[key] === value)) return node;
  return deps.client.patch(NODE, deps.node, undefined, { metadata: { labels } });
}

async function beat(deps: RegistrationDeps): Promise<void> {
  const before = await ensureNode(deps);
  // Not a strategic merge: that merges addresses by their type, and a node has two of type InternalIP.
  await deps.client.patch(NODE, deps.node, undefined, statusPatch(deps, before), { subresource: 'status' });
}

/** Until the signal aborts. What the API server does not take is tried again; the node works on meanwhile. */
export async function runRegistration(deps: RegistrationDeps, signal: AbortSignal): Promise<void> {
  let said = '';
  let last = Number.NEGATIVE_INFINITY;
  while (!signal.aborted) {
    const why = JSON.stringify([findings(deps), deps.room()]);
    if (why !== said || deps.clock.monotonic() - last >= HEARTBEAT) {
      try {
        await beat(deps);
        [said, last] = [why, deps.clock.monotonic()];
      } catch (error) {
        deps.log.warn('the node could not say that it lives', { error: errorText(error) });
      }
    }
    await deps.clock.sleep(LOOK, signal).catch(() => {});
  }
}
