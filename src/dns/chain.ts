/** What answers a query: a chain of plugins, each of which answers or asks the next. */
import { RCODE } from './message.ts';
import type { ResourceRecord } from './record.ts';

export interface Query {
  /** Lower case, without the dot at its end. */
  readonly name: string;
  readonly type: number;
  readonly class: number;
  readonly transport: 'udp' | 'tcp';
  /** The asker's address. */
  readonly client: string;
}

export interface Answer {
  readonly rcode: number;
  /** Said by who is responsible for the name. */
  readonly authoritative: boolean;
  /** Whoever said it asks others, too (RA). */
  readonly recursive?: boolean;
  readonly answers: readonly ResourceRecord[];
  readonly authorities: readonly ResourceRecord[];
  readonly additionals: readonly ResourceRecord[];
}

export type Next = (query: Query) => Answer | Promise<Answer>;
export type Plugin = (query: Query, next: Next) => Answer | Promise<Answer>;

export function failure(rcode: number): Answer {
  return { rcode, authoritative: false, answers: [], authorities: [], additionals: [] };
}

const refused = failure(RCODE.REFUSED);

/** Plugins in the order in which they see a query. What none of them answers is refused. */
export function createChain(plugins: readonly Plugin[]): Next {
  return plugins.reduceRight<Next>(
    (next, plugin) => (query) => plugin(query, next),
    () => refused,
  );
}
