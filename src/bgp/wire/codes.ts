/** Numbers of BGP-4 and their names (RFC 4271, IANA "Border Gateway Protocol (BGP) Parameters"). */

export const MESSAGE = { OPEN: 1, UPDATE: 2, NOTIFICATION: 3, KEEPALIVE: 4, ROUTE_REFRESH: 5 } as const;

/** Octets: the marker, the length and the type (RFC 4271 section 4.1). */
export const HEADER_LENGTH = 19;
export const MAX_MESSAGE = 4096;

export const ERROR = {
  HEADER: 1,
  OPEN: 2,
  UPDATE: 3,
  HOLD_TIMER: 4,
  FSM: 5,
  CEASE: 6,
  ROUTE_REFRESH: 7,
} as const;

export const HEADER_ERROR = { NOT_SYNCHRONIZED: 1, BAD_LENGTH: 2, BAD_TYPE: 3 } as const;
export const OPEN_ERROR = {
  VERSION: 1,
  BAD_PEER_AS: 2,
  BAD_IDENTIFIER: 3,
  OPTIONAL_PARAMETER: 4,
  HOLD_TIME: 6,
  CAPABILITY: 7,
} as const;
export const UPDATE_ERROR = {
  MALFORMED_ATTRIBUTES: 1,
  UNKNOWN_WELL_KNOWN: 2,
  MISSING_WELL_KNOWN: 3,
  FLAGS: 4,
  LENGTH: 5,
  ORIGIN: 6,
  NEXT_HOP: 8,
  OPTIONAL_ATTRIBUTE: 9,
  NETWORK_FIELD: 10,
  AS_PATH: 11,
} as const;
/** RFC 6608: which state the unexpected message came in. */
export const FSM_ERROR = { OPEN_SENT: 1, OPEN_CONFIRM: 2, ESTABLISHED: 3 } as const;
/** RFC 4486, RFC 8538. */
export const CEASE = {
  MAX_PREFIXES: 1,
  SHUTDOWN: 2,
  DECONFIGURED: 3,
  RESET: 4,
  REJECTED: 5,
  CONFIGURATION_CHANGE: 6,
  COLLISION: 7,
  OUT_OF_RESOURCES: 8,
  HARD_RESET: 9,
} as const;

const errorNames: Readonly<Record<number, readonly [name: string, subcodes: readonly string[]]>> = {
  1: ['Message Header Error', ['', 'Connection Not Synchronized', 'Bad Message Length', 'Bad Message Type']],
  2: [
    'OPEN Message Error',
    [
      '',
      'Unsupported Version Number',
      'Bad Peer AS',
      'Bad BGP Identifier',
      'Unsupported Optional Parameter',
      '',
      'Unacceptable Hold Time',
      'Unsupported Capability',
    ],
  ],
  3: [
    'UPDATE Message Error',
    [
      '',
      'Malformed Attribute List',
      'Unrecognized Well-known Attribute',
      'Missing Well-known Attribute',
      'Attribute Flags Error',
      'Attribute Length Error',
      'Invalid ORIGIN Attribute',
      '',
      'Invalid NEXT_HOP Attribute',
      'Optional Attribute Error',
      'Invalid Network Field',
      'Malformed AS_PATH',
    ],
  ],
  4: ['Hold Timer Expired', []],
  5: [
    'Finite State Machine Error',
    [
      '',
      'Unexpected Message in OpenSent',
      'Unexpected Message in OpenConfirm',
      'Unexpected Message in Established',
    ],
  ],
  6: [
    'Cease',
    [
      '',
      'Maximum Number of Prefixes Reached',
      'Administrative Shutdown',
      'Peer De-configured',
      'Administrative Reset',
      'Connection Rejected',
      'Other Configuration Change',
      'Connection Collision Resolution',
      'Out of Resources',
      'Hard Reset',
      'BFD Down',
    ],
  ],
  7: ['ROUTE-REFRESH Message Error', ['', 'Invalid Message Length']],
};

/** `OPEN Message Error: Bad Peer AS`; numbers where there is no name. */
export function errorName(code: number, subcode: number): string {
  const [name, subcodes] = errorNames[code] ?? [`error ${code}`, []];
  if (subcode === 0) return name;
  return `${name}: ${subcodes[subcode] || `subcode ${subcode}`}`;
}

export const ATTRIBUTE = {
  ORIGIN: 1,
  AS_PATH: 2,
  NEXT_HOP: 3,
  MED: 4,
  LOCAL_PREF: 5,
  ATOMIC_AGGREGATE: 6,
  AGGREGATOR: 7,
  COMMUNITIES: 8,
  ORIGINATOR_ID: 9,
  CLUSTER_LIST: 10,
  MP_REACH: 14,
  MP_UNREACH: 15,
  EXTENDED_COMMUNITIES: 16,
  AS4_PATH: 17,
  AS4_AGGREGATOR: 18,
  LARGE_COMMUNITIES: 32,
} as const;

const attributeNames = new Map<number, string>(Object.entries(ATTRIBUTE).map(([name, code]) => [code, name]));
export const attributeName = (code: number): string => attributeNames.get(code) ?? `attribute ${code}`;

/** What stands in the two octets of an AS that needs four (RFC 6793 section 9). */
export const AS_TRANS = 23456;

export const SAFI_UNICAST = 1;

/** Address families by what a user calls them. */
export type AddressFamily = 'ipv4' | 'ipv6';
export const AFI: Readonly<Record<AddressFamily, number>> = { ipv4: 1, ipv6: 2 };
/** Undefined for a family that is not spoken here. */
export function familyOf(afi: number, safi: number): AddressFamily | undefined {
  if (safi !== SAFI_UNICAST) return undefined;
  return afi === AFI.ipv4 ? 'ipv4' : afi === AFI.ipv6 ? 'ipv6' : undefined;
}

export const familyOfPrefix = (prefix: string): AddressFamily => (prefix.includes(':') ? 'ipv6' : 'ipv4');
