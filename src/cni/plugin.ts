/** What the plugin of type `heddle-cni` does, in the agent, with the node's address pools and namespace. */
import { existsSync } from 'node:fs';
import type { Allocation, Ipam } from '../ipam/ipam.ts';
import type { Log } from '../lib/log.ts';
import { isObject } from '../lib/json.ts';
import { closeNetns, type Netns } from '../kernel/netns.ts';
import { type Link, openRoute, type Route } from '../kernel/route.ts';
import { attach, type Ends, finish, GATEWAY_4, GATEWAY_6, hostPrefix } from './attach.ts';
import {
  attachmentKey,
  attachmentOf,
  baseAttachment,
  detailsFor,
  detailsOf,
  markOf,
  metaAttachment,
} from './attachment.ts';
import { createAttempts } from './attempts.ts';
import { dressChained } from './chained.ts';
import { portsLeft } from './container-ports.ts';
import { CniCode, CniError } from './error.ts';
import { checkAttachment } from './check.ts';
import type { HostPorts } from './host-ports.ts';
import { sweepLeases, undoForeign } from './foreign.ts';
import { attachMain, type Mains, wishFor } from './main/attach.ts';
import { mainKindOf } from './main/config.ts';
import { addFunctions, addMeta, checkFunctions } from './meta/add.ts';
import { metaKindOf } from './meta/config.ts';
import { META_KINDS } from './meta/types.ts';
import type { Metas } from './meta/metas.ts';
import { fullAlias, hostInterfaceName, ownerAlias } from './names.ts';
import { openPod } from './open-pod.ts';
import { type OwnDns, withOwnDns } from './own-dns.ts';
import { asCniError } from './plugin-error.ts';
import type { PodMtu } from './pod-mtu.ts';
import { addressesIn, interfaceIn, mergeResults, prevResultOf } from './prev-result.ts';
import { refuseKinds, refuseOwnNamespace } from './refusals.ts';
import type { CniHandlers } from './server.ts';
import { createTurns } from './turns.ts';
import type { Attachment, CniRequest, CniResult } from './types.ts';
import { undo } from './undo.ts';
import { type PodWishes, checkPorts, type Wishes, wishesOf } from './wishes.ts';

export interface PluginDeps {
  ipam: Ipam;
  /** rtnetlink of the node's namespace. */
  node: Route;
  /** MTU of pod interfaces when the configuration has no `mtu`; as it is at the time, where it changes. */
  mtu: number | (() => PodMtu);
  /** Told of the host's end of a new link before it is up: what may pass it is decided there. */
  guard?: (link: Link) => void;
  /** Who leads ports of the node to containers; without, portMappings are refused. */
  hostPorts?: HostPorts;
  /** Other ways to connect a container; without, they are refused. */
  mains?: Mains;
  /** Functions beside; without, they are refused. */
  metas?: Metas;
  /** What the node sends to pods from, one per family at most. */
  sources?: readonly string[];
  /** Why containers that are there cannot be reached as they should, for STATUS. */
  limits?: () => string[];
  /** A DNS that knows containers' names, for results. */
  dns?: OwnDns;
  /** What is said of a pod's addresses elsewhere than in the request. @throws HeddleError */
  podWishes?: (pod: { namespace: string; name: string; uid: string }) => PodWishes;
  log: Log;
}

/** The pod an attachment is for, from CNI_ARGS; runtimes other than Kubernetes' give none. */
export function podOf({ args, containerId }: CniRequest): { namespace: string; name: string; uid: string } {
  return {
    namespace: args['K8S_POD_NAMESPACE'] ?? 'none',
    name: args['K8S_POD_NAME'] ?? containerId,
    uid: args['K8S_POD_UID'] ?? containerId,
  };
}

