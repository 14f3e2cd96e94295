/** Whose node ports sockets of the node's own namespace find at its loopback addresses. */
import type { Settings } from '../../plan/tables.ts';
import type { Programs } from '../loader.ts';
import { createMapTable, type MapTable, type Row } from '../map-table.ts';
import { addressBytes } from './address-bytes.ts';
import { u32Bytes } from './fields.ts';

export interface LoopbackTable {
  readonly table: MapTable;
  row(settings: Settings | undefined): Row;
}

export function createLoopbackTable(programs: Pick<Programs, 'map' | 'codec'>): LoopbackTable {
  const value = programs.codec('struct socket_settings');
  return {
    table: createMapTable(programs.map('socket_settings'), () => 'loopback addresses'),
    row: (settings) => ({
      key: u32Bytes(0),
      value: value.encode({
        loopback4: bytesOf(loopbackFor(settings, 4)),
        loopback6: bytesOf(loopbackFor(settings, 6)),
      }),
    }),
  };
}

const bytesOf = (address: string | undefined): Uint8Array =>
  address === undefined ? new Uint8Array(16) : addressBytes(address);

/** The address that loopback stands for. None where node ports are limited to addresses that are named. */
export function loopbackFor(settings: Settings | undefined, family: 4 | 6): string | undefined {
  if (!settings || settings.nodePortAddresses) return undefined;
  return settings.nodeAddresses.find((address) => address.includes(':') === (family === 6));
}
