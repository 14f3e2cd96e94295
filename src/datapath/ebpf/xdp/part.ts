/** XDP at the uplink: there while something protects the node, and only then. */
import fs from 'node:fs';
import { isLink, linkInfo } from '../../../kernel/bpf/link.ts';
import { attachXdp, detach } from '../../../kernel/bpf/links.ts';
import { getPinned } from '../../../kernel/bpf/syscall.ts';
import type { Netns } from '../../../kernel/netns.ts';
import { errorText } from '../../../lib/errors.ts';
import type { Log } from '../../../lib/log.ts';
import type { Difference } from '../../backend.ts';
import { applyChanges, emptyState, SETTINGS_KEY, stateChanges, type PlanState } from '../../plan/tables.ts';
import type { Programs } from '../loader.ts';
import { createMapTable, type MapTable } from '../map-table.ts';
import type { Part } from '../part.ts';
import {
  createProtectionRecords,
  lowerProtection,
  PROTECTION_MAPS,
  type ProtectionMap,
  type ProtectionRows,
} from './lower.ts';

export interface XdpDeps {
  readonly programs: Programs;
  /** The node's network namespace. */
  readonly ns: Netns;
  /** In that namespace. */
  readonly route: {
    addresses(): readonly { readonly link: number; readonly address: string }[];
  };
  /** How the program is attached. Default: by the driver where it can, else generic. */
  readonly way?: 'native' | 'generic';
  readonly log: Log;
}

const PIN = 'xdp-uplink';
const PROGRAM = 'xdp_uplink';
const MISSING: Difference = { kind: 'missing', what: `program ${PROGRAM} at the uplink` };
const FOREIGN: Difference = { kind: 'foreign', what: `program ${PROGRAM} at the uplink` };

export function createXdpPart({ programs, ns, route, way, log }: XdpDeps): Part {
  const records = createProtectionRecords(programs);
  const tables = Object.fromEntries(
    PROTECTION_MAPS.map((name) => [
      name,
      createMapTable(programs.map(name), ({ key }) => Buffer.from(key).toString('hex')),
    ]),
  ) as { [M in ProtectionMap]: MapTable };
  const pinPath = programs.linkPath(PIN);
  let state = emptyState();
  /** 0: not attached by this process. */
  let attachedAt = 0;

  function uplinkOf(plan: Pick<PlanState, 'settings' | 'protection'>): number {
    if (!plan.protection.has(SETTINGS_KEY)) return 0;
    const own = new Set(plan.settings.get(SETTINGS_KEY)?.nodeAddresses ?? []);
    return route.addresses().find(({ address }) => own.has(address.split('/')[0] ?? ''))?.link ?? 0;
  }

  function attach(ifindex: number): Difference[] {
    if (ifindex === 0) {
      attachedAt = 0;
      return detach(pinPath) ? [FOREIGN] : [];
    }
    const was = attachedOn(pinPath);
    if (was !== undefined && was !== ifindex) detach(pinPath);
    attachedAt = ifindex;
    try {
      const program = programs.program(PROGRAM);
      const { created, way: how } = attachXdp({ ifindex, ns, program, pinPath, ...(way && { way }) });
      if (created) log.info('the uplink is protected', { way: how });
      return created ? [MISSING] : [];
    } catch (error) {
      // The rest of the data path does not wait for somebody else's XDP program to go; `verify` goes on naming it.
      log.error('the uplink is not protected', { error: errorText(error) });
      return [];
    }
  }

  /** Ranges before the word that there are any: what counts is in the one entry of `protection`. */
  function become(wanted: ProtectionRows): void {
    for (const name of PROTECTION_MAPS) tables[name].become(wanted[name]);
  }

  return {
    name: 'xdp',
    apply(changes) {
      applyChanges(state, changes);
      if (!changes.some(({ table }) => table === 'protection' || table === 'settings')) return;
      become(lowerProtection(state, records));
      const uplink = uplinkOf(state);
      if (uplink !== attachedAt) attach(uplink);
    },
    prune(next) {
      state = emptyState();
      applyChanges(state, stateChanges(next));
      const wanted = lowerProtection(state, records);
      const mended = PROTECTION_MAPS.flatMap((name) => tables[name].prune(wanted[name]));
      return [...mended, ...attach(uplinkOf(state))];
    },
    verify(next) {
      const wanted = lowerProtection(next, records);
      const uplink = uplinkOf(next);
      const is = attachedOn(pinPath) ?? 0;
      return [
        ...PROTECTION_MAPS.flatMap((name) => tables[name].verify(wanted[name])),
        ...(is === uplink ? [] : [uplink === 0 ? FOREIGN : MISSING]),
      ];
    },
    remove() {
      attachedAt = 0;
      detach(pinPath);
    },
  };
}

/** Index of the link that the pinned attachment is at; undefined: there is none. */
function attachedOn(pinPath: string): number | undefined {
  const fd = getPinned(pinPath);
  if (fd === undefined) return undefined;
  try {
    return isLink(fd) ? linkInfo(fd).ifindex : undefined;
  } finally {
    fs.closeSync(fd);
  }
}