export function createPlugin(deps: PluginDeps): CniHandlers {
  const { ipam, node, hostPorts } = deps;
  const turns = createTurns();

  /** Nothing has been touched yet when one of these checks throws. */
  function prepare(request: CniRequest) {
    refuseOwnNamespace(request.netns);
    refuseKinds(request, deps);
    const said = wishesOf(request);
    checkPorts(said.ports);
    const wishes = { ...said, ports: portsLeft(ipam, request, said.ports) };
    const functions = checkFunctions({ request, wishes });
    if (wishes.ports.length > 0 && !hostPorts)
      throw new CniError(
        CniCode.unsupportedField,
        `portMappings ${JSON.stringify(wishes.ports)} are not supported by this agent`,
      );
    return { wishes, functions, prev: prevResultOf(request), netns: openPod(request.netns) };
  }

  type Prepared = ReturnType<typeof prepare>;

  async function addTo(request: CniRequest, prepared: Prepared): Promise<CniResult> {
    const { label } = ownerOf(request);
    const meta = metaKindOf(request.config);
    try {
      if (meta !== undefined && deps.metas)
        return as(request, await addMeta(optionsOf(request, prepared, deps.metas), meta, prepared.prev));
      const result = await connect(request, prepared);
      if (prepared.functions && deps.metas) {
        const index = interfaceIn(result, request.ifName) ?? 0;
        await addFunctions(optionsOf(request, prepared, deps.metas), request, addressesIn(result, index));
      }
      return result;
    } catch (error) {
      const attachment = meta === undefined ? request : metaAttachment(request, meta);
      await undo(deps, attachment, request.netns).catch(() => {});
      throw asCniError(error, `cannot attach ${request.ifName} of ${label}`);
    }
  }

  const optionsOf = (request: CniRequest, { wishes, netns }: Prepared, metas: Metas) => ({
    request,
    wishes,
    netns,
    node,
    ipam,
    hostPorts,
    metas,
    label: ownerOf(request).label,
  });

  /** The interface itself, or what is added to that of an earlier plugin. */
  async function connect(request: CniRequest, { wishes, prev, netns }: Prepared): Promise<CniResult> {
    const pod = podOf(request);
    const owner = ownerOf(request);
    const kind = mainKindOf(request.config);
    if (kind !== undefined && deps.mains)
      return attachMain({
        ...deps.mains,
        kind,
        request,
        prev,
        wishes,
        owner,
        pod,
        netns,
        node,
        ipam,
        hostPorts,
        dns: deps.dns,
        log: deps.log,
      });
    if (prev && interfaceIn(prev, request.ifName) !== undefined) {
      const mark = hostInterfaceName(request);
      await dressChained({ request, prev, wishes, owner, mark, netns, node, ipam, hostPorts });
      return as(request, prev);
    }
    const said = deps.podWishes?.(pod) ?? {};
    const { sticky } = said;
    const allocation = await ipam.allocate(
      { ...owner, ...(sticky === undefined ? {} : { sticky }), details: detailsFor(request, wishes) },
      wishFor(wishes, said),
    );
    const size = typeof deps.mtu === 'number' ? { mtu: deps.mtu } : deps.mtu();
    const { mtu, limit } = wishes.mtu === undefined ? size : { mtu: wishes.mtu, limit: size.limit };
    const plain = ownerAlias(pod);
    // A cluster's pods are in the API server: nobody needs to be told of them by the kernel.
    const alias = deps.mains ? fullAlias(plain, request.config.name ?? '-', request) : plain;
    const { addresses } = allocation;
    const defaults = !hasDefaultRoute(netns, request.ifName);
    const ends = attach({ ...deps, ...request, ...wishes, netns, alias, addresses, mtu, limit, defaults });
    hostPorts?.publish({ link: ends.hostInterface, label: owner.label, ports: wishes.ports, addresses });
    finish(node, ends.hostInterface, alias);
    const families = new Set(defaults ? addresses.map((each) => (each.includes(':') ? 6 : 4)) : []);
    const dns = withOwnDns(wishes.dns, deps.dns, families);
    return resultOf(request, prev, allocation, { ...ends, mtu, dns, defaults });
  }

  return {
    add: (request) =>
      turns.take(attachmentKey(request), async () => {
        const prepared = prepare(request);
        try {
          return await addTo(request, prepared);
        } finally {
          closeNetns(prepared.netns);
        }
      }),
    del: (request) =>
      turns.take(attachmentKey(request), async () => {
        const attachment = ownAttachment(request);
        const held = ipam.get(attachmentKey(attachment));
        const known = held !== undefined && !detailsOf(held).found;
        try {
          await undo(deps, attachment, request.netns);
          if (!known && deps.mains) await undoForeign(request);
        } catch (error) {
          throw asCniError(error, `cannot detach ${request.ifName} of ${ownerOf(request).label}`);
        }
      }),
    check: (request) => checkAttachment(request, deps),
    async status() {
      // A full pool is said to whom it concerns, by the ADD (101): others still get addresses of other pools, and a
      // runtime that is told 50 has the node NotReady, whose pods Kubernetes then evicts.
      const limits = deps.limits?.() ?? [];
      if (limits.length > 0) throw new CniError(CniCode.limited, limits.join('; '));
    },
    async gc(request) {
      const valid = validAttachments(request);
      const marks = marksOf(valid);
      const all = createAttempts();
      for (const allocation of ipam.list()) {
        const { key, label } = allocation;
        const { network = request.config.name, mark, netns = '' } = detailsOf(allocation);
        // Whose network nobody knows any more goes with its container.
        if (mark !== undefined && existsSync(netns)) continue;
        const base = attachmentKey(baseAttachment(attachmentOf(key)));
        if (valid.has(base) || network !== request.config.name || marks.has(markOf(allocation))) continue;
        deps.log.info('removing an attachment that the runtime no longer knows', { key, pod: label });
        await all.try(key, () => turns.take(base, () => undo(deps, attachmentOf(key))));
      }
      if (deps.mains) await all.try('host-local', () => sweepLeases(request, valid, deps.log));
      all.end();
    },
  };
}

