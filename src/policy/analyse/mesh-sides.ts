/**
 * What proxies let pass of connections whose requests are not known, symbolically: ports that no rule names are alike, and
 * so are senders that no rule tells apart. `decideMesh` says it, so that analysis and decision cannot differ.
 */
import {
  type Address,
  type Cidr,
  contains,
  type Family,
  firstOf,
  lastOf,
  tryParseAddress,
} from '../../lib/ip.ts';
import { decideMesh } from '../mesh/decide.ts';
import { type Facts, factsOf } from '../mesh/facts.ts';
import { matchesCondition } from '../mesh/match.ts';
import type { Mesh, Workload } from '../mesh/mesh.ts';
import { type Condition, conditionsOf } from '../mesh/model.ts';
import type { End, Scene } from '../scene.ts';
import type { WorldPod } from '../world.ts';
import { lastAddress, mergeSpans, type PortSpan } from './externals.ts';
import { LAST_PORT, type PortSet, type PortSets } from './port-set.ts';

export interface MeshSides {
  /** Equal for pods that nothing about the mesh tells apart. */
  classOf(pod: WorldPod): string;
  between(src: MeshUnit, dst: MeshUnit): PortSet;
  /** From a pod of which nothing is known but that it has a proxy: no rule names who it is. */
  fromStranger(dst: MeshUnit): PortSet;
  /** From addresses outside, the whole space in order. */
  fromOutside(dst: MeshUnit): readonly PortSpan[];
}

/** Pods that `classOf` and the network do not tell apart. */
export interface MeshUnit {
  readonly pod: WorldPod;
  readonly mesh: string;
}

/** Undefined: nothing is said of the mesh. */
export function createMeshSides(scene: Scene, sets: PortSets, family: Family): MeshSides | undefined {
  const { mesh } = scene;
  if (!mesh) return undefined;
  const conditions = mesh.authorizations.flatMap(({ rules }) => rules.flatMap(conditionsOf));
  const blocks = conditions.flatMap(blocksOf);
  const endOf = (pod: WorldPod): End => {
    const isNode = pod.hostNetwork === true;
    const texts = isNode ? (scene.node(pod.node)?.addresses ?? []) : pod.addresses;
    const address = texts.map(tryParseAddress).find((each) => each?.family === family);
    return isNode ? { type: 'node', node: pod.node, address } : { type: 'pod', pod, address };
  };
  const numbers = numbersOf();
  const judge = (src: End, dst: End, ports: readonly number[]): PortSet =>
    portsThat(sets, ports, (port) => passes(mesh, src, dst, port));
  const targets = new Map<string, Target>();
  const targetOf = (dst: MeshUnit): Target => {
    const known = targets.get(dst.mesh) ?? {
      ports: namedPorts(mesh, mesh.at(dst.pod)),
      about: aboutSenders(mesh.at(dst.pod)),
      sets: new Map<string, PortSet>(),
    };
    targets.set(dst.mesh, known);
    return known;
  };
  const senders = new Map<string, Facts>();
  const senderOf = (src: MeshUnit): Facts => {
    const known = senders.get(src.mesh) ?? senderFacts(mesh, endOf(src.pod));
    senders.set(src.mesh, known);
    return known;
  };
  const spans = new Map<string, readonly PortSpan[]>();
  return {
    classOf(pod) {
      const { address } = endOf(pod);
      const inside = blocks.map((block) => (address && contains(block, address) ? '1' : '0')).join('');
      const { namespace, serviceAccount = 'default', hostNetwork } = pod;
      const here = hostNetwork === true ? 'node' : `${namespace} ${serviceAccount} ${mesh.isMember(pod)}`;
      return `${here} ${inside} ${hostNetwork === true ? '' : numbers(mesh.at(pod))}`;
    },
    between(src, dst) {
      const { about, ports, sets: known } = targetOf(dst);
      const facts = senderOf(src);
      // Whether it has a proxy, and which of the conditions on senders hold for it: no rule sees more of it.
      let key = facts.principal === undefined ? '-' : '+';
      for (const condition of about) key += matchesCondition(condition, facts) === 'yes' ? '1' : '0';
      const set = known.get(key) ?? judge(endOf(src.pod), endOf(dst.pod), ports);
      known.set(key, set);
      return set;
    },
    fromStranger(dst) {
      return judge(STRANGER, endOf(dst.pod), targetOf(dst).ports);
    },
    fromOutside(dst) {
      const known = spans.get(dst.mesh);
      if (known) return known;
      const [end, { ports }] = [endOf(dst.pod), targetOf(dst)];
      const found = spansOf(blocks, family, (address) => judge({ type: 'outside', address }, end, ports));
      spans.set(dst.mesh, found);
      return found;
    },
  };
}

