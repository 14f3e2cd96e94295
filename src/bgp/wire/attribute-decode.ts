/** Reading path attributes, with the handling of errors that RFC 7606 gives each of them. */
import { formatAddress, fromBytes } from '../../lib/ip.ts';
import { decodeAsPath, mergeAs4Path } from './as-path.ts';
import {
  type Aggregator,
  type Origin,
  origins,
  type PathAttributes,
  type PathSegment,
  type UnknownAttribute,
} from './attributes.ts';
import { AS_TRANS, ATTRIBUTE, attributeName, ERROR, UPDATE_ERROR } from './codes.ts';
import { BgpError } from './notification.ts';

export interface DecodeContext {
  /** Both ends have the capability of RFC 6793. */
  readonly fourOctetAs: boolean;
  /** The peer is of another AS. */
  readonly external: boolean;
  /** IPv4 prefixes may have a next hop of IPv6 (RFC 8950). */
  readonly extendedNextHop: boolean;
}

/** What was wrong and was survived. `withdraw`: the routes of the message count as withdrawn. */
export interface AttributeProblem {
  readonly approach: 'withdraw' | 'discard';
  readonly attribute: string;
  readonly detail: string;
}

/** Attributes as far as they could be read, before it is known whether those needed are there. */
export interface ReadAttributes {
  readonly found: Partial<Mutable<PathAttributes>>;
  /** NEXT_HOP, for the prefixes at the end of the message. */
  readonly nextHop: string | undefined;
  readonly mpReach: Buffer | undefined;
  readonly mpUnreach: Buffer | undefined;
  /** Codes that were there, broken or not. */
  readonly seen: ReadonlySet<number>;
  readonly problems: AttributeProblem[];
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

interface Draft {
  found: Partial<Mutable<PathAttributes>>;
  nextHop?: string;
  mpReach?: Buffer;
  mpUnreach?: Buffer;
  as4Path?: PathSegment[];
  as4Aggregator?: Aggregator;
  unknown: UnknownAttribute[];
}

interface Rule {
  /** What the flags Optional (0x80) and Transitive (0x40) must be. */
  readonly flags: number;
  /** For broken contents. */
  readonly approach: AttributeProblem['approach'];
  /** Internal peers alone may send it; from others it is discarded unread. */
  readonly internal?: boolean;
  /** A text is what is wrong. */
  read(data: Buffer, draft: Draft, context: DecodeContext): string | undefined;
}

const OPTIONAL = 0x80;
const TRANSITIVE = 0x40;
const PARTIAL = 0x20;
const EXTENDED_LENGTH = 0x10;

const length = (data: Buffer, expected: string) => `${data.length} octets, expected ${expected}`;
const addressOf = (data: Uint8Array) => formatAddress(fromBytes(data));

/** Pieces of `size` octets as text; undefined where the length is none of theirs. */
function pieces(data: Buffer, size: number, text: (piece: Buffer) => string): string[] | undefined {
  if (data.length === 0 || data.length % size !== 0) return undefined;
  return Array.from({ length: data.length / size }, (_, i) => text(data.subarray(i * size, (i + 1) * size)));
}

function aggregatorOf(data: Buffer, size: 2 | 4): Aggregator {
  return { as: data.readUIntBE(0, size), address: addressOf(data.subarray(size)) };
}

const u32 =
  (set: (draft: Draft, value: number) => void): Rule['read'] =>
  (data, draft) => {
    if (data.length !== 4) return length(data, '4');
    set(draft, data.readUInt32BE());
    return undefined;
  };

const list =
  (
    size: number,
    text: (piece: Buffer) => string,
    set: (draft: Draft, values: string[]) => void,
  ): Rule['read'] =>
  (data, draft) => {
    const values = pieces(data, size, text);
    if (!values) return length(data, `a multiple of ${size}`);
    set(draft, values);
    return undefined;
  };

const rules: Readonly<Record<number, Rule>> = {
  [ATTRIBUTE.ORIGIN]: {
    flags: TRANSITIVE,
    approach: 'withdraw',
    read(data, draft) {
      if (data.length !== 1) return length(data, '1');
      const origin: Origin | undefined = origins[data[0] ?? 0];
      if (!origin) return `the value ${data[0]}, expected 0 to 2`;
      draft.found.origin = origin;
      return undefined;
    },
  },
  [ATTRIBUTE.AS_PATH]: {
    flags: TRANSITIVE,
    approach: 'withdraw',
    read(data, draft, { fourOctetAs }) {
      const path = decodeAsPath(data, fourOctetAs ? 4 : 2);
      if (typeof path === 'string') return path;
      draft.found.asPath = path;
      return undefined;
    },
  },
  [ATTRIBUTE.NEXT_HOP]: {
    flags: TRANSITIVE,
    approach: 'withdraw',
    read(data, draft) {
      if (data.length !== 4) return length(data, '4');
      draft.nextHop = addressOf(data);
      return undefined;
    },
  },
  [ATTRIBUTE.MED]: {
    flags: OPTIONAL,
    approach: 'withdraw',
    read: u32((draft, value) => (draft.found.med = value)),
  },
  [ATTRIBUTE.LOCAL_PREF]: {
    flags: TRANSITIVE,
    approach: 'withdraw',
    internal: true,
    read: u32((draft, value) => (draft.found.localPref = value)),
  },
  [ATTRIBUTE.ATOMIC_AGGREGATE]: {
    flags: TRANSITIVE,
    approach: 'discard',
    read(data, draft) {
      if (data.length !== 0) return length(data, '0');
      draft.found.atomicAggregate = true;
      return undefined;
    },
  },
  [ATTRIBUTE.AGGREGATOR]: {
    flags: OPTIONAL | TRANSITIVE,
    approach: 'discard',
    read(data, draft, { fourOctetAs }) {
      const size = fourOctetAs ? 4 : 2;
      if (data.length !== size + 4) return length(data, `${size + 4}`);
      draft.found.aggregator = aggregatorOf(data, size);
      return undefined;
    },
  },
  [ATTRIBUTE.COMMUNITIES]: {
    flags: OPTIONAL | TRANSITIVE,
    approach: 'withdraw',
    read: list(
      4,
      (piece) => `${piece.readUInt16BE(0)}:${piece.readUInt16BE(2)}`,
      (draft, values) => (draft.found.communities = values),
    ),
  },
  [ATTRIBUTE.ORIGINATOR_ID]: {
    flags: OPTIONAL,
    approach: 'withdraw',
    internal: true,
    read(data, draft) {
      if (data.length !== 4) return length(data, '4');
      draft.found.originatorId = addressOf(data);
      return undefined;
    },
  },
  [ATTRIBUTE.CLUSTER_LIST]: {
    flags: OPTIONAL,
    approach: 'withdraw',
    internal: true,
    read: list(4, addressOf, (draft, values) => (draft.found.clusterList = values)),
  },
  [ATTRIBUTE.MP_REACH]: {
    flags: OPTIONAL,
    approach: 'withdraw',
    read(data, draft) {
      draft.mpReach = data;
      return undefined;
    },
  },
  [ATTRIBUTE.MP_UNREACH]: {
    flags: OPTIONAL,
    approach: 'withdraw',
    read(data, draft) {
      draft.mpUnreach = data;
      return undefined;
    },
  },
  [ATTRIBUTE.EXTENDED_COMMUNITIES]: {
    flags: OPTIONAL | TRANSITIVE,
    approach: 'withdraw',
    read: list(
      8,
      (piece) => piece.toString('hex'),
      (draft, values) => (draft.found.extendedCommunities = values),
    ),
  },
  [ATTRIBUTE.AS4_PATH]: {
    flags: OPTIONAL | TRANSITIVE,
    approach: 'discard',
    read(data, draft, { fourOctetAs }) {
      if (fourOctetAs) return 'from a speaker of four-octet AS numbers';
      const path = decodeAsPath(data, 4);
      if (typeof path === 'string') return path;
      draft.as4Path = path;
      return undefined;
    },
  },
  [ATTRIBUTE.AS4_AGGREGATOR]: {
    flags: OPTIONAL | TRANSITIVE,
    approach: 'discard',
    read(data, draft, { fourOctetAs }) {
      if (fourOctetAs) return 'from a speaker of four-octet AS numbers';
      if (data.length !== 8) return length(data, '8');
      draft.as4Aggregator = aggregatorOf(data, 4);
      return undefined;
    },
  },
  [ATTRIBUTE.LARGE_COMMUNITIES]: {
    flags: OPTIONAL | TRANSITIVE,
    approach: 'withdraw',
    read: list(
      12,
      (piece) => [0, 4, 8].map((at) => piece.readUInt32BE(at)).join(':'),
      (draft, values) => (draft.found.largeCommunities = [...new Set(values)]),
    ),
  },
};

/** @throws BgpError where RFC 7606 leaves no other way than to end the session */
export function readAttributes(data: Buffer, context: DecodeContext): ReadAttributes {
  const draft: Draft = { found: {}, unknown: [] };
  const seen = new Set<number>();
  const problems: AttributeProblem[] = [];
  for (let at = 0; at < data.length; ) {
    const header = attributeHeader(data, at);
    if (typeof header === 'string') {
      problems.push({ approach: 'withdraw', attribute: 'attribute list', detail: header });
      break;
    }
    const { flags, code, from, to } = header;
    at = to;
    const problem = seen.has(code)
      ? repeated(code)
      : readOne(code, flags, data.subarray(from, to), draft, context);
    if (problem) problems.push(problem);
    seen.add(code);
  }
  if (!context.fourOctetAs) joinFourOctets(draft);
  if (draft.unknown.length > 0) draft.found.unknown = draft.unknown;
  const { found, nextHop, mpReach, mpUnreach } = draft;
  return { found, nextHop, mpReach, mpUnreach, seen, problems };
}

function attributeHeader(data: Buffer, at: number) {
  const flags = data[at] ?? 0;
  const size = flags & EXTENDED_LENGTH ? 4 : 3;
  if (at + size > data.length) return 'the last attribute has no whole header';
  const from = at + size;
  const to = from + data.readUIntBE(at + 2, size - 2);
  const code = data[at + 1] ?? 0;
  if (to > data.length) return `${attributeName(code)} is longer than the list`;
  return { flags, code, from, to };
}

/** RFC 7606 section 3 (g). */
function repeated(code: number): AttributeProblem {
  if (code === ATTRIBUTE.MP_REACH || code === ATTRIBUTE.MP_UNREACH)
    throw new BgpError(ERROR.UPDATE, UPDATE_ERROR.MALFORMED_ATTRIBUTES, `${attributeName(code)} twice`);
  return { approach: 'discard', attribute: attributeName(code), detail: 'twice; the first counts' };
}

function readOne(
  code: number,
  flags: number,
  data: Buffer,
  draft: Draft,
  context: DecodeContext,
): AttributeProblem | undefined {
  const rule = rules[code];
  const attribute = attributeName(code);
  if (!rule) return keepUnknown(code, flags, data, draft);
  if (rule.internal && context.external)
    return { approach: 'discard', attribute, detail: 'from a peer of another AS' };
  if ((flags & (OPTIONAL | TRANSITIVE)) !== rule.flags) {
    // Its prefixes must still be read, to know what counts as withdrawn.
    if (code === ATTRIBUTE.MP_REACH || code === ATTRIBUTE.MP_UNREACH) rule.read(data, draft, context);
    const approach =
      code === ATTRIBUTE.AS4_PATH || code === ATTRIBUTE.AS4_AGGREGATOR ? 'discard' : 'withdraw';
    return { approach, attribute, detail: `flags 0x${flags.toString(16)}` };
  }
  const detail = rule.read(data, draft, context);
  return detail === undefined ? undefined : { approach: rule.approach, attribute, detail };
}

function keepUnknown(code: number, flags: number, data: Buffer, draft: Draft): undefined {
  if (!(flags & OPTIONAL))
    throw new BgpError(
      ERROR.UPDATE,
      UPDATE_ERROR.UNKNOWN_WELL_KNOWN,
      attributeName(code),
      attributeBytes(code, flags, data),
    );
  if (flags & TRANSITIVE)
    draft.unknown.push({ code, flags: OPTIONAL | TRANSITIVE | PARTIAL, data: Uint8Array.from(data) });
}

/** RFC 4271 section 6.3: the data of the notification is the attribute, whole. */
function attributeBytes(code: number, flags: number, data: Buffer): Uint8Array {
  const length = flags & EXTENDED_LENGTH ? [data.length >> 8, data.length & 255] : [data.length & 255];
  return Buffer.concat([Uint8Array.of(flags, code, ...length), data]);
}

/** RFC 6793 section 4.2.3. */
function joinFourOctets({ found, as4Path, as4Aggregator }: Draft): void {
  if (found.aggregator && as4Aggregator && found.aggregator.as !== AS_TRANS) return;
  if (as4Aggregator && found.aggregator) found.aggregator = as4Aggregator;
  if (as4Path && found.asPath) found.asPath = mergeAs4Path(found.asPath, as4Path);
}
