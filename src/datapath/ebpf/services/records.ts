/** Lowered frontends as bytes of the maps, by the structs of bpf/include/service-maps.h. */
import type { Codec } from '../../../kernel/bpf/codec.ts';
import { addressBytes, addressText, rangeBytes, swapPort } from './address-bytes.ts';
import {
  type Lowered,
  type LoweredBackend,
  outsideTable,
  protocolNumbers,
  SIDE_INSIDE,
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

export const u32Bytes = (...words: number[]): Uint8Array => new Uint8Array(Uint32Array.from(words).buffer);

/** `codec` as of `Programs`: by name, as `struct frontend`. */
export function createRecords(codec: <T>(name: string) => Codec<T>): Records {
  const frontendKey = codec<FrontendKey>('struct frontend_key');
  const frontend = codec<FrontendValue>('struct frontend');
  const backend = codec<BackendValue>('struct backend');
  const range = codec<RangeKey>('struct service_range_key');
  const source = codec<SourceKey>('struct source_range_key');
  const names = new Map(Object.entries(protocolNumbers).map(([name, number]) => [number, name]));
  return {
    frontendKey: ({ address, protocol, port }) =>
      frontendKey.encode({
        address: addressBytes(address),
        port: swapPort(port),
        protocol: protocolNumbers[protocol],
      }),
    frontendValue: (lowered) =>
      frontend.encode({
        inside: { table: tableNumber(lowered.number, SIDE_INSIDE), slots: lowered.inside.length },
        outside: { table: outsideTable(lowered), slots: lowered.outside.length },
        number: lowered.number,
        affinity_seconds: lowered.source.affinitySeconds ?? 0,
        algorithm: lowered.algorithm,
        kind: lowered.kind,
        flags: lowered.flags,
      }),
    readFrontend(key, value) {
      const { address, port, protocol } = frontendKey.decode(key);
      const name = names.get(protocol) ?? String(protocol);
      return {
        key: `${addressText(address)}|${name}|${swapPort(port)}`,
        number: frontend.decode(value).number,
      };
    },
    backendValue: ({ address, port, weight, flags }, number) =>
      backend.encode({
        address: addressBytes(address),
        port: swapPort(port),
        weight,
        frontend: number,
        flags,
      }),
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
