/** Parts that several languages have in common. What cannot be read is undefined, and reported with its path. */
import type { LabelSelector } from '../../api/selector.ts';
import { type Cidr, tryParseCidr } from '../../lib/ip.ts';
import { parseSelector, type Selector } from '../selector.ts';

export type Report = (path: string, message: string) => void;

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
