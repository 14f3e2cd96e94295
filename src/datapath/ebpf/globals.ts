/** Global variables of loaded programs, read and written in place. They are new at every loading. */
import type { Btf } from '../../kernel/bpf/btf.ts';
import type { Value } from '../../kernel/bpf/codec.ts';
import { mapMemory, type Memory } from '../../kernel/bpf/memory.ts';
import { type BpfObject, decodeVariable, encodeVariable, type Variable } from '../../kernel/bpf/object.ts';
import { HeddleError } from '../../lib/errors.ts';
import { storeWord } from './words.ts';

export interface Global {
  read(): Value;
  /** A number of 1, 2, 4 or 8 bytes in one store; anything else byte by byte. @throws HeddleError `BtfValue` */
  write(value: Value): void;
}

interface Place {
  readonly btf: Btf;
  readonly variable: Variable;
  readonly memory: Memory;
}

export interface LoadedSections {
  readonly object: BpfObject;
  /** Descriptors of the sections' maps. */
  readonly maps: Map<string, number>;
}

export interface Globals {
  /** @throws HeddleError `BpfMissing` where no object has a variable of the name, or it is a constant */
  global(name: string): Global;
  close(): void;
}

export function createGlobals(objects: readonly LoadedSections[]): Globals {
  const memories = new Map<LoadedSections, Map<string, Memory>>();

  function memoryOf(holder: LoadedSections, section: string): Memory {
    const known = memories.get(holder) ?? new Map<string, Memory>();
    memories.set(holder, known);
    const { object, maps } = holder;
    const length = object.maps.find((map) => map.name === section)?.valueSize ?? 0;
    const memory = known.get(section) ?? mapMemory({ fd: maps.get(section) ?? -1, length, writable: true });
    known.set(section, memory);
    return memory;
  }

  function places(name: string): Place[] {
    return objects.flatMap((holder): Place[] => {
      const variable = holder.object.variables.get(name);
      if (!variable || variable.section.startsWith('.rodata')) return [];
      return [{ btf: holder.object.btf, variable, memory: memoryOf(holder, variable.section) }];
    });
  }

  return {
    global(name) {
      const found = places(name);
      const [first] = found;
      if (!first)
        throw new HeddleError('BpfMissing', `no object has a global variable "${name}" that can be written`, {
          hint: 'constants are set by the option globals, before loading',
        });
      return {
        read: () => decodeVariable(first.btf, first.variable, first.memory.bytes(), first.variable.offset),
        write(value) {
          for (const { btf, variable, memory } of found) {
            const bytes = new Uint8Array(variable.size);
            encodeVariable(btf, variable, value, bytes, 0);
            storeWord(memory.bytes(), variable.offset, bytes);
          }
        },
      };
    },
    close() {
      for (const held of memories.values()) for (const memory of held.values()) memory.close();
      memories.clear();
    },
  };
}
