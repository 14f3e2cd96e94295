/** Who has an identity: longest prefix of the identities that holds an address. */
import { type Address, bits, formatAddress, parseCidr, tryParseAddress } from '../../lib/ip.ts';
import { createLpm } from '../../policy/lpm.ts';
import type { NodeView } from './source.ts';

type Identify = (address: Address) => number;

const known = new WeakMap<NodeView, Identify>();

/** 0 for an address that is in none. Made once for a view, which does not change. */
export function createIdentify(view: NodeView): Identify {
  const made = known.get(view);
  if (made) return made;
  const lpm = createLpm<number>();
  for (const [range, identity] of view.state.identities) lpm.set(parseCidr(range), identity);
  const identify: Identify = (address) => lpm.match(address) ?? 0;
  known.set(view, identify);
  return identify;
}

export interface Members {
  readonly pods: readonly string[];
  /** Those that are no pod's own address. */
  readonly ranges: readonly string[];
}

export function createMembers(view: NodeView): (identity: number) => Members {
  const identify = createIdentify(view);
  const pods = new Map<number, Set<string>>();
  const single = new Set<string>();
  for (const { pod, addresses } of view.pods)
    for (const text of addresses) {
      const address = tryParseAddress(text);
      if (!address) continue;
      addTo(pods, identify(address), pod);
      single.add(`${formatAddress(address)}/${bits(address.family)}`);
    }
  const ranges = new Map<number, Set<string>>();
  for (const [range, identity] of view.state.identities)
    if (!single.has(range)) addTo(ranges, identity, range);
  return (identity) => ({
    pods: [...(pods.get(identity) ?? [])].sort(),
    ranges: [...(ranges.get(identity) ?? [])].sort(compareAddressTexts),
  });
}

function addTo(sets: Map<number, Set<string>>, key: number, value: string): void {
  const set = sets.get(key) ?? new Set();
  sets.set(key, set);
  set.add(value);
}

/** IPv4 first, then by value. */
export function compareAddressTexts(a: string, b: string): number {
  const [x, y] = [parseCidr(a), parseCidr(b)];
  if (x.family !== y.family) return x.family - y.family;
  return x.value === y.value ? x.length - y.length : x.value < y.value ? -1 : 1;
}
