/**
 * One struct that all programs share: the single entry of an mmapable ARRAY map. Unlike global variables it is one
 * for all objects, and it outlives restarts with its map.
 */
import { type Codec, codecOf, type Fields, type Value } from '../../kernel/bpf/codec.ts';
import type { BpfMap } from '../../kernel/bpf/map.ts';
import { MAP_TYPE } from '../../kernel/bpf/map.ts';
import { mapMemory } from '../../kernel/bpf/memory.ts';
import { HeddleError } from '../../lib/errors.ts';
import type { MapTypes } from './layout.ts';
import { storeWord } from './words.ts';

export interface Control {
  /** All fields now. */
  read(): Fields;
  get(field: string): Value;
  /** One field of the struct, in one store. @throws HeddleError `BtfValue` */
  set(field: string, value: Value): void;
  close(): void;
}

const MMAPABLE = 1 << 10;

/** @throws HeddleError `BpfLayout` where the map is none of the kind */
export function openControl(map: BpfMap, { btf, valueType }: MapTypes): Control {
  if (map.type !== MAP_TYPE.ARRAY || map.maxEntries !== 1 || !(map.flags & MMAPABLE))
    throw new HeddleError('BpfLayout', `the map ${map.name} is no ARRAY of one entry with BPF_F_MMAPABLE`);
  const whole: Codec = codecOf(btf, valueType);
  const memory = mapMemory({ fd: map.fd, length: map.info.valueSize, writable: true });
  const fields = new Map(
    btf.resolve(valueType).members.map((member) => {
      const codec = codecOf(btf, member.type, member.name);
      return [member.name, { at: member.bitOffset / 8, codec, bare: codec.fields[0] === 'value' }];
    }),
  );

  return {
    read: () => whole.decode(memory.bytes()),
    get: (field) => whole.decode(memory.bytes())[field] ?? 0,
    set(field, value) {
      const found = fields.get(field);
      if (!found) throw new HeddleError('BtfValue', `the map ${map.name} has no field "${field}"`);
      const bytes = found.codec.encode(found.bare ? { value } : (value as Fields));
      storeWord(memory.bytes(), found.at, bytes);
    },
    close: () => memory.close(),
  };
}
