/** Flows that were seen → the calls that policies have to allow for them, and what of it no policy can say. */
import { canonicalAddress, contains, parseAddress, parseCidr, tryParseAddress } from '../../lib/ip.ts';
import { createDecider } from '../decide.ts';
import { canonical, nodeAddresses } from '../scene.ts';
import { type Flow, type PortProtocol, type WorldNode, type WorldPod } from '../world.ts';
import { type Estate, type Workload, workloadKey } from './estate.ts';
import type { Call, Generated } from './generate.ts';
import { PROTOCOLS } from './port-set.ts';

/** A connection that passed, in its direction, after service translation. */
export interface SeenFlow {
  readonly src: string;
  readonly dst: string;
  /** `TCP`; what has no ports cannot be allowed alone. */
  readonly protocol: string;
  readonly port: number;
}

export interface SeenCalls {
  readonly calls: readonly Call[];
  /** One of each kind that the calls stand for. */
  readonly flows: readonly Flow[];
  readonly leftOut: readonly LeftOut[];
}

export interface LeftOut {
  readonly why: string;
  readonly count: number;
  /** `10.244.1.2 > 10.244.2.3 ICMP` */
  readonly example: string;
}

export interface SeenOptions {
  /** Addresses in these are pods of the cluster, known or gone. */
  readonly podRanges?: readonly string[];
  /** Who is outside: each address that was seen, or any. */
  readonly outside?: 'addresses' | 'any';
}

type End =
  | { readonly type: 'pod'; readonly pod: WorldPod; readonly workload: Workload }
  | { readonly type: 'node'; readonly node: WorldNode; readonly address: string }
  | { readonly type: 'outside'; readonly address: string }
  | { readonly type: 'gone' };

/** Pods by their addresses as they are now. @throws HeddleError `BadAddress`, `BadCidr` */
export function seenCalls(estate: Estate, seen: Iterable<SeenFlow>, options: SeenOptions = {}): SeenCalls {
  const endOf = createEnds(estate, options.podRanges ?? []);
  const calls = new Map<
    string,
    { call: Call; ports: Map<string, { protocol: PortProtocol; port: number }> }
  >();
  const flows = new Map<string, Flow>();
  const left = new Map<string, LeftOut>();
  for (const flow of seen) {
    const [from, to] = [endOf(flow.src), endOf(flow.dst)];
    const why = reasonAgainst(flow, from, to);
    if (why === 'nothing') continue;
    if (why !== undefined) {
      const known = left.get(why);
      const example = known?.example ?? `${flow.src} > ${flow.dst} ${flow.protocol}`;
      left.set(why, { why, count: (known?.count ?? 0) + 1, example });
      continue;
    }
    const protocol = flow.protocol as PortProtocol;
    const [a, b] = [from, to].map((end) => partyOf(end, options.outside ?? 'addresses'));
    const key = `${partyKey(a!)} > ${partyKey(b!)}`;
    const known = calls.get(key) ?? { call: { from: a!, to: b!, ports: null }, ports: new Map() };
    calls.set(key, known);
    known.ports.set(`${protocol} ${flow.port}`, { protocol, port: flow.port });
    const one = { src: { address: flow.src }, dst: { address: flow.dst }, protocol, port: flow.port };
    flows.set(`${flow.src} ${flow.dst} ${protocol} ${flow.port}`, one);
  }
  return {
    calls: [...calls.values()].map(({ call, ports }) => ({ ...call, ports: rangesOf([...ports.values()]) })),
    flows: [...flows.values()],
    leftOut: [...left.values()],
  };
}

function createEnds({ world, workloads }: Estate, podRanges: readonly string[]): (text: string) => End {
  const ends = new Map<string, End>();
  for (const node of world.nodes)
    for (const address of nodeAddresses(node)) ends.set(canonical(address), { type: 'node', node, address });
  for (const workload of workloads)
    for (const pod of workload.pods)
      if (pod.hostNetwork !== true)
        for (const address of pod.addresses) ends.set(canonical(address), { type: 'pod', pod, workload });
  const ranges = podRanges.map(parseCidr);
  return (text) => {
    const parsed = parseAddress(text);
    const address = canonicalAddress(text);
    const isPods = () => ranges.some((range) => range.family === parsed.family && contains(range, parsed));
    return ends.get(address) ?? (isPods() ? { type: 'gone' } : { type: 'outside', address });
  };
}

/** `nothing`: it passes whatever policies say, or is none of theirs. Undefined: a policy can allow it. */
function reasonAgainst({ protocol, port }: SeenFlow, from: End, to: End): string | undefined {
  if (from.type === 'gone' || to.type === 'gone') return 'pods that are gone: whose they were is not known';
  if (from.type !== 'pod' && to.type !== 'pod') return 'nothing';
  if (from.type === 'pod' && to.type === 'pod' && from.pod === to.pod) return 'nothing';
  if (isOwnNode(from, to) || isOwnNode(to, from)) return 'nothing';
  if (!PROTOCOLS.some((known) => known === protocol))
    return `${protocol}: a NetworkPolicy lets it pass only with every port`;
  if (port === 0) return 'port 0: no NetworkPolicy can name it';
  return undefined;
}

const isOwnNode = (node: End, pod: End): boolean =>
  node.type === 'node' && pod.type === 'pod' && pod.pod.node === node.node.name;

function partyOf(end: End, outside: 'addresses' | 'any'): Call['from'] {
  if (end.type === 'pod') return end.workload;
  const address = end.type === 'gone' ? '' : end.address;
  const isV6 = tryParseAddress(address)?.family === 6;
  if (end.type === 'outside' && outside === 'any') return { cidr: isV6 ? '::/0' : '0.0.0.0/0' };
  return { cidr: `${address}/${isV6 ? 128 : 32}` };
}

const partyKey = (party: Call['from']): string => ('cidr' in party ? party.cidr : workloadKey(party));

function rangesOf(ports: readonly { protocol: PortProtocol; port: number }[]): NonNullable<Call['ports']> {
  const result: { protocol: PortProtocol; first: number; last: number }[] = [];
  for (const { protocol, port } of ports.toSorted(
    (a, b) => PROTOCOLS.indexOf(a.protocol) - PROTOCOLS.indexOf(b.protocol) || a.port - b.port,
  )) {
    const before = result.at(-1);
    if (before?.protocol === protocol && before.last + 1 === port) before.last = port;
    else result.push({ protocol, first: port, last: port });
  }
  return result;
}

/** Flows that were seen and that these policies would deny. */
export function deniedBy(
  { world }: Estate,
  { policies }: Pick<Generated, 'policies'>,
  flows: readonly Flow[],
): Flow[] {
  const decide = createDecider({ ...world, policies });
  return flows.filter((flow) => decide(flow).verdict === 'deny');
}

/** `10.244.1.2 > 10.244.2.3 TCP 80` */
export const flowText = ({ src, dst, protocol, port }: Flow): string => {
  const end = (each: Flow['src']) => ('pod' in each ? each.pod : each.address);
  return `${end(src)} > ${end(dst)} ${protocol} ${port ?? ''}`;
};
