/** Protocols, ports and ICMP of Calico's rules. Undefined: a part of it cannot be read, and that is reported. */
import type { CalicoEntityRule, CalicoIcmp, CalicoRule } from '../../api/calico-types.ts';
import { calicoPort, calicoProtocol } from '../../api/calico-values.ts';
import { type IcmpMatch, matchesOfProtocol, type PortMatch } from '../model.ts';
import type { PortProtocol } from '../world.ts';
import type { Report } from './read.ts';

export interface RulePorts {
  readonly ports: readonly PortMatch[] | null;
  /** Names are those of the sender's pod. */
  readonly sourcePorts?: readonly PortMatch[];
}

const NAMES: Readonly<Record<number, PortProtocol>> = { 6: 'TCP', 17: 'UDP', 132: 'SCTP' };
const ICMP_TYPES = 255;
const ICMP_CODES = 256;

/** @param ofService those of the endpoints of a Service, which are the rule's then */
export function readRulePorts(
  rule: CalicoRule,
  ofService: readonly PortMatch[] | undefined,
  path: string,
  report: Report,
): RulePorts | undefined {
  const protocol = readProtocol(rule, 'protocol', path, report);
  const excluded = readProtocol(rule, 'notProtocol', path, report);
  if (protocol === 'bad' || excluded === 'bad') return undefined;
  const { source = {}, destination = {}, icmp, notICMP } = rule;
  const name = protocol === undefined ? undefined : NAMES[protocol];
  const from = readPorts(source, name, `${path}.source`, report);
  const to = readPorts(destination, name, `${path}.destination`, report);
  const family = protocol === 1 ? 4 : protocol === 58 ? 6 : undefined;
  const messages = readIcmp(icmp, notICMP, family, path, report);
  if (!from || !to || !messages) return undefined;
  if (ofService && to.list) {
    report(`${path}.destination.services`, 'may not be used with ports: it means those of the Service');
    return undefined;
  }
  if (protocol !== undefined && protocol === excluded) return { ports: [] };
  return {
    ports: ofService
      ? ofService.filter((port) => isOf(port, protocol, excluded))
      : (messages.list ?? to.list ?? ofProtocols(protocol, excluded)),
    ...(from.list ? { sourcePorts: from.list } : {}),
  };
}

/** Services have none of ICMP. */
function isOf(port: PortMatch, protocol: number | undefined, excluded: number | undefined): boolean {
  const is = (number: number | undefined) =>
    number !== undefined && 'protocol' in port && NAMES[number] === port.protocol;
  return (protocol === undefined || is(protocol)) && !is(excluded);
}

function readProtocol(
  rule: CalicoRule,
  field: 'protocol' | 'notProtocol',
  path: string,
  report: Report,
): number | undefined | 'bad' {
  const value = rule[field];
  if (value === undefined || value === null) return undefined;
  const number = calicoProtocol(value);
  if (number === undefined)
    report(`${path}.${field}`, `${JSON.stringify(value)} is no protocol that Calico names, nor 1 to 255`);
  return number ?? 'bad';
}

function ofProtocols(protocol: number | undefined, excluded: number | undefined): PortMatch[] | null {
  if (protocol !== undefined) return [matchesOfProtocol(protocol)];
  if (excluded === undefined) return null;
  return Array.from({ length: 256 }, (_, number) => number)
    .filter((number) => number !== excluded)
    .map(matchesOfProtocol);
}

interface Ports {
  /** Absent: every port. */
  readonly list?: readonly PortMatch[];
}

