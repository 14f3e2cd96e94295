/** Reads tables as a kernel does: by address, identity, protocol and port, in the order that tables.ts gives. */
import { type Address, formatAddress, parseAddress, parseCidr } from '../lib/ip.ts';
import { protocolNumbers } from '../lib/protocols.ts';
import {
  type Decision,
  type Direction,
  decisionOf,
  type Outcome,
  type PolicyRef,
  type Reason,
  type Side,
} from './decision.ts';
import { createLpm } from './lpm.ts';
import { ICMP } from './portless.ts';
import type { PolicyEntry, PolicyTable, PolicyTables } from './tables.ts';
import type { Protocol } from './world.ts';

/** A connection as packets show it. */
export interface WireFlow {
  readonly src: string;
  readonly dst: string;
  readonly protocol: Protocol;
  readonly port?: number | undefined;
  /** Of protocol OTHER. */
  readonly protocolNumber?: number | undefined;
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
    const by = table ? (table.isolatedBy ?? policiesOf(tables, table.defaultRule)) : [];
    const isolation = { isolated: by.length > 0, isolatedBy: by };
    const allow = (reason: Reason): Side => ({ ...ALLOWED, reason, ...isolation, audit: ALLOWED });
    if (!endpoint) return allow('not-a-pod');
    if (here.value === there.value) return allow('self');
    if (tables.nodes.get(endpoint.node)?.includes(thereText) || tables.nodeLocal.has(thereText))
      return allow('own-node');
    if (!table) return allow('not-isolated');
    const entry: Answer = findEntry(table, identityOf(there), flow) ?? {
      verdict: 'deny',
      rule: table.defaultRule,
    };
    const outcome = outcomeOf(tables, entry.verdict === 'deny' ? 'deny' : 'allow', entry.rule);
    const audit = entry.audit ? outcomeOf(tables, entry.audit.verdict, entry.audit.rule) : outcome;
    const reason = outcome.rule ? 'rule' : outcome.verdict === 'deny' ? 'default-deny' : 'no-rule';
    return {
      ...outcome,
      reason,
      ...isolation,
      ...(reason === 'default-deny' ? { closedBy: policiesOf(tables, entry.rule) } : {}),
      ...(entry.redirect || entry.verdict === 'redirect' ? { redirect: true } : {}),
      ...(entry.auth ? { auth: entry.auth } : {}),
      audit,
    };
  };
  return (flow) => {
    const src = parseAddress(flow.src);
    const dst = parseAddress(flow.dst);
    return decisionOf(side('egress', src, dst, flow), side('ingress', dst, src, flow));
  };
}

type Answer = Pick<PolicyEntry, 'verdict' | 'rule' | 'audit' | 'auth' | 'redirect'>;

const ALLOWED = { verdict: 'allow', ruleNumber: 0 } as const;

function outcomeOf(tables: PolicyTables, verdict: 'allow' | 'deny', number: number): Outcome {
  const origin = tables.rules.get(number)?.origin;
  const rule = origin && !('default' in origin) ? { rule: origin } : {};
  return { verdict, ...rule, ruleNumber: number };
}

export function createIdentify(tables: Pick<PolicyTables, 'identities'>): (address: Address) => number {
  const lpm = createLpm<number>();
  for (const [cidr, identity] of tables.identities) lpm.set(parseCidr(cidr), identity);
  return (address) => lpm.match(address) ?? 0;
}

/** Of a default deny. */
function policiesOf(tables: PolicyTables, rule: number): readonly PolicyRef[] {
  const origin = tables.rules.get(rule)?.origin;
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
  if (ports === null || protocol !== numberOf(flow)) return false;
  return flow.port === undefined || (ports[0] <= flow.port && flow.port <= ports[1]);
}

function numberOf({ protocol, dst, protocolNumber }: WireFlow): number | undefined {
  if (protocol === 'OTHER') return protocolNumber;
  return protocol === 'ICMP' ? ICMP[dst.includes(':') ? 6 : 4] : protocolNumbers[protocol];
}
