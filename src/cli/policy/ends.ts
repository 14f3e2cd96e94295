/** Who and what a user's words for a flow mean. */
import { HeddleError } from '../../lib/errors.ts';
import { tryParseAddress } from '../../lib/ip.ts';
import type { Estate } from '../../policy/analyse/estate.ts';
import { type FlowEnd, podKey, type PortProtocol, type Protocol, type WorldPod } from '../../policy/world.ts';
import { findWorkload } from './common.ts';

export interface FoundEnd {
  readonly end: FlowEnd;
  /** Undefined for an address. */
  readonly pod: WorldPod | undefined;
}

/** An address, a pod, or a workload, of which its first pod is taken. @throws HeddleError `BadFlag` */
export function findEnd(estate: Estate, flag: string, text: string, namespace: string): FoundEnd {
  if (tryParseAddress(text)) {
    const pod = estate.world.pods.find((each) => !each.hostNetwork && each.addresses.includes(text));
    return { end: { address: text }, pod };
  }
  const key = text.includes('/') ? text : `${namespace}/${text}`;
  const exact = estate.world.pods.find((pod) => podKey(pod) === key);
  const pod = exact ?? findWorkload(estate, flag, text, namespace).pods[0]!;
  return { end: { pod: podKey(pod) }, pod };
}

const PROTOCOLS: readonly Protocol[] = ['TCP', 'UDP', 'SCTP', 'ICMP'];

/** @throws HeddleError `BadFlag` */
export function protocolOf(text: string, flag = '--protocol'): Protocol {
  const found = PROTOCOLS.find((each) => each === text.toUpperCase());
  if (found) return found;
  throw new HeddleError('BadFlag', `${flag} "${text}": expected tcp, udp, sctp or icmp`);
}

/** A number, or a name that the destination's pods give a port. @throws HeddleError `BadFlag` */
export function portOf(text: string, protocol: Protocol, dst: WorldPod | undefined, flag = '--port'): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= 1 && value <= 65535) return value;
  const named = dst?.ports.find((port) => port.name === text && port.protocol === (protocol as PortProtocol));
  if (named) return named.port;
  throw new HeddleError(
    'BadFlag',
    `${flag} "${text}": expected 1 to 65535, or the name of a port of the destination`,
  );
}