/** What is asked at pods alike. */
interface Target {
  readonly ports: readonly number[];
  readonly about: readonly Condition[];
  /** By what the conditions say of a sender. */
  readonly sets: Map<string, PortSet>;
}

function aboutSenders({ enforced }: Workload): Condition[] {
  const rules = [...enforced.custom, ...enforced.deny, ...enforced.allow].flatMap((policy) => policy.rules);
  return rules.flatMap(conditionsOf).filter(({ attribute }) => ABOUT_SENDERS.has(attribute));
}

const ABOUT_SENDERS: ReadonlySet<Condition['attribute']> = new Set([
  'principal',
  'namespace',
  'account',
  'source-ip',
]);

/** With its certificate, if it has one. */
const senderFacts = (mesh: Mesh, src: End): Facts =>
  factsOf(
    { ...NOTHING, src, dst: src, protocol: 'TCP', port: 0 },
    src.type === 'pod' && mesh.isMember(src.pod) ? 'mutual' : 'none',
    'PERMISSIVE',
  );

/** A number for what is asked at a pod: the same where the same objects are. */
function numbersOf(): (workload: Workload) => number {
  const known = new Map<string, number>();
  return ({ enforced: { custom, deny, allow, tls, tlsObjects } }) => {
    const names = [...custom, ...deny, ...allow, ...tlsObjects].map(
      ({ ref }) => `${ref.kind} ${ref.namespace}/${ref.name}`,
    );
    const text = `${names.join(' ')} ${tls(0).mode}`;
    const number = known.get(text) ?? known.size;
    known.set(text, number);
    return number;
  };
}

const blocksOf = (condition: Condition): readonly Cidr[] => {
  const { attribute } = condition;
  if (attribute !== 'source-ip' && attribute !== 'remote-ip' && attribute !== 'destination-ip') return [];
  return [...condition.values, ...condition.notValues];
};

/** Every port that anything says something of. */
function namedPorts(mesh: Mesh, { enforced }: Workload): number[] {
  const rules = [...enforced.custom, ...enforced.deny, ...enforced.allow].flatMap((policy) => policy.rules);
  const said = rules
    .flatMap(conditionsOf)
    .flatMap((each) => (each.attribute === 'destination-port' ? [...each.values, ...each.notValues] : []));
  return [...new Set([...said, ...mesh.peers.flatMap(({ ports }) => [...ports.keys()])])];
}

const passes = (mesh: Mesh, src: End, dst: End, port: number): boolean =>
  decideMesh(mesh, { ...NOTHING, src, dst, protocol: 'TCP', port }, false).verdict === 'allow';

/** Names that no object can have. */
const STRANGER: End = {
  type: 'pod',
  pod: {
    namespace: '?',
    name: '?',
    node: '',
    labels: { 'istio.io/dataplane-mode': 'ambient' },
    addresses: [],
    ports: [],
    serviceAccount: '?',
  },
  address: undefined,
};

const NOTHING = {
  sourcePort: undefined,
  icmp: undefined,
  protocolNumber: undefined,
  request: undefined,
  peer: undefined,
  providers: undefined,
};

/** Ports that are not named are alike. Proxies take TCP alone. */
function portsThat(sets: PortSets, named: readonly number[], pass: (port: number) => boolean): PortSet {
  const known = new Set(named);
  let other = 1;
  while (known.has(other)) other++;
  const isOpen = other > LAST_PORT || pass(other);
  const single = named.filter((port) => pass(port) !== isOpen).map((port) => [port, port] as const);
  const all = sets.all.ranges;
  const tcp = isOpen ? sets.minus(sets.all, sets.of([single])).ranges[0]! : single;
  return sets.of([tcp, all[1]!, all[2]!]);
}

function spansOf(blocks: readonly Cidr[], family: Family, judge: (address: Address) => PortSet): PortSpan[] {
  const last = lastAddress(family);
  const starts = new Set([0n]);
  for (const block of blocks)
    if (block.family === family)
      for (const start of [firstOf(block).value, lastOf(block).value + 1n])
        if (start <= last) starts.add(start);
  const ordered = [...starts].sort((a, b) => (a < b ? -1 : 1));
  return mergeSpans(
    ordered.map((first, i) => ({
      first,
      last: (ordered[i + 1] ?? last + 1n) - 1n,
      set: judge({ family, value: first }),
    })),
  );
}
