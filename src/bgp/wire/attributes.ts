/** Path attributes as the rest of the room knows them. */

export type Origin = 'igp' | 'egp' | 'incomplete';
export const origins: readonly Origin[] = ['igp', 'egp', 'incomplete'];

export interface PathSegment {
  readonly type: 'set' | 'sequence';
  readonly as: readonly number[];
}

export interface Aggregator {
  readonly as: number;
  readonly address: string;
}

/** An optional transitive attribute that is not known here: it is passed on as it came. */
export interface UnknownAttribute {
  readonly code: number;
  readonly flags: number;
  readonly data: Uint8Array;
}

export interface PathAttributes {
  readonly origin: Origin;
  readonly asPath: readonly PathSegment[];
  readonly med?: number;
  readonly localPref?: number;
  readonly atomicAggregate?: boolean;
  readonly aggregator?: Aggregator;
  /** RFC 1997, as `65000:100`. */
  readonly communities?: readonly string[];
  /** RFC 8092, as `65000:1:2`. */
  readonly largeCommunities?: readonly string[];
  /** RFC 4360, eight octets each in hexadecimal; carried, not understood. */
  readonly extendedCommunities?: readonly string[];
  readonly originatorId?: string;
  readonly clusterList?: readonly string[];
  readonly unknown?: readonly UnknownAttribute[];
}

/** Where packets for a route go. `linkLocal`: the same router on the session's link (RFC 2545). */
export interface NextHop {
  readonly address: string;
  readonly linkLocal?: string;
}

/** RFC 1997: what every speaker must obey. */
export const WELL_KNOWN = {
  NO_EXPORT: '65535:65281',
  NO_ADVERTISE: '65535:65282',
  NO_EXPORT_SUBCONFED: '65535:65283',
} as const;

/** What counts in the decision: a set is one hop (RFC 4271 section 9.1.2.2). */
export const pathLength = (path: readonly PathSegment[]): number =>
  path.reduce((sum, { type, as }) => sum + (type === 'set' ? 1 : as.length), 0);

/** The AS that the route was heard from; undefined where it began in this AS, or where the path begins with a set. */
export const firstAs = (path: readonly PathSegment[]): number | undefined =>
  path[0]?.type === 'sequence' ? path[0].as[0] : undefined;

export const pathHas = (path: readonly PathSegment[], as: number): boolean =>
  path.some((segment) => segment.as.includes(as));

/** RFC 4271 section 5.1.2: a segment holds at most 255. */
export function prepend(path: readonly PathSegment[], as: number, times = 1): PathSegment[] {
  const more = Array<number>(times).fill(as);
  const [first, ...rest] = path;
  if (first?.type === 'sequence' && first.as.length + times <= 255)
    return [{ type: 'sequence', as: [...more, ...first.as] }, ...rest];
  return [{ type: 'sequence', as: more }, ...path];
}

/** `65001 65002 {65003 65004}`; empty for a route of this AS. */
export const pathText = (path: readonly PathSegment[]): string =>
  path.map(({ type, as }) => (type === 'set' ? `{${as.join(' ')}}` : as.join(' '))).join(' ');
