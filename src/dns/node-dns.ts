/** The DNS of a node: what sees a query, in which order. */
import type { Log } from '../lib/log.ts';
import { createChain, type Next } from './chain.ts';
import { answerErrors } from './errors.ts';
import { kubernetes } from './kubernetes.ts';
import type { Records } from './records.ts';
import { rotate } from './rotate.ts';

export interface NodeDnsOptions {
  records: Records;
  /** Where this DNS is reached. */
  addresses: readonly string[];
  /** Ranges of services and pods. */
  ranges: readonly string[];
  log: Log;
}

/** A later cache goes before `kubernetes`, forwarding to other servers after it. */
export const createNodeDns = ({ records, addresses, ranges, log }: NodeDnsOptions): Next =>
  createChain([answerErrors(log), rotate(), kubernetes({ records, ranges, addresses })]);
