/** IP protocols, named as Kubernetes objects name them. */

/** Those with ports. */
export const protocolNumbers = { TCP: 6, UDP: 17, SCTP: 132 } as const;

const names = new Map<number, string>([
  ...Object.entries(protocolNumbers).map(([name, number]) => [number, name] as const),
  [1, 'ICMP'],
  [58, 'ICMP'],
]);

/** ICMP of both families has one name; others are their number. */
export const protocolName = (number: number): string => names.get(number) ?? String(number);
