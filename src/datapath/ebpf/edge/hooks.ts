/** Programs at the uplink and at the loopback, found again by their pins: `<hook>-<index of the link>`. */
import fs from 'node:fs';
import { dirname, join } from 'node:path';
import { isLink, linkInfo } from '../../../kernel/bpf/link.ts';
import { attachTc, detachTc, type Direction } from '../../../kernel/bpf/links.ts';
import { getPinned } from '../../../kernel/bpf/syscall.ts';
import type { Netns } from '../../../kernel/netns.ts';
import type { Difference } from '../../backend.ts';
import type { Programs } from '../loader.ts';

interface Hook {
  readonly name: string;
  readonly program: string;
  readonly direction: Direction;
}

const UPLINK_HOOKS: readonly Hook[] = [
  { name: 'from-uplink', program: 'from_uplink', direction: 'ingress' },
  { name: 'to-uplink', program: 'to_uplink', direction: 'egress' },
];
const LOOPBACK_HOOKS: readonly Hook[] = [
  { name: 'to-loopback', program: 'to_loopback', direction: 'egress' },
];
/** In every namespace. */
const LOOPBACK = 1;

export interface EdgeHooks {
  /** Attaches what is missing, and takes away what is at another link. `uplink` 0: there is none. */
  prune(uplink: number): Difference[];
  verify(uplink: number): Difference[];
  /** Detaches everything, of earlier runs too. */
  remove(): void;
}

export function createEdgeHooks(programs: Pick<Programs, 'program' | 'linkPath'>, ns: Netns): EdgeHooks {
  const folder = dirname(programs.linkPath('x'));
  const pinOf = (hook: Hook, index: number) => programs.linkPath(`${hook.name}-${index}`);

  const wanted = (uplink: number) =>
    uplink === 0
      ? []
      : [
          ...LOOPBACK_HOOKS.map((hook) => ({ hook, index: LOOPBACK })),
          ...UPLINK_HOOKS.map((hook) => ({ hook, index: uplink })),
        ];

  function detachAll(but: ReadonlySet<string>): void {
    for (const file of fs.readdirSync(folder)) {
      const words = /^(.+)-(\d+)$/.exec(file);
      const hook = [...UPLINK_HOOKS, ...LOOPBACK_HOOKS].find(({ name }) => name === words?.[1]);
      const pinPath = join(folder, file);
      if (hook && !but.has(pinPath))
        detachTc({ ifindex: Number(words?.[2]), ns, direction: hook.direction, pinPath });
    }
  }

  return {
    prune(uplink) {
      const list = wanted(uplink);
      detachAll(new Set(list.map(({ hook, index }) => pinOf(hook, index))));
      return list.flatMap(({ hook, index }) => {
        const { created } = attachTc({
          ifindex: index,
          ns,
          direction: hook.direction,
          program: programs.program(hook.program),
          pinPath: pinOf(hook, index),
        });
        return created ? [missing(hook)] : [];
      });
    },
    verify: (uplink) =>
      wanted(uplink)
        .filter(({ hook, index }) => !isAttached(pinOf(hook, index), index))
        .map(({ hook }) => missing(hook)),
    remove: () => detachAll(new Set()),
  };
}

const missing = (hook: Hook): Difference => ({ kind: 'missing', what: `program ${hook.program}` });

function isAttached(pinPath: string, index: number): boolean {
  const fd = getPinned(pinPath);
  if (fd === undefined) return false;
  try {
    // A pin of clsact is the program's own.
    return !isLink(fd) || linkInfo(fd).ifindex === index;
  } finally {
    fs.closeSync(fd);
  }
}
