/** What the kernel holds of services, and how it differs from what it shall hold. */
import { formatHostPort } from '../../../lib/ip.ts';
import type { Difference } from '../../backend.ts';
import { addressText } from './address-bytes.ts';
import { sameBytes } from './changes.ts';
import type { Known } from './lower.ts';
import type { Records } from './records.ts';
import { STAGED, type Stage, type StagedMap, type StagedMaps } from './stage.ts';

type Rows = Map<string, { readonly key: Uint8Array; readonly value: Uint8Array }>;

export interface Reading {
  readonly rows: { readonly [map in StagedMap]: Rows };
  /** By the plan's key. */
  readonly frontends: ReadonlyMap<string, Known>;
  readonly lastBackend: number;
}

export function readKernel(maps: StagedMaps, records: Records): Reading {
  const rows = Object.fromEntries(STAGED.map((name) => [name, readRows(maps, name)])) as {
    [map in StagedMap]: Rows;
  };
  let lastBackend = 0;
  const backends = new Map<number, Known['backends'][number][]>();
  for (const { key, value } of rows.backends.values()) {
    const { frontend, address, port } = records.readBackend(value);
    const number = firstWord(key);
    lastBackend = Math.max(lastBackend, number);
    const siblings = backends.get(frontend) ?? [];
    backends.set(frontend, siblings);
    siblings.push({ number, address, port });
  }
  const frontends = new Map<string, Known>();
  for (const { key, value } of rows.frontends.values()) {
    const found = records.readFrontend(key, value);
    frontends.set(found.key, { number: found.number, backends: backends.get(found.number) ?? [] });
  }
  return { rows, frontends, lastBackend };
}

const textOf = (key: Uint8Array): string => Buffer.from(key).toString('latin1');

const firstWord = (bytes: Uint8Array): number =>
  new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);

function readRows(maps: StagedMaps, name: StagedMap): Rows {
  const rows: Rows = new Map();
  for (const [key, value] of maps[name].entries()) rows.set(textOf(key), { key, value });
  return rows;
}

export interface Comparison {
  /** Is told everything that shall be there. */
  readonly stage: Stage;
  /** What differed. What nobody asked for is removed. */
  finish(): Difference[];
}

/** Puts and drops go to `target`, for differences only. */
export function compareWith(found: Reading, target: Stage | undefined): Comparison {
  const differences: Difference[] = [];
  const stage: Stage = {
    put(map, key, value) {
      const known = taken(found.rows[map], key);
      if (known && sameBytes(known.value, value)) return;
      differences.push(difference(known ? 'changed' : 'missing', map, key, value));
      target?.put(map, key, value);
    },
    drop() {},
    commit() {},
  };
  return {
    stage,
    finish() {
      for (const map of STAGED)
        for (const { key, value } of found.rows[map].values()) {
          differences.push(difference('foreign', map, key, value));
          target?.drop(map, key);
        }
      return differences;
    },
  };
}

function taken(rows: Rows, key: Uint8Array): { readonly value: Uint8Array } | undefined {
  if (rows.size === 0) return undefined;
  const text = textOf(key);
  const known = rows.get(text);
  rows.delete(text);
  return known;
}

/** In an empty kernel everything differs, and nobody reads more than the first: the words are made when asked for. */
const difference = (
  kind: Difference['kind'],
  map: StagedMap,
  key: Uint8Array,
  value: Uint8Array,
): Difference => ({
  kind,
  get what() {
    return describe(map, key, value);
  },
});

/** Only for people: as the maps are laid out, addresses first or behind one word or two. */
function describe(map: StagedMap, key: Uint8Array, value: Uint8Array): string {
  const port = (bytes: Uint8Array) => ((bytes[16] ?? 0) << 8) | (bytes[17] ?? 0);
  switch (map) {
    case 'frontends':
      return `${map} ${formatHostPort(addressText(key), port(key))} protocol ${key[18]}`;
    case 'backends':
      return `${map} ${firstWord(key)}: ${formatHostPort(addressText(value), port(value))}`;
    case 'service_tables':
      return `${map} table ${firstWord(key)} chunk ${firstWord(key.subarray(4))}`;
    case 'source_ranges':
      return `${map} ${addressText(key.subarray(8))} of frontend ${firstWord(key.subarray(4))}`;
    default:
      return `${map} ${addressText(key.subarray(4))}`;
  }
}
