/** Random policies of no language, with all that the model can say, as plain data and as the model has them. */
import fc from 'fast-check';
import { parseCidr } from '../../lib/ip.ts';
import type { Authentication, Direction } from '../decision.ts';
import { type Policy, type PortMatch, policyOf, type Rule } from '../model.ts';
import type { LoweredObject } from '../objects.ts';
import {
  allOf,
  anyOf,
  blockPeer,
  type Entity,
  entityPeer,
  namePeer,
  nodePeer,
  not,
  type Peer,
  type PodPeer,
  podPeer,
} from '../peers.ts';
import { exactly, startsWith } from '../request.ts';
import { everything, parseSelector, type Selector } from '../selector.ts';

type Labels = Readonly<Record<string, string>>;

export interface PlainPods {
  readonly namespace: string | Labels;
  readonly labels: Labels;
  readonly account?: string | Labels | undefined;
}

export type PlainPeer =
  | { readonly is: 'pods'; readonly pods: PlainPods }
  | { readonly is: 'block'; readonly cidr: string; readonly except: readonly string[] }
  | { readonly is: 'nodes'; readonly labels: Labels }
  | { readonly is: 'entity'; readonly entity: Entity }
  | { readonly is: 'names'; readonly names: readonly string[] }
  | { readonly is: 'all' | 'any'; readonly of: readonly PlainPeer[] }
  | { readonly is: 'not'; readonly of: PlainPeer };

export interface PlainRule {
  readonly direction: Direction;
  readonly verdict: 'allow' | 'deny' | 'pass' | 'log';
  readonly priority: number;
  readonly peers: readonly PlainPeer[] | null;
  readonly ports: readonly PortMatch[] | null;
  readonly sourcePorts?: readonly PortMatch[] | undefined;
  /** Starts of paths, of GET. */
  readonly paths?: readonly string[] | undefined;
  /** Requests that none of them starts are for the rules behind. */
  readonly onward?: boolean | undefined;
  readonly auth?: Authentication | undefined;
}

export interface PlainPolicy {
  readonly namespace: string;
  readonly name: string;
  readonly tier: number;
  readonly audited: boolean;
  readonly isolates: Readonly<Record<Direction, boolean>>;
  readonly subject: PlainPods;
  readonly rules: readonly PlainRule[];
}

const labels = fc.constantFrom<Labels>(
  {},
  {},
  { app: 'web' },
  { app: 'db' },
  { tier: 'x' },
  { app: 'web', tier: 'y' },
);
const pods: fc.Arbitrary<PlainPods> = fc.record({
  namespace: fc.constantFrom<PlainPods['namespace']>('a', 'b', {}, { app: 'web' }),
  labels,
  account: fc.constantFrom<PlainPods['account']>(undefined, undefined, undefined, 'robot', {
    trusted: 'yes',
  }),
});

const leaf: fc.Arbitrary<PlainPeer> = fc.oneof(
  { weight: 4, arbitrary: pods.map((each) => ({ is: 'pods' as const, pods: each })) },
  {
    weight: 2,
    arbitrary: fc.constantFrom<PlainPeer>(
      { is: 'block', cidr: '0.0.0.0/0', except: ['10.244.0.0/16'] },
      { is: 'block', cidr: '10.244.1.0/28', except: [] },
      { is: 'block', cidr: '8.8.8.0/24', except: [] },
      { is: 'block', cidr: '::/0', except: [] },
    ),
  },
  {
    weight: 2,
    arbitrary: fc
      .constantFrom<Entity>('world', 'cluster', 'host', 'remote-node', 'all')
      .map((entity) => ({ is: 'entity' as const, entity })),
  },
  fc.constantFrom<PlainPeer>({ is: 'nodes', labels: {} }, { is: 'nodes', labels: { zone: 'x' } }),
  fc.constantFrom<PlainPeer>(
    { is: 'names', names: ['api.example.com'] },
    { is: 'names', names: ['b.example.com', 'none'] },
  ),
);

const peer: fc.Arbitrary<PlainPeer> = fc.letrec<{ peer: PlainPeer }>((tie) => ({
  peer: fc.oneof(
    { maxDepth: 3, depthSize: 'small' },
    { weight: 3, arbitrary: leaf },
    {
      weight: 1,
      arbitrary: fc.record({
        is: fc.constantFrom('all' as const, 'any' as const),
        of: fc.array(tie('peer'), { maxLength: 3 }),
      }),
    },
    { weight: 1, arbitrary: tie('peer').map((of) => ({ is: 'not' as const, of })) },
  ),
})).peer;

const port = fc.constantFrom(53, 80, 81, 443);
const protocol = fc.constantFrom('TCP' as const, 'TCP' as const, 'UDP' as const, 'SCTP' as const);
const portMatch: fc.Arbitrary<PortMatch> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc
      .tuple(protocol, port, fc.constantFrom(0, 0, 1, 400))
      .map(([of, first, more]) => ({ protocol: of, first, last: first + more })),
  },
  {
    weight: 1,
    arbitrary: fc
      .tuple(protocol, fc.constantFrom('http', 'dns'))
      .map(([of, name]) => ({ protocol: of, name })),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom<PortMatch>(
      { protocol: 'ICMP' },
      { protocol: 'ICMP', family: 4 },
      { protocol: 'ICMP', family: 4, type: 8 },
      { protocol: 'ICMP', family: 6, type: 128 },
      { protocol: 'ICMP', type: 3, code: 4 },
      { protocolNumber: 47 },
      { protocolNumber: 50 },
    ),
  },
);

