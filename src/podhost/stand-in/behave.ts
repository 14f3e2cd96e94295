/** A pod's behaviour at work: what happens between a request and its answer, and rounds of calls on its own. */
import { randomBytes } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import type { Behaviour, CallTarget } from './behaviour.ts';
import { BUDGET_HEADER, budgetOf, type CallBudget, formatBudget, share } from './call-budget.ts';
import { latencyAt } from './latency.ts';
import { traceHeaders } from './trace.ts';
import type { CallReport } from './types.ts';

export interface BehaveDeps {
  call(target: CallTarget, headers: Record<string, string>, signal: AbortSignal): Promise<CallReport>;
  /** False when as many calls are under way as may be; else `release` is to be called once. */
  admit(): (() => void) | undefined;
  onCall(report: CallReport): void;
  /** 0 to 1. */
  random(): number;
  /** Resolves after `ms`, or when the signal aborts. */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
}

export interface Outcome {
  /** Instead of what would be answered. */
  failure?: { status: number; grpc: number; message: string; injected: boolean };
  calls?: CallReport[];
}

const CALLS_TIMEOUT = 5000;

const randomHex = (bytes: number): string => randomBytes(bytes).toString('hex');

/** Waits, fails or calls as asked. Never rejects; `signal`: the one who asked has gone. */
export async function behave(
  behaviour: Behaviour,
  headers: IncomingHttpHeaders,
  signal: AbortSignal,
  deps: BehaveDeps,
): Promise<Outcome> {
  const { latency, error } = behaviour;
  if (latency) await deps.sleep(latencyAt(latency, deps.random()), signal);
  if (signal.aborted) return {};
  if (error && deps.random() < error.share) {
    const { status, grpc } = error;
    return {
      failure: { status, grpc, message: 'asked for by heddle.dev/stand-in-error-rate', injected: true },
    };
  }
  return behaviour.calls ? outcomeOf(await callAll(behaviour, headers, signal, deps)) : {};
}

/** As an application does that cannot do without what it calls. */
function outcomeOf(calls: CallReport[]): Outcome {
  const bad = calls.find(isFailed);
  if (!bad) return { calls };
  const why = bad.error ?? `status ${bad.status ?? bad.grpcStatus}`;
  return { calls, failure: { status: 502, grpc: 14, message: `${bad.url}: ${why}`, injected: false } };
}

export const isFailed = ({ error, status = 200, grpcStatus = 0 }: CallReport): boolean =>
  error !== undefined || status >= 500 || grpcStatus !== 0;

/** All calls of one request, reported in the order of the annotation. */
export async function callAll(
  { calls = [], inOrder, timeoutMs = CALLS_TIMEOUT }: Behaviour,
  incoming: IncomingHttpHeaders,
  signal: AbortSignal,
  deps: BehaveDeps,
): Promise<CallReport[]> {
  const each = share(budgetOf(incoming[BUDGET_HEADER]), calls.length);
  if (typeof each === 'string') return calls.map(({ url }) => ({ url, ms: 0, skipped: each }));
  const late = new AbortController();
  const timer = setTimeout(
    () => late.abort(new Error(`ETIMEDOUT the calls of this request may take ${timeoutMs} ms together`)),
    timeoutMs,
  );
  const either = AbortSignal.any([signal, late.signal]);
  // A trace that begins here is one for all of them.
  const trace = traceHeaders(incoming, randomHex);
  const one = (target: CallTarget) => callOne(target, { trace, each, signal: either }, deps);
  try {
    if (!inOrder) return await Promise.all(calls.map(one));
    const reports: CallReport[] = [];
    for (const target of calls) reports.push(await one(target));
    return reports;
  } finally {
    clearTimeout(timer);
  }
}

interface Round {
  trace: Record<string, string>;
  each: CallBudget;
  signal: AbortSignal;
}

async function callOne(target: CallTarget, round: Round, deps: BehaveDeps): Promise<CallReport> {
  const release = deps.admit();
  const { url } = target;
  if (!release)
    return { url, ms: 0, error: 'EAGAIN as many calls are under way as a pod, or its node, may make' };
  try {
    // Each call is a span of its own.
    const headers = { ...traceHeaders(round.trace, randomHex), [BUDGET_HEADER]: formatBudget(round.each) };
    const report = await deps.call(target, headers, round.signal);
    deps.onCall(report);
    return report;
  } finally {
    release();
  }
}
