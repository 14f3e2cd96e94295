/** What a map looks like: what decides whether an earlier map can be used as it is. */
import { type Btf, parseBtf } from '../../kernel/bpf/btf.ts';
import { possibleCpus } from '../../kernel/bpf/map.ts';
import type { MapSpec } from '../../kernel/bpf/object.ts';
import { btfBytes, type MapInfo, mapInfo } from '../../kernel/bpf/syscall.ts';

export interface Layout {
  readonly type: number;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  readonly flags: number;
  /** Types as `Btf.layout` writes them; undefined where the map names none. */
  readonly key: string | undefined;
  readonly value: string | undefined;
}

/** A map's types: of an object's or, for a map in the kernel, of what the kernel was told. */
export interface MapTypes {
  readonly btf: Btf;
  readonly keyType: number;
  readonly valueType: number;
}

const NO_COMMON_LRU = 2;

export function layoutOfSpec(spec: MapSpec, btf: Btf, maxEntries = spec.maxEntries): Layout {
  const cpus = possibleCpus();
  return {
    type: spec.type,
    keySize: spec.keySize,
    valueSize: spec.valueSize,
    // The kernel rounds so that every CPU has as many.
    maxEntries: spec.flags & NO_COMMON_LRU ? Math.ceil(maxEntries / cpus) * cpus : maxEntries,
    flags: spec.flags,
    ...typeTexts(spec.keyType && spec.valueType ? { btf, ...spec } : undefined),
  };
}

export function layoutOfKernelMap(info: MapInfo, types: MapTypes | undefined): Layout {
  const { type, keySize, valueSize, maxEntries, flags } = info;
  return { type, keySize, valueSize, maxEntries, flags, ...typeTexts(types) };
}

const typeTexts = (types: MapTypes | undefined): Pick<Layout, 'key' | 'value'> => ({
  key: types && types.btf.layout(types.keyType),
  value: types && types.btf.layout(types.valueType),
});

/** Objects load their types once each, so that many maps share one BTF of the kernel's. */
export function createTypeReader(): (fd: number) => MapTypes | undefined {
  const known = new Map<number, Btf>();
  return (fd) => {
    const { btfId, btfKeyType, btfValueType } = mapInfo(fd);
    if (btfId === 0 || btfKeyType === 0 || btfValueType === 0) return undefined;
    const bytes = known.has(btfId) ? undefined : btfBytes(btfId);
    if (bytes) known.set(btfId, parseBtf(bytes));
    const btf = known.get(btfId);
    return btf && { btf, keyType: btfKeyType, valueType: btfValueType };
  };
}

/** Undefined where they are the same; else what differs, in words. Types count where both sides name them. */
export function layoutDifference(earlier: Layout, wanted: Layout): string | undefined {
  const numbers = (['type', 'keySize', 'valueSize', 'maxEntries', 'flags'] as const).filter(
    (field) => earlier[field] !== wanted[field],
  );
  const types = (['key', 'value'] as const).filter(
    (field) =>
      earlier[field] !== undefined && wanted[field] !== undefined && earlier[field] !== wanted[field],
  );
  const words = [
    ...numbers.map((field) => `${field} ${earlier[field]} → ${wanted[field]}`),
    ...types.map((field) => `${field} ${earlier[field]} → ${wanted[field]}`),
  ];
  return words.length > 0 ? words.join(', ') : undefined;
}
