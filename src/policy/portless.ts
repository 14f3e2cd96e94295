/** Protocols without ports that rules speak of, and what rules tell apart in them. */
import type { IcmpMatch, PortMatch } from './model.ts';

/** Traffic that no rule tells apart. */
export interface Portless {
  isOf(port: PortMatch): boolean;
}

interface Ruled {
  readonly ports: readonly PortMatch[] | null;
}

/** By IP protocol number; each has one kind at least. */
export function portlessOf(rules: readonly Ruled[]): { protocol: number; kinds: Portless[] }[] {
  const numbers = new Set<number>();
  const icmp: IcmpMatch[] = [];
  for (const { ports } of rules)
    for (const port of ports ?? [])
      if ('protocolNumber' in port) numbers.add(port.protocolNumber);
      else if (port.protocol === 'ICMP') icmp.push(port);
  const others = [...numbers]
    .sort((a, b) => a - b)
    .map((protocol) => ({ protocol, kinds: [numbered(protocol)] }));
  return [...(icmp.length > 0 ? [kindsOf(icmp, 4), kindsOf(icmp, 6)] : []), ...others];
}

const numbered = (protocol: number): Portless => ({
  isOf: (port) => 'protocolNumber' in port && port.protocolNumber === protocol,
});

/** Of types and codes: each that a rule names, and all others. */
function kindsOf(matches: readonly IcmpMatch[], family: 4 | 6): { protocol: number; kinds: Portless[] } {
  const own = matches.filter((match) => (match.family ?? family) === family);
  const byType = Map.groupBy(own, ({ type }) => type);
  const kinds = [...byType].flatMap(([type, list]) =>
    [...new Set([...list.map(({ code }) => code), undefined])].map((code) => kindOf(family, type, code)),
  );
  return { protocol: ICMP[family], kinds: [...kinds, kindOf(family, undefined, undefined)] };
}

export const ICMP = { 4: 1, 6: 58 } as const;

/** Undefined: one that no rule names. */
const kindOf = (family: 4 | 6, type: number | undefined, code: number | undefined): Portless => ({
  isOf: (port) =>
    'protocol' in port &&
    port.protocol === 'ICMP' &&
    (port.family ?? family) === family &&
    (port.type === undefined || port.type === type) &&
    (port.code === undefined || port.code === code),
});
