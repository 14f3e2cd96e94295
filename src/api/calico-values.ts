/** Protocols and ports as rules of projectcalico.org/v3 write them: a number, or a text that may be one. */

const NUMBERS: Readonly<Record<string, number>> = {
  tcp: 6,
  udp: 17,
  icmp: 1,
  icmpv6: 58,
  sctp: 132,
  udplite: 136,
};

export const CALICO_PROTOCOLS = ['TCP', 'UDP', 'ICMP', 'ICMPv6', 'SCTP', 'UDPLite'];

/** Of IP; undefined for what is neither one of the names nor a number from 1 to 255. */
export function calicoProtocol(value: unknown): number | undefined {
  if (typeof value === 'string' && Object.hasOwn(NUMBERS, value.toLowerCase()))
    return NUMBERS[value.toLowerCase()];
  const number = typeof value === 'string' && /^\d{1,3}$/.test(value) ? Number(value) : value;
  return isWithin(number, 1, 255) ? number : undefined;
}

/** Protocols whose ports rules may name: TCP, UDP, SCTP. */
export const hasPorts = (protocol: number | undefined): boolean =>
  protocol === 6 || protocol === 17 || protocol === 132;

export type CalicoPort = { readonly first: number; readonly last: number } | { readonly name: string };

/** `80`, `"80"`, `"80:90"`, `"http"`; undefined for anything else. */
export function calicoPort(value: unknown): CalicoPort | undefined {
  const text = typeof value === 'number' ? String(value) : value;
  if (typeof text !== 'string') return undefined;
  const range = /^(\d{1,5})(?::(\d{1,5}))?$/.exec(text);
  if (!range) return /^[a-zA-Z0-9_.-]{1,128}$/.test(text) && /\D/.test(text) ? named(text) : undefined;
  const first = Number(range[1]);
  const last = Number(range[2] ?? range[1]);
  return isWithin(first, 1, 65_535) && isWithin(last, first, 65_535) ? { first, last } : undefined;
}

/** `80.5` and `-1` are mistaken numbers. */
const named = (name: string): CalicoPort | undefined => (/[a-zA-Z_]/.test(name) ? { name } : undefined);

const isWithin = (value: unknown, least: number, most: number): value is number =>
  Number.isInteger(value) && Number(value) >= least && Number(value) <= most;

/** What an end of a rule may not have beside `services`, ports apart. */
export const NOT_BESIDE_SERVICES = [
  'selector',
  'notSelector',
  'namespaceSelector',
  'serviceAccounts',
  'nets',
  'notNets',
] as const;
