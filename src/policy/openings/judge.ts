/** What policies let pass of what is opened: asked where it is enforced, at the pods, of whoever sends it there. */
import { type Family, firstOf, formatAddress, lastOf, parseAddress, tryParseCidr } from '../../lib/ip.ts';
import { type ExternalRange, externalSpans, rangeOf, reach } from '../analyse/connectivity.ts';
import { type Estate, type Workload, workloadText } from '../analyse/estate.ts';
import { type Exposure, exposure } from '../analyse/exposure.ts';
import { createExternals, lastAddress, mergeSpans, type PortSpan, type Span } from '../analyse/externals.ts';
import { createPortSets, type PortSet, PROTOCOLS } from '../analyse/port-set.ts';
import { createSides } from '../analyse/sides.ts';
import { createDecider } from '../decide.ts';
import { policyText, ruleText, type Side } from '../decision.ts';
import { podKey } from '../world.ts';
import type { Sender } from './opened.ts';
import type { Endpoint } from './resolve.ts';

export interface Judged {
  /** Who sends it to the pods, in words. */
  readonly from: string;
  readonly verdict: 'open' | 'partly' | 'closed';
  /** Of clients outside, where not all of them may. */
  readonly ranges?: readonly ExternalRange[];
  /** What denies the others. */
  readonly why?: string;
}

export interface JudgeOptions {
  readonly family: Family;
  proxies(sender: Sender): readonly Workload[];
}

const CLIENTS = 'clients outside';
/** For documentation: in no range that means anything. */
const SOMEBODY: Readonly<Record<Family, string>> = { 4: '192.0.2.1', 6: '2001:db8::1' };

export function createJudge(estate: Estate, { family, proxies }: JudgeOptions) {
  const sides = createSides(estate, { sets: createPortSets(), family });
  const externals = createExternals(sides);
  const decide = createDecider(estate.world);
  let exposures: ReadonlyMap<Workload, Exposure> | undefined;

  const strangers = (workload: Workload): Exposure | undefined => {
    exposures ??= new Map(
      exposure(estate)
        .filter(({ direction }) => direction === 'ingress')
        .map((each) => [each.workload, each]),
    );
    return exposures.get(workload);
  };

  function whyNot(endpoint: Endpoint, src: { pod: string } | { address: string }): { why?: string } {
    const { workload, protocol, port } = endpoint;
    const pod = workload.pods.find(({ hostNetwork }) => hostNetwork !== true) ?? workload.pods[0];
    if (!pod) return {};
    const { verdict, egress, ingress } = decide({ src, dst: { pod: podKey(pod) }, protocol, port });
    if (verdict === 'allow') return {};
    return { why: egress.verdict === 'deny' ? `egress: ${sideText(egress)}` : sideText(ingress) };
  }

  function fromOutside(endpoint: Endpoint, ranges: readonly string[] | null): Judged {
    const spans = externalSpans(sides, externals, endpoint.workload, 'ingress');
    const meant = mergeSpans(
      spans.map((span) => ({ ...span, set: has(span.set, endpoint) ? sides.sets.all : sides.sets.none })),
    ).flatMap((span) => clip(span, ranges, family));
    const [allowed, denied] = [true, false].map((is) =>
      meant.filter(({ set }) => (set === sides.sets.all) === is),
    );
    if (meant.length === 0)
      return { from: CLIENTS, verdict: 'closed', why: `none of its source ranges is IPv${family}` };
    if (denied!.length === 0) return { from: CLIENTS, verdict: 'open' };
    const why = whyNot(endpoint, { address: somebodyIn(denied!, family) });
    if (allowed!.length === 0) return { from: CLIENTS, verdict: 'closed', ...why };
    const list = allowed!.map((span) => rangeOf(span, family));
    return { from: CLIENTS, verdict: 'partly', ranges: list, ...why };
  }

  function fromProxies(endpoint: Endpoint, found: readonly Workload[]): Judged {
    const from = found.map(workloadText).join(', ');
    const passes = found.filter((proxy) => has(reach(sides, proxy, endpoint.workload), endpoint));
    if (passes.length === found.length) return { from, verdict: 'open' };
    const stopped = found.find((proxy) => !passes.includes(proxy));
    const why = stopped?.pods[0] ? whyNot(endpoint, { pod: podKey(stopped.pods[0]) }) : {};
    return { from, verdict: passes.length === 0 ? 'closed' : 'partly', ...why };
  }

  /** It may be a pod of which nothing is known, or outside. */
  function fromStranger(endpoint: Endpoint): Judged {
    const from = 'a proxy that was not read';
    const known = strangers(endpoint.workload);
    if (!known || has(known.anyPod, endpoint)) return { from, verdict: 'open' };
    const awaited = known.awaited.filter(({ set }) => has(set, endpoint)).map(({ who }) => who);
    const outside = fromOutside(endpoint, null);
    const why = whyNot(endpoint, { address: SOMEBODY[family] });
    if (awaited.length > 0)
      return { from, verdict: 'partly', why: `only from ${awaited.join(', or ')}; else ${why.why ?? ''}` };
    return outside.verdict === 'closed' ? { from, verdict: 'closed', ...why } : { ...outside, from };
  }

  return (endpoint: Endpoint, sender: Sender): Judged => {
    if (sender.type === 'outside') return fromOutside(endpoint, sender.ranges);
    const found = proxies(sender);
    return found.length > 0 ? fromProxies(endpoint, found) : fromStranger(endpoint);
  };
}

const has = ({ ranges }: PortSet, { protocol, port }: Endpoint): boolean =>
  (ranges[PROTOCOLS.indexOf(protocol)] ?? []).some(([first, last]) => first <= port && port <= last);

function clip(span: PortSpan, ranges: readonly string[] | null, family: Family): PortSpan[] {
  if (ranges === null) return [span];
  return ranges.flatMap((text) => {
    const cidr = tryParseCidr(text);
    if (cidr?.family !== family) return [];
    const [from, to] = [firstOf(cidr).value, lastOf(cidr).value];
    const first = span.first > from ? span.first : from;
    const last = span.last < to ? span.last : to;
    return first <= last ? [{ ...span, first, last }] : [];
  });
}

function somebodyIn(spans: readonly Span[], family: Family): string {
  const usual = parseAddress(SOMEBODY[family]).value;
  const isIn = ({ first, last }: Span) => first <= usual && usual <= last;
  if (spans.some(isIn)) return SOMEBODY[family];
  const { first, last } = spans[0]!;
  // The first address of all is nobody's.
  const value = first === 0n && last > 0n ? 1n : first;
  return formatAddress({ family, value: value > lastAddress(family) ? first : value });
}

const sideText = ({ rule, isolatedBy }: Side): string =>
  rule ? ruleText(rule) : `default deny: ${isolatedBy.map(policyText).join(', ')}`;
