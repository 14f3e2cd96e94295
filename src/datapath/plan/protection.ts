/** Several objects that protect one node's uplink, as one: ranges add up, of limits the lowest counts. */
import { compileSelector, type Labels } from '../../api/selector.ts';
import type { RateLimit, UplinkProtection } from '../../api/types.ts';
import { formatCidr, tryParseCidr } from '../../lib/ip.ts';
import type { Protection, Rate } from './tables.ts';

type Limits = NonNullable<UplinkProtection['spec']['limits']>;

/** @param labels of the node. Undefined: nothing protects it. */
export function protectionOf(objects: Iterable<UplinkProtection>, labels: Labels): Protection | undefined {
  const chosen = [...objects]
    .filter(({ spec }) => !spec.nodeSelector || compileSelector(spec.nodeSelector)(labels))
    .toSorted((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
  const denied = chosen.flatMap(({ spec }) => (spec.denied ?? []).flatMap(usualForm));
  const lowest = (name: keyof Limits) => lowestOf(chosen.map(({ spec }) => spec.limits?.[name]));
  const [packets, connections, allConnections] = [
    lowest('packets'),
    lowest('connections'),
    lowest('allConnections'),
  ];
  if (denied.length === 0 && !packets && !connections && !allConnections) return undefined;
  return {
    objects: chosen.map(({ metadata }) => metadata.name),
    denied: [...new Set(denied)].toSorted(),
    ...(packets && { packets }),
    ...(connections && { connections }),
    ...(allConnections && { allConnections }),
  };
}

function usualForm(text: string): string[] {
  const cidr = tryParseCidr(text);
  return cidr ? [formatCidr(cidr)] : [];
}

/** Of rate and burst each, so that what holds does not depend on who said which. */
function lowestOf(rates: readonly (RateLimit | undefined)[]): Rate | undefined {
  const said = rates.filter((rate) => rate !== undefined);
  if (said.length === 0) return undefined;
  return {
    perSecond: Math.min(...said.map(({ perSecond }) => perSecond)),
    burst: Math.min(...said.map(({ perSecond, burst = perSecond }) => burst)),
  };
}
