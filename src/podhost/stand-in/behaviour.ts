/** What the annotations `heddle.dev/stand-in-…` of a pod ask of its stand-in, and what of them cannot be read. Pure. */
import type { Runtime } from '../../api/runtime.ts';
import type { Pod } from '../../api/types.ts';
import { GRPC_CODES } from './grpc.ts';
import { type Latency, LATENCY_WORDS, parseDuration, parseLatency } from './latency.ts';

const PREFIX = 'heddle.dev/stand-in-';

export interface CallTarget {
  url: string;
  kind: 'http' | 'grpc';
  /** A name, or an address without brackets. */
  host: string;
  port: number;
  /** With its query; of gRPC: the method. */
  path: string;
}

export interface InjectedError {
  /** 0 to 1: how many answers of all. */
  share: number;
  status: number;
  grpc: number;
}

/** What differs from answering at once with what was seen. */
export interface Behaviour {
  latency?: Latency;
  error?: InjectedError;
  /** Called for each request. */
  calls?: CallTarget[];
  /** One after another instead of all at once. */
  inOrder?: boolean;
  /** For all calls of a request together. */
  timeoutMs?: number;
  /** Rounds of calls per second that nobody asked for. */
  rate?: number;
}

/** Calls that one pod makes for one request. */
const MOST_CALLS = 16;
const MOST_PER_SECOND = 1000;
/** Once an hour: timers cannot wait for weeks. */
const LEAST_PER_SECOND = 1 / 3600;

type Reading = Behaviour | { wrong: string };
type Reader = (text: string) => Reading;

const READERS: Readonly<Record<string, Reader>> = {
  latency: (text) => {
    const latency = parseLatency(text);
    return latency ? { latency } : { wrong: LATENCY_WORDS };
  },
  'error-rate': readError,
  calls: readCalls,
  'calls-order': (text) =>
    text === 'parallel' || text === 'sequence'
      ? { inOrder: text === 'sequence' }
      : { wrong: 'must be parallel or sequence' },
  'calls-timeout': (text) => {
    const timeoutMs = parseDuration(text);
    return timeoutMs ? { timeoutMs } : { wrong: 'must be a duration above 0 and up to 60s' };
  },
  rate: readRate,
};

/** One value that cannot be read leaves the others as they are. */
export function behaviourOf(pod: Pod): { behaviour: Behaviour | undefined; problems: string[] } {
  const behaviour: Behaviour = {};
  const problems: string[] = [];
  const annotations = pod.metadata.annotations ?? {};
  for (const name of Object.keys(annotations).sort()) {
    const text = annotations[name]!;
    if (!name.startsWith(PREFIX)) continue;
    const key = name.slice(PREFIX.length);
    const read = Object.hasOwn(READERS, key) ? READERS[key] : undefined;
    const reading = read?.(text) ?? { wrong: `is not known; there are ${known()}` };
    if ('wrong' in reading) problems.push(`${name}: ${JSON.stringify(shortened(text))} ${reading.wrong}`);
    else Object.assign(behaviour, reading);
  }
  for (const key of needless(behaviour))
    problems.push(`${PREFIX}${key}: there is nothing to call; it needs ${PREFIX}calls`);
  return { behaviour: Object.keys(behaviour).length > 0 ? behaviour : undefined, problems };
}

/** What the pod's annotations ask for in vain. Only stand-ins heed them. */
export function behaviourProblems(pod: Pod, runtime: Runtime | undefined): string[] {
  if (runtime === 'stand-in') return behaviourOf(pod).problems;
  const asked = Object.keys(pod.metadata.annotations ?? {}).filter((name) => name.startsWith(PREFIX));
  return asked.map((name) => `${name}: the pod is no stand-in, its runtime is ${runtime ?? 'none'}`);
}

const known = (): string =>
  Object.keys(READERS)
    .map((key) => PREFIX + key)
    .join(', ');

const shortened = (text: string): string => (text.length > 100 ? `${text.slice(0, 100)}…` : text);

/** What says something about calls where there are none. */
function needless({ calls, inOrder, timeoutMs, rate }: Behaviour): string[] {
  if (calls) return [];
  const given = { 'calls-order': inOrder, 'calls-timeout': timeoutMs, rate };
  return Object.entries(given).flatMap(([key, value]) => (value === undefined ? [] : [key]));
}

/** `5%`, `5%,status=503,grpc=INTERNAL` */
function readError(text: string): Reading {
  const [share = '', ...choices] = text.split(',').map((part) => part.trim());
  const percent = /^\d{1,3}(?:\.\d{1,6})?%$/.test(share) ? Number(share.slice(0, -1)) : 101;
  const error: InjectedError = { share: percent / 100, status: 500, grpc: GRPC_CODES.UNAVAILABLE };
  for (const choice of choices) {
    const [key, value = ''] = choice.split('=');
    const code = /^[A-Z_]+$/.test(value) ? (GRPC_CODES as Record<string, number>)[value] : undefined;
    if (key === 'status' && /^[45]\d\d$/.test(value)) error.status = Number(value);
    else if (key === 'grpc' && code) error.grpc = code;
    else return { wrong: ERROR_WORDS };
  }
  return percent > 100 ? { wrong: ERROR_WORDS } : { error };
}

const ERROR_WORDS =
  'must be a share of 0% to 100%, with status=400 to 599 and grpc=CODE if wanted (5%,status=503,grpc=INTERNAL)';

/** `2/s`, `30/m` */
function readRate(text: string): Reading {
  const [, amount, unit] = /^(\d{1,6}(?:\.\d{1,6})?)\/(s|m)$/.exec(text.trim()) ?? [];
  const rate = Number(amount) / (unit === 'm' ? 60 : 1);
  return rate >= LEAST_PER_SECOND && rate <= MOST_PER_SECOND
    ? { rate }
    : { wrong: `must be one an hour to ${MOST_PER_SECOND}/s (2/s, 30/m)` };
}

function readCalls(text: string): Reading {
  const parts = text.split(/[\s,]+/).filter((part) => part !== '');
  if (parts.length === 0 || parts.length > MOST_CALLS) return { wrong: `must be 1 to ${MOST_CALLS} URLs` };
  const calls: CallTarget[] = [];
  for (const part of parts) {
    const target = readTarget(part);
    if (typeof target === 'string') return { wrong: `has ${JSON.stringify(shortened(part))}: ${target}` };
    calls.push(target);
  }
  return { calls };
}

/** Of gRPC, when a URL names none: the echo answers every method. */
const ANY_METHOD = '/heddle.StandIn/Echo';

/** A target, or why it is none. */
function readTarget(text: string): CallTarget | string {
  if (!/^[a-z]+:\/\//i.test(text) || !URL.canParse(text)) return 'must be a URL such as http://cart:8080/';
  const url = new URL(text);
  const kind = url.protocol.slice(0, -1);
  if (kind !== 'http' && kind !== 'grpc') return `${kind} is not spoken here: http or grpc`;
  if (url.username !== '' || url.password !== '' || url.hash !== '') return 'has no user, no password, no #';
  const host = url.hostname.replaceAll(/^\[|\]$/g, '');
  const isAddress = url.hostname.startsWith('[');
  if (!isAddress && !/^[\w.-]{1,253}$/.test(host)) return 'its host must be a name or an address';
  const port = url.port === '' ? 80 : Number(url.port);
  if (port === 0) return 'its port must be 1 to 65535';
  const path =
    kind === 'grpc' && url.pathname.length <= 1 ? ANY_METHOD : `${url.pathname || '/'}${url.search}`;
  return { url: text, kind, host, port, path };
}
