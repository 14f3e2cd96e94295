/** What a link between two places can be given, and how its values are written in files and flags. */

/** One direction of a link; both have the same. */
export interface LinkSettings {
  /** Milliseconds, one way. */
  readonly latency?: number;
  /** Milliseconds around the latency, evenly spread. Packets keep their order. */
  readonly jitter?: number;
  /** 0 to 1. */
  readonly loss?: number;
  /** Bits of frames per second. */
  readonly bandwidth?: number;
  /** Longest IP packet, and the nodes know: their uplinks and pods have no larger ones. */
  readonly mtu?: number;
  /** Longer IP packets vanish, and nobody is told. */
  readonly blackHoleAbove?: number;
}

export type LinkField = keyof LinkSettings;

interface Reader {
  /** Flag of `heddle topology set`; undefined where a running cluster cannot change it. */
  readonly flag: string | undefined;
  readonly expected: string;
  /** Undefined where the text is none. */
  read(text: string): number | undefined;
}

/** Milliseconds. Beyond, TCP gives up on what it waits for. */
const MAX_LATENCY = 10_000;
const UNITS = { us: 0.001, ms: 1, s: 1000 } as const;
const RATES = { '': 1, k: 1e3, m: 1e6, g: 1e9 } as const;

function time(text: string): number | undefined {
  const [, number, unit] =
    /^(\d+(?:\.\d+)?)(us|ms|s)$/.exec(text) ?? (text === '0' ? [text, text, 'ms'] : []);
  if (number === undefined) return undefined;
  const value = Number(number) * UNITS[unit as keyof typeof UNITS];
  return value <= MAX_LATENCY ? value : undefined;
}

function share(text: string): number | undefined {
  const [, number, percent] = /^(\d+(?:\.\d+)?)(%?)$/.exec(text) ?? [];
  if (number === undefined) return undefined;
  const value = Number(number) / (percent === '%' ? 100 : 1);
  return value <= 1 ? value : undefined;
}

function rate(text: string): number | undefined {
  const [, number, unit = ''] = /^(\d+(?:\.\d+)?)([kmg]?)(?:bit)?$/i.exec(text) ?? [];
  if (number === undefined) return undefined;
  const value = Number(number) * RATES[unit.toLowerCase() as keyof typeof RATES];
  return value >= 8000 && value <= 100e9 ? value : undefined;
}

const between = (least: number, most: number) => (text: string) =>
  /^\d+$/.test(text) && Number(text) >= least && Number(text) <= most ? Number(text) : undefined;

const TIME = 'a time of at most 10s, such as 20ms, 1.5ms or 300us';

export const linkFields: Readonly<Record<LinkField, Reader>> = {
  latency: { flag: 'latency', expected: TIME, read: time },
  jitter: { flag: 'jitter', expected: TIME, read: time },
  loss: { flag: 'loss', expected: 'a share from 0 to 100%, such as 1% or 0.01', read: share },
  bandwidth: {
    flag: 'bandwidth',
    expected: 'bits per second from 8kbit to 100Gbit, such as 100Mbit or 1.5Gbit',
    read: rate,
  },
  mtu: { flag: undefined, expected: 'bytes from 1280 to 65535', read: between(1280, 65_535) },
  blackHoleAbove: {
    flag: 'black-hole-above',
    expected: 'bytes from 68 to 65535',
    read: between(68, 65_535),
  },
};

export const linkFieldNames = Object.keys(linkFields) as LinkField[];

/** Jitter beyond the latency would deliver before it was sent. */
export const settingsProblem = ({ latency = 0, jitter = 0 }: LinkSettings): string | undefined =>
  jitter > latency ? `jitter ${timeText(jitter)} is more than the latency, ${timeText(latency)}` : undefined;

/** `20 ms`, `0.3 ms` */
export const timeText = (ms: number): string => `${Number(ms.toPrecision(3))} ms`;

export const rateText = (bits: number): string => {
  const [unit, size] =
    bits >= 1e9 ? (['G', 1e9] as const) : bits >= 1e6 ? (['M', 1e6] as const) : (['k', 1e3] as const);
  return `${Number((bits / size).toPrecision(3))} ${unit}bit/s`;
};

/** `20 ms ± 2 ms, 1 % lost, 100 Mbit/s`; `nothing` where the link is as fast as the machine. */
export function settingsText(settings: LinkSettings): string {
  const { latency = 0, jitter = 0, loss = 0, bandwidth, mtu, blackHoleAbove } = settings;
  const parts = [
    ...(latency > 0 ? [`${timeText(latency)}${jitter > 0 ? ` ± ${timeText(jitter)}` : ''}`] : []),
    ...(loss > 0 ? [`${Number((loss * 100).toPrecision(3))} % lost`] : []),
    ...(bandwidth === undefined ? [] : [rateText(bandwidth)]),
    ...(mtu === undefined ? [] : [`MTU ${mtu}`]),
    ...(blackHoleAbove === undefined ? [] : [`black hole above ${blackHoleAbove} bytes`]),
  ];
  return parts.join(', ') || 'nothing';
}
