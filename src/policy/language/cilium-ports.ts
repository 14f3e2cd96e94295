/** Ports and ICMP messages of Cilium's rules. */
import {
  ICMP_FAMILIES,
  icmpType,
  isPortName,
  PORT_PROTOCOLS,
  portNumberOf,
  PROTOCOL_NUMBERS,
} from '../../api/cilium-words.ts';
import type { CiliumIcmpRule, CiliumPort } from '../../api/cilium-policy-types.ts';
import { matchesOfProtocol, type PortMatch } from '../model.ts';
import type { PortProtocol } from '../world.ts';
import type { Report } from './read.ts';

const WITH_PORTS: readonly PortProtocol[] = ['TCP', 'UDP', 'SCTP'];

/** Undefined if a part cannot be read; none if there are none. */
export function readPorts(
  ports: readonly CiliumPort[] | undefined,
  path: string,
  report: Report,
): PortMatch[] | undefined {
  const read = (ports ?? []).map((port, i) => readPort(port, `${path}[${i}]`, report));
  const known = read.filter((each) => each !== undefined);
  return known.length < read.length ? undefined : known.flat();
}

function readPort(input: CiliumPort, path: string, report: Report): PortMatch[] | undefined {
  const name = (input.protocol || 'ANY').toUpperCase();
  if (!PORT_PROTOCOLS.includes(name)) {
    report(`${path}.protocol`, `"${input.protocol}" is none of ${PORT_PROTOCOLS.join(', ')}`);
    return undefined;
  }
  const range = readRange(input, path, report);
  if (range === undefined) return undefined;
  const numbered = PROTOCOL_NUMBERS[name];
  if (numbered !== undefined) {
    if (range === null) return [matchesOfProtocol(numbered)];
    report(`${path}.port`, `${name} has no ports`);
    return undefined;
  }
  const protocols = WITH_PORTS.filter((protocol) => name === 'ANY' || name === protocol);
  return protocols.map((protocol) => ({ protocol, ...(range ?? { first: 0, last: 65_535 }) }));
}

/** Null: every port. */
function readRange(
  { port, endPort }: CiliumPort,
  path: string,
  report: Report,
): { first: number; last: number } | { name: string } | null | undefined {
  const text = typeof port === 'string' && port !== '' ? port : '0';
  const first = portNumberOf(text);
  const hasEnd = endPort !== undefined && endPort !== null && endPort !== 0;
  if (first === undefined && !isPortName(text)) {
    report(`${path}.port`, `"${text}" is neither a port from 0 to 65535 nor the name of one`);
    return undefined;
  }
  if (hasEnd && (!first || !Number.isInteger(endPort) || endPort < first || endPort > 65_535)) {
    report(
      `${path}.endPort`,
      `${JSON.stringify(endPort)} is not the last port of a range that begins at "${text}"`,
    );
    return undefined;
  }
  // Port names of pods are in lower case.
  if (first === undefined) return { name: text.toLowerCase() };
  if (first === 0) return null;
  return { first, last: hasEnd ? endPort : first };
}

export function readIcmps(
  icmps: readonly CiliumIcmpRule[],
  path: string,
  report: Report,
): PortMatch[] | undefined {
  const read = icmps.flatMap(({ fields }, i) =>
    (fields ?? []).map(({ family, type }, j): PortMatch | undefined => {
      const at = `${path}[${i}].fields[${j}]`;
      const name = family ?? 'IPv4';
      const number = ICMP_FAMILIES.includes(name) ? icmpType(name, type) : undefined;
      if (number !== undefined) return { protocol: 'ICMP', family: name === 'IPv6' ? 6 : 4, type: number };
      report(at, `${JSON.stringify(type)} is no ICMP message of ${name}`);
      return undefined;
    }),
  );
  const known = read.filter((each) => each !== undefined);
  return known.length < read.length ? undefined : known;
}
