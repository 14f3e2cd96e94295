/** What a standalone agent serves: its attachments by the books, its ranges, and what it has answered. */
import { type Usage, sumByPool } from '../../ipam/blocks.ts';
import type { Allocation, Ipam } from '../../ipam/ipam.ts';
import { attachmentKey, attachmentOf, baseAttachment, detailsOf, holderOf, markOf } from '../attachment.ts';
import type { Bandwidth } from '../bandwidth.ts';
import type { PortMapping } from '../host-ports.ts';
import type { MainKind } from '../main/types.ts';
import type { MetaKind } from '../meta/types.ts';
import type { StandaloneConfig } from './config.ts';

export interface AttachmentStatus {
  readonly containerId: string;
  readonly ifName: string;
  /** `namespace/name` as the runtime said. */
  readonly label: string;
  readonly network: string;
  /** Who made the interface; `chained` is a plugin before ours. */
  readonly kind: MainKind | 'heddle' | 'chained';
  /** The machine's end; none for macvlan and ipvlan, nor where another plugin made it. */
  readonly link: string | null;
  readonly addresses: readonly string[];
  readonly hostPorts: readonly PortMapping[];
  /** Bits per second and bits; null: no limits. */
  readonly limits: Bandwidth | null;
  /** What else of a list works on it. */
  readonly functions: readonly MetaKind[];
  /** Its ADD has not ended. */
  readonly making: boolean;
}

export interface AnswerCount {
  readonly command: string;
  /** 0, or the code of the error. */
  readonly code: number;
  readonly count: number;
}

export interface StandaloneStatus {
  readonly name: string;
  readonly pid: number;
  readonly socket: string;
  readonly stateDir: string;
  readonly uptimeSeconds: number;
  readonly networks: readonly { readonly name: string; readonly attachments: number }[];
  readonly ranges: readonly Omit<Usage, 'pool' | 'retired'>[];
  readonly attachments: readonly AttachmentStatus[];
  readonly answers: readonly AnswerCount[];
  /** Why containers cannot be reached as they should. */
  readonly limits: readonly string[];
  /** What was put right when it started. */
  readonly repairs: readonly string[];
}

export interface StatusDeps {
  readonly config: Pick<StandaloneConfig, 'name' | 'socket' | 'stateDir'>;
  readonly ipam: Pick<Ipam, 'list' | 'usage'>;
  readonly answers: () => readonly AnswerCount[];
  readonly limits: () => readonly string[];
  readonly repairs: readonly string[];
  /** Monotonic milliseconds. */
  readonly startedAt: number;
}

export function statusOf({
  config,
  ipam,
  answers,
  limits,
  repairs,
  startedAt,
}: StatusDeps): StandaloneStatus {
  const attachments = attachmentsOf(ipam.list());
  const byNetwork = Map.groupBy(attachments, ({ network }) => network);
  return {
    name: config.name,
    pid: process.pid,
    socket: config.socket,
    stateDir: config.stateDir,
    uptimeSeconds: Math.floor((performance.now() - startedAt) / 1000),
    networks: [...byNetwork].map(([name, all]) => ({ name, attachments: all.length })),
    ranges: sumByPool(ipam.usage()).map(({ cidrs, taken, size, cooling, kept, reserved, free }) => ({
      cidr: cidrs.join(', '),
      taken,
      size,
      cooling,
      kept,
      reserved,
      free,
    })),
    attachments,
    answers: answers(),
    limits: limits(),
    repairs,
  };
}

/** One per interface: a function that has an entry of its own in the book is told with the interface it works on. */
export function attachmentsOf(allocations: readonly Allocation[]): AttachmentStatus[] {
  const byInterface = Map.groupBy(allocations, ({ key }) => attachmentKey(baseAttachment(attachmentOf(key))));
  return [...byInterface]
    .map(([key, entries]) => attachmentStatus(key, entries))
    .toSorted((a, b) => (attachmentKey(a) < attachmentKey(b) ? -1 : 1));
}

function attachmentStatus(key: string, entries: readonly Allocation[]): AttachmentStatus {
  const attachment = attachmentOf(key);
  const all = entries.map(detailsOf);
  const own = entries.find((entry) => entry.key === key);
  const details = own ? detailsOf(own) : {};
  const chained = !own || details.chained !== undefined || details.meta !== undefined;
  const kind = chained ? 'chained' : (details.main ?? 'heddle');
  const told = (own ? [own] : entries).map((entry) => holderOf(entry).addresses);
  return {
    ...attachment,
    label: entries[0]?.label ?? '',
    network: all.find(({ network }) => network !== undefined)?.network ?? '',
    kind,
    link: kind === 'heddle' || kind === 'bridge' || kind === 'ptp' ? (own ? markOf(own) : null) : null,
    addresses: [...new Set(told.flat())],
    hostPorts: all.flatMap(({ ports = [] }) => ports),
    limits: all.find(({ bandwidth }) => bandwidth !== undefined)?.bandwidth ?? null,
    functions: [
      ...new Set(
        all.flatMap(({ meta, firewall, tuning }) => [
          ...(meta === undefined ? [] : [meta]),
          ...(firewall ? (['firewall'] as const) : []),
          ...(tuning ? (['tuning'] as const) : []),
        ]),
      ),
    ].toSorted(),
    making: all.some(({ making }) => making === true),
  };
}
