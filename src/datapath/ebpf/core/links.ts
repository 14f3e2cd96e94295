/**
 * Programs at the node's links. A pod's link keeps its programs for as long as it is there, whether or not the plan
 * knows the pod: they let nothing through that the maps do not know.
 */
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

const POD_HOOKS: readonly Hook[] = [
  { name: 'from-pod', program: 'from_pod', direction: 'ingress' },
  { name: 'to-pod', program: 'to_pod', direction: 'egress' },
];
const OVERLAY_HOOKS: readonly Hook[] = [
  { name: 'from-overlay', program: 'from_overlay', direction: 'ingress' },
  { name: 'to-overlay', program: 'to_overlay', direction: 'egress' },
];

export interface NodeLink {
  readonly index: number;
  readonly name: string;
}

export interface LinkPrograms {
  /** Says what was missing. */
  attachPod(link: NodeLink): Difference[];
  attachOverlay(link: NodeLink): Difference[];
  /** Replaces programs of earlier runs too, and forgets links that are gone. */
  prune(pods: readonly NodeLink[], overlay: NodeLink | undefined): Difference[];
  verify(pods: readonly NodeLink[], overlay: NodeLink | undefined): Difference[];
  /** Lets go of pins of links that are not among these. */
  forget(links: readonly NodeLink[]): void;
  /** Detaches everything. */
  remove(): void;
}

/** @param ns of the node */
export function createLinkPrograms(
  programs: Pick<Programs, 'program' | 'linkPath'>,
  ns: Netns,
): LinkPrograms {
  const folder = dirname(programs.linkPath('x'));

  const pinOf = (hook: Hook, index: number) => programs.linkPath(`${hook.name}-${index}`);

  function attach(hook: Hook, { index, name }: NodeLink): Difference[] {
    // Each time: the number, and so the pin, may be that of an earlier link, whose programs went with it.
    const { created } = attachTc({
      ifindex: index,
      ns,
      direction: hook.direction,
      program: programs.program(hook.program),
      pinPath: pinOf(hook, index),
    });
    return created ? [missing(hook, name)] : [];
  }

  const attachAll = (hooks: readonly Hook[], link: NodeLink) => hooks.flatMap((hook) => attach(hook, link));

  const wanted = (pods: readonly NodeLink[], overlay: NodeLink | undefined) => [
    ...pods.flatMap((link) => POD_HOOKS.map((hook) => ({ hook, link }))),
    ...(overlay ? OVERLAY_HOOKS.map((hook) => ({ hook, link: overlay })) : []),
  ];

  /** Pins of ours by their names: hook and link. */
  function pinned(): { path: string; hook: Hook; index: number }[] {
    return fs.readdirSync(folder).flatMap((file) => {
      const words = /^(.+)-(\d+)$/.exec(file);
      const hook = [...POD_HOOKS, ...OVERLAY_HOOKS].find(({ name }) => name === words?.[1]);
      return hook ? [{ path: join(folder, file), hook, index: Number(words?.[2]) }] : [];
    });
  }

  return {
    attachPod: (link) => attachAll(POD_HOOKS, link),
    attachOverlay: (link) => attachAll(OVERLAY_HOOKS, link),
    prune(pods, overlay) {
      const list = wanted(pods, overlay);
      const paths = new Set(list.map(({ hook, link }) => pinOf(hook, link.index)));
      for (const { path, hook, index } of pinned())
        if (!paths.has(path)) detachTc({ ifindex: index, ns, direction: hook.direction, pinPath: path });
      return list.flatMap(({ hook, link }) => attach(hook, link));
    },
    verify: (pods, overlay) =>
      wanted(pods, overlay)
        .filter(({ hook, link }) => !isAttached(pinOf(hook, link.index), link.index))
        .map(({ hook, link }) => missing(hook, link.name)),
    forget(links) {
      const known = new Set(links.map(({ index }) => index));
      for (const { path, hook, index } of pinned())
        if (!known.has(index)) detachTc({ ifindex: index, ns, direction: hook.direction, pinPath: path });
    },
    remove() {
      // The overlay's first: an answer that comes by there afterwards is for whoever translates now.
      const list = pinned().toSorted((a, b) => (a.hook.name < b.hook.name ? -1 : 1));
      for (const { path, hook, index } of list)
        detachTc({ ifindex: index, ns, direction: hook.direction, pinPath: path });
    },
  };
}

const missing = (hook: Hook, name: string): Difference => ({
  kind: 'missing',
  what: `program ${hook.program} at ${name}`,
});

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
