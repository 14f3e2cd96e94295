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

/** A number, or a name that the destination's pods give a port. @throws HeddleError `BadFlag` */
export function portOf(
  text: string | undefined,
  protocol: Protocol,
  dst: WorldPod | undefined,
  flag = '--port',
): number {
  const value = Number(text);
  if (text !== undefined && /^\d+$/.test(text) && value >= 1 && value <= 65535) return value;
  const named = dst?.ports.find(
    (port) => text !== undefined && port.name === text && port.protocol === (protocol as PortProtocol),
  );
  if (named) return named.port;
  const names = (dst?.ports ?? []).flatMap(({ name }) => name ?? []);
  const hint = names.length > 0 ? { hint: `it names ${names.join(', ')}` } : {};
  const expected = `expected 1 to 65535${dst ? ', or the name of a port of the destination' : ''}`;
  const message =
    text === undefined
      ? `${flag} is missing: ${protocol} has ports; ${expected}`
      : `${flag} "${text}": ${expected}`;
  throw new HeddleError('BadFlag', message, hint);
}
