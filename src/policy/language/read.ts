/** Parts that several languages have in common. What cannot be read is undefined, and reported with its path. */
import type { LabelSelector } from '../../api/selector.ts';
import { type Cidr, tryParseCidr } from '../../lib/ip.ts';
import type { PortMatch } from '../model.ts';
import type { PolicyRef } from '../decision.ts';
import { parseSelector, type Selector } from '../selector.ts';
import type { PolicyProblem } from '../tables.ts';
import type { PortProtocol } from '../world.ts';

/** @param absent it can be read, but what it names is not known */
export type Report = (path: string, message: string, absent?: 'absent') => void;

export const reportTo =
  (problems: PolicyProblem[], policy: PolicyRef): Report =>
  (path, message, absent) =>
    problems.push({ policy, path, message, ...(absent ? { absent: true } : {}) });

export function readCidr(text: unknown, path: string, report: Report): Cidr | undefined {
  const cidr = typeof text === 'string' ? tryParseCidr(text) : undefined;
  if (!cidr)
    report(path, `${JSON.stringify(text)} is not an address range (expected 10.0.0.0/8 or fd00::/64)`);
  return cidr;
}

export const isPort = (port: unknown): port is number =>
  Number.isInteger(port) && Number(port) >= 1 && Number(port) <= 65535;

export function readSelector(input: LabelSelector, path: string, report: Report): Selector | undefined {
  const result = parseSelector(input);
  if (result.ok) return result.selector;
  report(`${path}.${result.path}`, result.message);
  return undefined;
}

/** Absent means TCP. */
export function readProtocol(
  protocol: string | null | undefined,
  path: string,
  report: Report,
): PortProtocol | undefined {
  const known = protocol ?? 'TCP';
  if (known === 'TCP' || known === 'UDP' || known === 'SCTP') return known;
  report(`${path}.protocol`, `"${known}" is not TCP, UDP or SCTP`);
  return undefined;
}

/** Ports that a pod names so, of whichever protocol it says there. */
export function portsNamed(name: unknown, path: string, report: Report): PortMatch[] | undefined {
  if (typeof name === 'string' && name !== '')
    return (['TCP', 'UDP', 'SCTP'] as const).map((protocol) => ({ protocol, name }));
  report(path, `${JSON.stringify(name)} is not the name of a port`);
  return undefined;
}
