/** What is said of a path, for people. */
import type { PathReport } from './watch.ts';

export const familyOf = (address: string): 4 | 6 => (address.includes(':') ? 6 : 4);

export interface PathContext {
  readonly node: string;
  readonly encapsulation: string;
  readonly podMtu: number;
  readonly underlayMtu: number;
}

/** The pair, what passes, what does not, and what is likely behind it. */
export function pathText({ node: to, family, verdict, underlay }: PathReport, context: PathContext): string {
  const { node, encapsulation, podMtu, underlayMtu } = context;
  const pair = `${node} to ${to} by ${encapsulation === 'native' ? 'routes' : encapsulation} (IPv${family})`;
  if (verdict.state === 'unreachable') return `${pair}: no answer`;
  if (verdict.state === 'lossy') return `${pair}: ${percent(verdict.loss)} of packets are lost`;
  if (verdict.state === 'proved') return `${pair}: packets of ${podMtu} bytes arrive`;
  const { passes, loss } = verdict;
  const lossy = loss > 0 ? ` (and ${percent(loss)} of small ones are lost)` : '';
  const found = `${pair}: packets of ${passes} bytes pass, of ${passes + 1} to ${podMtu} bytes vanish, and nobody says so${lossy}`;
  if (underlay?.state === 'black-hole')
    return `${found}; between the nodes themselves ${underlay.passes} of ${underlayMtu} bytes pass: a link on the way has a smaller MTU than it says`;
  if (underlay?.state === 'proved')
    return `${found}; between the nodes themselves ${underlayMtu} bytes pass: something on the way drops large packets of ${encapsulation}, such as a firewall`;
  return found;
}

const percent = (share: number): string => `${Math.round(share * 100)} %`;