const rule: fc.Arbitrary<PlainRule> = fc
  .record({
    direction: fc.constantFrom<Direction>('ingress', 'egress'),
    verdict: fc.constantFrom<PlainRule['verdict']>('allow', 'allow', 'allow', 'deny', 'pass', 'log'),
    priority: fc.constantFrom(Number.NEGATIVE_INFINITY, 1, 1, 1, 7, Number.POSITIVE_INFINITY),
    peers: fc.option(fc.array(peer, { maxLength: 3 }), { nil: null, freq: 4 }),
    ports: fc.option(fc.array(portMatch, { maxLength: 3 }), { nil: null, freq: 2 }),
    sourcePorts: fc.constantFrom<readonly PortMatch[] | undefined>(
      ...Array.from({ length: 14 }, () => undefined),
      [{ protocol: 'TCP', first: 1000, last: 2000 }],
      [{ protocol: 'TCP', name: 'http' }],
    ),
    paths: fc.constantFrom(undefined, undefined, ['/a'], ['/b', '/c'], []),
    onward: fc.constantFrom(false, false, true),
    auth: fc.constantFrom<Authentication | undefined>(
      undefined,
      undefined,
      undefined,
      undefined,
      undefined,
      undefined,
      'required',
      'test-always-fail',
    ),
  })
  .map((each) => (each.verdict === 'allow' ? each : { ...each, paths: undefined, auth: undefined }));

const tiers = [1_000, 5_000, 1_000_000, 1_000_000, 10_000_000];

/** `audits`: some decide nothing. */
export const plainPolicy = (n: number, audits: boolean): fc.Arbitrary<PlainPolicy> =>
  fc.record({
    namespace: fc.constantFrom('', 'a'),
    name: fc.constant(`plain-${n}`),
    tier: fc.constantFrom(...tiers),
    audited: audits ? fc.constantFrom(false, false, true) : fc.constant(false),
    isolates: fc.record({ ingress: fc.boolean(), egress: fc.boolean() }),
    subject: pods,
    rules: fc.array(rule, { maxLength: 5 }),
  });

const selectorOf = (each: Labels): Selector => {
  const parsed = parseSelector({ matchLabels: each });
  return parsed.ok ? parsed.selector : everything;
};

function podsOf({ namespace, labels: own, account }: PlainPods): PodPeer {
  const where = typeof namespace === 'string' ? { name: namespace } : { selector: selectorOf(namespace) };
  if (account === undefined) return podPeer(where, selectorOf(own));
  const accounts = typeof account === 'string' ? { names: [account] } : { labels: selectorOf(account) };
  return podPeer(where, selectorOf(own), accounts);
}

function peerOf(plain: PlainPeer): Peer {
  switch (plain.is) {
    case 'pods':
      return podsOf(plain.pods);
    case 'block':
      return blockPeer(parseCidr(plain.cidr), plain.except.map(parseCidr));
    case 'nodes':
      return nodePeer(selectorOf(plain.labels));
    case 'entity':
      return entityPeer(plain.entity);
    case 'names':
      return namePeer(plain.names.map((name) => exactly(name)));
    case 'all':
      return allOf(plain.of.map(peerOf));
    case 'any':
      return anyOf(plain.of.map(peerOf));
    default:
      return not(peerOf(plain.of));
  }
}

/** An object that holds the policy, as an object of a language would. */
export function modelOf(plain: PlainPolicy): LoweredObject {
  const { namespace, name, tier } = plain;
  const ref = { kind: 'Plain', namespace, name };
  const rules = plain.rules.map(
    ({ direction, verdict, priority, peers, ports, ...more }, index): Rule => ({
      ref: { ...ref, direction, index, path: `spec.rules[${index}]` },
      tier,
      priority,
      verdict: verdict === 'log' ? 'deny' : verdict,
      ...(verdict === 'log' ? { log: true } : {}),
      peers: peers && peers.map(peerOf),
      ports,
      ...(more.sourcePorts ? { sourcePorts: more.sourcePorts } : {}),
      ...(more.paths
        ? {
            l7: more.paths.map((path) => ({
              type: 'http' as const,
              method: exactly('GET'),
              path: startsWith(path),
            })),
            ...(more.onward ? { onward: true as const } : {}),
          }
        : {}),
      ...(more.auth ? { auth: more.auth } : {}),
    }),
  );
  const policy: Policy = policyOf({
    ref,
    stage: plain.audited ? 'audit' : 'enforce',
    subject: podsOf(plain.subject),
    tier,
    isolates: plain.isolates,
    rules,
    problems: [],
  });
  return {
    apiVersion: 'heddle.dev/v1alpha1',
    kind: 'Lowered',
    metadata: { namespace, name },
    policies: [policy],
  };
}