function readPorts(
  entity: CalicoEntityRule,
  protocol: PortProtocol | undefined,
  path: string,
  report: Report,
): Ports | undefined {
  const given = { ports: entity.ports ?? [], notPorts: entity.notPorts ?? [] };
  if (given.ports.length === 0 && given.notPorts.length === 0) return {};
  if (protocol === undefined) {
    report(
      `${path}.${given.ports.length > 0 ? 'ports' : 'notPorts'}`,
      'needs protocol to be TCP, UDP or SCTP',
    );
    return undefined;
  }
  const wanted = readList(given.ports, `${path}.ports`, report);
  const excluded = readList(given.notPorts, `${path}.notPorts`, report);
  if (!wanted || !excluded) return undefined;
  const names = wanted.flatMap((port) => ('name' in port ? [{ protocol, name: port.name }] : []));
  if (excluded.some((port) => 'name' in port) || (names.length > 0 && excluded.length > 0)) {
    report(`${path}.notPorts`, 'names of ports are not done where ports are left out');
    return undefined;
  }
  const everything = [{ first: 0, last: 65_535 }];
  const ranges = without(given.ports.length === 0 ? everything : numbers(wanted), numbers(excluded));
  const placed = ranges.map((range) => ({ protocol, ...range }));
  return { list: [...placed, ...names] };
}

type Port = NonNullable<ReturnType<typeof calicoPort>>;
type Range = { readonly first: number; readonly last: number };

const numbers = (ports: readonly Port[]): Range[] => ports.flatMap((port) => ('name' in port ? [] : [port]));

function readList(values: readonly unknown[], path: string, report: Report): Port[] | undefined {
  const ports = values.map((value, i) => {
    const port = calicoPort(value);
    if (!port)
      report(`${path}[${i}]`, `${JSON.stringify(value)} is no port, no range of ports (80:90) and no name`);
    return port;
  });
  const known = ports.filter((port) => port !== undefined);
  return known.length < ports.length ? undefined : known;
}

function without(ranges: readonly Range[], excluded: readonly Range[]): Range[] {
  let left = [...ranges];
  for (const { first, last } of excluded)
    left = left.flatMap((range) =>
      [
        { first: range.first, last: Math.min(range.last, first - 1) },
        { first: Math.max(range.first, last + 1), last: range.last },
      ].filter((part) => part.first <= part.last),
    );
  return left;
}

/** `list` absent: ICMP is not spoken of. */
function readIcmp(
  wanted: CalicoIcmp | undefined,
  excluded: CalicoIcmp | undefined,
  family: 4 | 6 | undefined,
  path: string,
  report: Report,
): { readonly list?: IcmpMatch[] } | undefined {
  if (!wanted && !excluded) return {};
  const field = wanted ? 'icmp' : 'notICMP';
  if (family === undefined) {
    report(`${path}.${field}`, 'needs protocol to be ICMP or ICMPv6');
    return undefined;
  }
  for (const [name, { type, code }] of Object.entries({ icmp: wanted ?? {}, notICMP: excluded ?? {} }))
    if (
      !isWithin(type, ICMP_TYPES) ||
      !isWithin(code, ICMP_CODES) ||
      (code !== undefined && type === undefined)
    ) {
      report(`${path}.${name}`, 'needs a type from 0 to 254, and with it perhaps a code from 0 to 255');
      return undefined;
    }
  const start = { protocol: 'ICMP', family, ...wanted } as const;
  const list = excluded?.type === undefined ? [start] : withoutIcmp(start, excluded.type, excluded.code);
  return { list };
}

const isWithin = (value: number | undefined, count: number): boolean =>
  value === undefined || (Number.isInteger(value) && value >= 0 && value < count);

function withoutIcmp(match: IcmpMatch, type: number, code: number | undefined): IcmpMatch[] {
  const types = match.type === undefined ? upTo(256) : [match.type];
  return types.flatMap((each): IcmpMatch[] => {
    if (each !== type) return [{ ...match, type: each }];
    if (code === undefined) return [];
    const codes = match.code === undefined ? upTo(ICMP_CODES) : [match.code];
    return codes.filter((one) => one !== code).map((one) => ({ ...match, type: each, code: one }));
  });
}

const upTo = (count: number): number[] => Array.from({ length: count }, (_, i) => i);
