/** Reads tables as a kernel does: by address, identity, protocol and port, in the order that tables.ts gives. */
import { type Address, formatAddress, parseAddress, parseCidr } from '../lib/ip.ts';
import type { Decision, Direction, Reason, Side } from './decision.ts';
import { protocolNumbers } from '../lib/protocols.ts';
import { createLpm } from './lpm.ts';
import type { PolicyEntry, PolicyTable, PolicyTables } from './tables.ts';
import type { Protocol } from './world.ts';

/** A connection as packets show it. */
export interface WireFlow {
  readonly src: string;
  readonly dst: string;
  readonly protocol: Protocol;
  readonly port?: number | undefined;
}

/** For many flows use `createLookup`. With tables of one node, pods elsewhere are no pods here. @throws HeddleError `BadAddress` */
export function lookup(tables: PolicyTables, flow: WireFlow): Decision {
  return createLookup(tables)(flow);
}

export function createLookup(tables: PolicyTables): (flow: WireFlow) => Decision {
  const identityOf = createIdentify(tables);
  const side = (direction: Direction, here: Address, there: Address, flow: WireFlow): Side => {
    const thereText = formatAddress(there);
    const endpoint = tables.endpoints.get(formatAddress(here));
    const table = endpoint && tables.tables.get(endpoint[direction]);
    const isolation = { isolated: table !== undefined, isolatedBy: table ? isolatedBy(tables, table) : [] };
    const allow = (reason: Reason): Side => ({ verdict: 'allow', reason, ...isolation, ruleNumber: 0 });
    if (!endpoint) return allow('not-a-pod');
    if (here.value === there.value) return allow('self');
    if (tables.nodes.get(endpoint.node)?.includes(thereText) || tables.nodeLocal.has(thereText))
      return allow('own-node');
    if (!table) return allow('not-isolated');
    const entry = findEntry(table, identityOf(there), flow);
    if (!entry)
      return { verdict: 'deny', reason: 'default-deny', ...isolation, ruleNumber: table.defaultRule };
    const origin = tables.rules.get(entry.rule)?.origin;
    const rule = origin && 'default' in origin ? undefined : origin;
    return { verdict: 'allow', reason: 'rule', ...isolation, rule, ruleNumber: entry.rule };
  };
  return (flow) => {
    const src = parseAddress(flow.src);
    const dst = parseAddress(flow.dst);
    const egress = side('egress', src, dst, flow);
    const ingress = side('ingress', dst, src, flow);
    const verdict = egress.verdict === 'allow' && ingress.verdict === 'allow' ? 'allow' : 'deny';
    return { verdict, egress, ingress };
  };
}

function createIdentify(tables: PolicyTables): (address: Address) => number {
  const lpm = createLpm<number>();
  for (const [cidr, identity] of tables.identities) lpm.set(parseCidr(cidr), identity);
  return (address) => lpm.match(address) ?? 0;
}

function isolatedBy(tables: PolicyTables, table: PolicyTable) {
  const origin = tables.rules.get(table.defaultRule)?.origin;
  return origin && 'default' in origin ? origin.default : [];
}

/** The entry that decides, as tables.ts orders them; undefined: the table's default rule. */
export function findEntry(table: PolicyTable, identity: number, flow: WireFlow): PolicyEntry | undefined {
  for (const candidate of [identity, 0]) {
    const own = table.entries.filter((entry) => entry.identity === candidate);
    const hit = own.find((entry) => hasPort(entry, flow)) ?? own.find((entry) => entry.protocol === null);
    if (hit) return hit;
  }
  return undefined;
}

function hasPort({ protocol, ports }: PolicyEntry, flow: WireFlow): boolean {
  if (ports === null || flow.port === undefined) return false;
  if (flow.protocol === 'ICMP' || flow.protocol === 'OTHER') return false;
  return protocol === protocolNumbers[flow.protocol] && ports[0] <= flow.port && flow.port <= ports[1];
}
