/** Names in the table. Numbers of rules and policy tables are written as eight hex digits everywhere. */
import { createHash } from 'node:crypto';
import type { Direction } from '../../policy/decision.ts';

const hex = (number: number): string => number.toString(16).padStart(8, '0');
export const mark = (number: number): string => `0x${hex(number)}`;

export const ruleChain = (number: number): string => `rule-${hex(number)}`;
export const policyChain = (number: number): string => `policy-${hex(number)}`;
/** Puts the identity of a policy's peer into the mark. */
export const peerOf = (direction: Direction): string => `peer-${direction}`;
export const portMap = (number: number): string => `ports-${hex(number)}`;
export const spanMap = (number: number): string => `spans-${hex(number)}`;
export const isSpanMap = (name: string): boolean => name.startsWith('spans-');
export const anyMap = (number: number): string => `any-${hex(number)}`;

const RULE_CHAIN = /^rule-([0-9a-f]{8})$/;

export function ruleOfChain(name: string): number | undefined {
  const digits = RULE_CHAIN.exec(name)?.[1];
  return digits === undefined ? undefined : Number.parseInt(digits, 16);
}

/** Of chains and maps that belong to one frontend: IPv6 addresses are no names. Their comment says whose they are. */
export const digest = (text: string): string => createHash('sha256').update(text).digest('hex').slice(0, 12);

/** A backend as a number that is not 0 and stays the same wherever its slot is. */
export const backendNumber = (text: string): number =>
  createHash('sha256').update(text).digest().readUInt32BE(0) & 0x7fffffff || 1;

/** A rule's words in the kernel's log: `heddle ingress deny 1a2b3c4d`, with `reply` where that is so. */
export const logPrefix = (direction: string, verdict: string, rule: number, reply = false): string =>
  `heddle ${direction} ${verdict} ${hex(rule)}${reply ? ' reply' : ''}`;

export const NFLOG_GROUP = 100;
