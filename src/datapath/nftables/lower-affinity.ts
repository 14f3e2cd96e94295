/**
 * `sessionAffinity: ClientIP`. The map `clients-ID` remembers, filled by the kernel itself, which backend a client
 * had; its time begins again with each connection. What is remembered is a number of the backend and not its slot:
 * slots move. A number that is no longer in `stays4` is forgotten and the client draws again.
 */
import type { BackendAddress } from '../plan/tables.ts';
import { backendNumber, mark } from './names.ts';
import { chain, element, type KernelObject, map } from './objects.ts';
import { backendText, type Side } from './side.ts';

/** Numbers of what clients outside get: one who is sent elsewhere from now on is not held by what he had. */
const OUTSIDE = 0x80000000;

export const CLIENTS_SPEC = (family: 4 | 6): string =>
  `type ipv${family}_addr : mark; size 65536; flags dynamic,timeout`;

export function lowerAffinity(side: Side, seconds: number) {
  const { family, ip, key, id, draw, frontend, outside } = side;
  const [clients, stay, name] = [`clients-${id}`, `stay-${id}`, `affinity-${id}`];
  const comment = `${frontend.service} ${key}`;
  const numberOf = (backend: BackendAddress): string =>
    mark((backendNumber(backendText(backend)) | (outside ? OUTSIDE : 0)) >>> 0);
  const frontendOf = `${ip} daddr . meta l4proto . th dport . meta mark`;
  const objects: KernelObject[] = [
    map(clients, CLIENTS_SPEC(family)),
    chain(
      name,
      [
        'meta mark set 0x00000000',
        `meta mark set ${ip} saddr map @${clients}`,
        `${frontendOf} vmap @stays${family}`,
        // An element that is there keeps its value when it is updated.
        `delete @${clients} { ${ip} saddr : meta mark }`,
        draw,
        `meta mark set ${frontendOf} map @numbers${family}`,
        `goto ${stay}`,
      ],
      comment,
    ),
    chain(
      stay,
      [
        `update @${clients} { ${ip} saddr timeout ${duration(seconds)} : meta mark }`,
        `dnat ${ip} to ${frontendOf} map @pinned${family}`,
      ],
      comment,
    ),
    ...unique(side.slots).flatMap((backend) => [
      element(`stays${family}`, `${key} . ${numberOf(backend)}`, `goto ${stay}`),
      element(`pinned${family}`, `${key} . ${numberOf(backend)}`, backendText(backend)),
    ]),
  ];
  return { chain: name, objects, numberOf };
}

const unique = (backends: readonly BackendAddress[]): BackendAddress[] => [
  ...new Map(backends.map((backend) => [backendText(backend), backend])).values(),
];

/** As nft lists it: `3h`, `1d2h3m4s`. */
export function duration(seconds: number): string {
  const parts = [
    [Math.floor(seconds / 86_400), 'd'],
    [Math.floor(seconds / 3600) % 24, 'h'],
    [Math.floor(seconds / 60) % 60, 'm'],
    [seconds % 60, 's'],
  ] as const;
  const text = parts.map(([count, unit]) => (count === 0 ? '' : `${count}${unit}`)).join('');
  return text === '' ? '1s' : text;
}
