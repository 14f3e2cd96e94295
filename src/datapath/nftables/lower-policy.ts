/**
 * A policy table is a chain that looks (identity, protocol, port) up in its maps and goes to the chain of the rule
 * that decides. A rule's chain counts, logs, and drops or returns to `forward` (there by `jump`; `goto` on the
 * way), which goes on with the other end's check.
 */
import type { PolicyEntry, PolicyTable, RuleInfo } from '../../policy/tables.ts';
import { countedAs } from '../plan/pairs.ts';
import { ANY_MAP_SPEC, PORT_MAP_SPEC, SPAN_MAP_SPEC } from './base.ts';
import {
  anyMap,
  logPrefix,
  mark,
  NFLOG_GROUP,
  peerOf,
  policyChain,
  portMap,
  ruleChain,
  spanMap,
} from './names.ts';
import { chain, commentText, element, type KernelObject, map } from './objects.ts';

const protocolNames: Readonly<Record<number, string>> = {
  1: 'icmp',
  6: 'tcp',
  17: 'udp',
  58: 'ipv6-icmp',
  132: 'sctp',
};

/**
 * The order of look-ups is that of policy/tables.ts: own ports, own any, ports of everybody (identity 0), any of
 * everybody. The last needs no map: it is where the chain ends, in the place of the default deny.
 */
export function lowerPolicy(table: PolicyTable): KernelObject[] {
  const ports = table.entries.filter((entry) => entry.protocol !== null);
  const any = table.entries.filter((entry) => entry.protocol === null && entry.identity !== 0);
  const everybody = table.entries.find((entry) => entry.protocol === null && entry.identity === 0);
  const own = mapsOf(table.number, ports, ({ identity }) => identity !== 0);
  const ofAll = mapsOf(table.number, ports, ({ identity }) => identity === 0);
  const hasSpans = ports.some(isSpan);
  const decides = everybody ? countedAs(everybody) : table.defaultRule;
  return [
    map(portMap(table.number), PORT_MAP_SPEC),
    ...(hasSpans ? [map(spanMap(table.number), SPAN_MAP_SPEC)] : []),
    map(anyMap(table.number), ANY_MAP_SPEC),
    ...ports.map((entry) => element(mapOf(table.number, entry), portKey(entry), toRule(countedAs(entry)))),
    ...any.map((entry) => element(anyMap(table.number), mark(entry.identity), toRule(countedAs(entry)))),
    chain(policyChain(table.number), [
      ...(own.length > 0 || any.length > 0 ? [`jump ${peerOf(table.direction)}`] : []),
      ...own.flatMap(byPort),
      ...(any.length > 0 ? [`meta mark vmap @${anyMap(table.number)}`] : []),
      ...(ofAll.length > 0 ? ['meta mark set 0x00000000', ...ofAll.flatMap(byPort)] : []),
      ...(decides === 0 ? [] : [toRule(decides)]),
    ]),
  ];
}

/** Rule 0 is none: the other end's check comes next. */
const toRule = (rule: number): string => (rule === 0 ? 'return' : `goto ${ruleChain(rule)}`);

const isSpan = ({ ports }: PolicyEntry): boolean => ports === null || ports[0] !== ports[1];

const mapOf = (table: number, entry: PolicyEntry): string => (isSpan(entry) ? spanMap : portMap)(table);

/** Maps in which `which` entries are. Of one identity and protocol no ports are in two. */
const mapsOf = (
  table: number,
  entries: readonly PolicyEntry[],
  which: (entry: PolicyEntry) => boolean,
): string[] => [...new Set(entries.filter(which).map((entry) => mapOf(table, entry)))].sort();

function byPort(name: string): string[] {
  const look = (port: string) => `meta mark . meta l4proto . th ${port} vmap @${name}`;
  return [`ct direction original ${look('dport')}`, `ct direction reply ${look('sport')}`];
}

function portKey({ identity, protocol, ports }: PolicyEntry): string {
  const [first, last] = ports ?? [0, 65535];
  const range = first === last ? `${first}` : `${first}-${last}`;
  return `${mark(identity)} . ${protocolNames[protocol ?? 0] ?? protocol} . ${range}`;
}

/** A flood of new connections fills the reader's buffer: what is above these rates is counted, not logged. */
const ALLOW_LIMIT = 'limit rate 1000/second burst 1000 packets';
const DENY_LIMIT = 'limit rate 100/second burst 500 packets';

export function lowerRule(rule: RuleInfo): KernelObject[] {
  const { number, direction, text } = rule;
  const name = ruleChain(number);
  const log = (verdict: string, reply = false) =>
    `log prefix "${logPrefix(direction, verdict, number, reply)}" group ${NFLOG_GROUP} snaplen 96`;
  const decide =
    rule.verdict === 'allow' || rule.verdict === 'audit-deny'
      ? [`ct state new ${ALLOW_LIMIT} ${log('allow')}`]
      : [
          `ct direction original ${DENY_LIMIT} ${log('deny')}`,
          `ct direction reply ${DENY_LIMIT} ${log('deny', true)}`,
          'drop',
        ];
  const comment = commentText(text);
  return [{ type: 'counter', name, comment }, chain(name, [`counter name "${name}"`, ...decide], comment)];
}
