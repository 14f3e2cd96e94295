/** Lowered frontends as bytes of the maps, by the structs of bpf/include/service-maps.h. */
import type { Codec } from '../../../kernel/bpf/codec.ts';
import { protocolName, protocolNumbers } from '../../../lib/protocols.ts';
import { addressText, rangeBytes, swapPort, writeAddress } from './address-bytes.ts';
import { offsetOf, u32Bytes, write16, write32 } from './fields.ts';
import {
  isInline,
  type Lowered,
  type LoweredBackend,
  outsideTable,
  SIDE_INSIDE,
  type SlotTable,
  tableNumber,
} from './lower.ts';

interface FrontendKey {
  address: Uint8Array;
  port: number;
  protocol: number;
}

interface View {
  table: number;
  slots: number;
  first: readonly number[];
}

interface FrontendValue {
  inside: View;
  outside: View;
  number: number;
  affinity_seconds: number;
  algorithm: number;
  kind: number;
  flags: number;
}

interface BackendValue {
  address: Uint8Array;
  port: number;
  weight: number;
  frontend: number;
  flags: number;
}

interface RangeKey {
  prefix: number;
  address: Uint8Array;
}

interface SourceKey extends RangeKey {
  frontend: number;
}

export interface Records {
  frontendKey(frontend: { address: string; protocol: 'TCP' | 'UDP' | 'SCTP'; port: number }): Uint8Array;
  frontendValue(lowered: Lowered): Uint8Array;
  /** `10.96.0.1|TCP|80`, and the number. */
  readFrontend(key: Uint8Array, value: Uint8Array): { key: string; number: number };
  backendValue(backend: LoweredBackend, frontend: number): Uint8Array;
  readBackend(value: Uint8Array): { address: string; port: number; frontend: number };
  tableKey(table: number, chunk: number): Uint8Array;
  sourceKey(frontend: number, cidr: string): Uint8Array;
  rangeKey(cidr: string): Uint8Array;
}

/** `codec` as of `Programs`: by name, as `struct frontend`. */
export function createRecords(codec: <T>(name: string) => Codec<T>): Records {
  const frontendKey = codec<FrontendKey>('struct frontend_key');
  const frontend = codec<FrontendValue>('struct frontend');
  const backend = codec<BackendValue>('struct backend');
  const view = codec<View>('struct service_view');
  const range = codec<RangeKey>('struct service_range_key');
  const source = codec<SourceKey>('struct source_range_key');
  const ones = new Uint8Array(16).fill(0xff);
  const keyAt = {
    address: offsetOf(frontendKey, 'address', ones),
    port: offsetOf(frontendKey, 'port', 0xffff),
    protocol: offsetOf(frontendKey, 'protocol', 0xff),
  };
  const viewAt = {
    table: offsetOf(view, 'table', 0xffffffff),
    slots: offsetOf(view, 'slots', 0xffffffff),
    first: offsetOf(view, 'first', [0xffffffff]),
  };
  const writeView = (bytes: Uint8Array, at: number, table: number, slots: SlotTable): void => {
    write32(bytes, at + viewAt.table, table);
    write32(bytes, at + viewAt.slots, slots.length);
    if (!isInline(slots)) return;
    for (let i = 0; i < slots.length; i++) write32(bytes, at + viewAt.first + 4 * i, slots[i] ?? 0);
  };
  const valueAt = {
    inside: offsetOf(frontend, 'inside', { table: 1, slots: 1, first: [] }),
    outside: offsetOf(frontend, 'outside', { table: 1, slots: 1, first: [] }),
    number: offsetOf(frontend, 'number', 0xffffffff),
    affinity: offsetOf(frontend, 'affinity_seconds', 0xffffffff),
    algorithm: offsetOf(frontend, 'algorithm', 0xff),
    kind: offsetOf(frontend, 'kind', 0xff),
    flags: offsetOf(frontend, 'flags', 0xffff),
  };
  const backendAt = {
    address: offsetOf(backend, 'address', ones),
    port: offsetOf(backend, 'port', 0xffff),
    weight: offsetOf(backend, 'weight', 0xffff),
    frontend: offsetOf(backend, 'frontend', 0xffffffff),
    flags: offsetOf(backend, 'flags', 0xffffffff),
  };
  return {
    frontendKey({ address, protocol, port }) {
      const bytes = new Uint8Array(frontendKey.size);
      writeAddress(address, bytes, keyAt.address);
      write16(bytes, keyAt.port, swapPort(port));
      bytes[keyAt.protocol] = protocolNumbers[protocol];
      return bytes;
    },
    frontendValue(lowered) {
      const bytes = new Uint8Array(frontend.size);
      writeView(bytes, valueAt.inside, tableNumber(lowered.number, SIDE_INSIDE), lowered.inside);
      writeView(bytes, valueAt.outside, outsideTable(lowered), lowered.outside);
      write32(bytes, valueAt.number, lowered.number);
      write32(bytes, valueAt.affinity, lowered.source.affinitySeconds ?? 0);
      bytes[valueAt.algorithm] = lowered.algorithm;
      bytes[valueAt.kind] = lowered.kind;
      write16(bytes, valueAt.flags, lowered.flags);
      return bytes;
    },
    readFrontend(key, value) {
      const { address, port, protocol } = frontendKey.decode(key);
      const name = protocolName(protocol);
      return {
        key: `${addressText(address)}|${name}|${swapPort(port)}`,
        number: frontend.decode(value).number,
      };
    },
    backendValue({ address, port, weight, flags }, number) {
      const bytes = new Uint8Array(backend.size);
      writeAddress(address, bytes, backendAt.address);
      write16(bytes, backendAt.port, swapPort(port));
      write16(bytes, backendAt.weight, weight);
      write32(bytes, backendAt.frontend, number);
      write32(bytes, backendAt.flags, flags);
      return bytes;
    },
    readBackend(value) {
      const { address, port, frontend: number } = backend.decode(value);
      return { address: addressText(address), port: swapPort(port), frontend: number };
    },
    tableKey: (table, chunk) => u32Bytes(table, chunk),
    sourceKey(number, cidr) {
      const { prefix, address } = rangeBytes(cidr);
      return source.encode({ prefix: 32 + prefix, frontend: number, address });
    },
    rangeKey: (cidr) => range.encode(rangeBytes(cidr)),
  };
}