/** Of whatever may be in the book for one of these. */
const marksOf = (valid: ReadonlySet<string>): Set<string> =>
  new Set(
    [...valid].map(attachmentOf).flatMap((each) => {
      const all = [each, ...META_KINDS.map((kind) => metaAttachment(each, kind))];
      return all.map(hostInterfaceName);
    }),
  );

const as = ({ cniVersion }: CniRequest, result: CniResult): CniResult => ({ ...result, cniVersion });

function ownerOf(request: CniRequest): { key: string; label: string } {
  const { namespace, name } = podOf(request);
  return { key: attachmentKey(request), label: `${namespace}/${name}` };
}

/** A function has an entry of its own beside that of the interface. */
function ownAttachment(request: CniRequest): Attachment {
  const meta = metaKindOf(request.config);
  return meta === undefined ? request : metaAttachment(request, meta);
}

/** A further interface of a container leaves it the way out that it has. */
function hasDefaultRoute(netns: Netns, ifName: string): boolean {
  if (ifName === 'eth0') return false;
  const pod = openRoute(netns);
  try {
    const own = pod.link(ifName)?.index;
    return pod.routes().some(({ dst, dev }) => (dst === '0.0.0.0/0' || dst === '::/0') && dev !== own);
  } finally {
    pod.close();
  }
}

function validAttachments({ config }: CniRequest): Set<string> {
  const wrong = (what: string): never => {
    throw new CniError(
      CniCode.invalidConfig,
      `cni.dev/valid-attachments ${what}: expected a list of {"containerID", "ifname"}; nothing was removed`,
    );
  };
  // libcni says null where no attachment is valid. Who says nothing has forgotten it: all would go.
  const list =
    config['cni.dev/valid-attachments'] === undefined
      ? config['cni.dev/attachments']
      : config['cni.dev/valid-attachments'];
  if (list === undefined) return wrong('is missing');
  if (list !== null && !Array.isArray(list)) return wrong('is not a list');
  return new Set(
    (list ?? []).map((each: unknown) => {
      const { containerID, ifname } = isObject(each) ? each : {};
      if (typeof containerID !== 'string' || typeof ifname !== 'string' || !containerID || !ifname)
        return wrong(`has ${JSON.stringify(each)}`);
      return attachmentKey({ containerId: containerID, ifName: ifname });
    }),
  );
}

function resultOf(
  request: CniRequest,
  prev: CniResult | undefined,
  { addresses }: Allocation,
  made: Ends & { mtu: number; dns: Wishes['dns']; defaults: boolean },
): CniResult {
  const six = made.defaults && addresses.some((address) => address.includes(':'));
  const four = made.defaults && addresses.some((address) => !address.includes(':'));
  const ours = {
    interfaces: [
      { name: made.hostInterface, mac: made.hostMac, mtu: made.mtu },
      { name: request.ifName, mac: made.podMac, mtu: made.mtu, sandbox: request.netns },
    ],
    ips: addresses.map((address) => ({
      address: hostPrefix(address),
      gateway: address.includes(':') ? GATEWAY_6 : GATEWAY_4,
      interface: 1,
    })),
    routes: [
      ...(four ? [{ dst: '0.0.0.0/0', gw: GATEWAY_4 }] : []),
      ...(six ? [{ dst: '::/0', gw: GATEWAY_6 }] : []),
    ],
    dns: made.dns,
  };
  return mergeResults(prev, ours, request.cniVersion);
}
