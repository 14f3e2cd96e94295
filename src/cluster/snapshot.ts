/**
 * What is on the machine that a cluster could have left behind or changed: for tests that hold before = after.
 * Each entry is one line of text, so that a difference reads as what it is.
 */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { findCgroup2Mount } from '../kernel/cgroup.ts';
import { findV1Groups } from '../kernel/cgroup-v1.ts';
import { mounts } from '../kernel/mount.ts';
import { openNft } from '../kernel/nft.ts';
import { openRoute } from '../kernel/route.ts';
import { RUN_ROOT } from './paths.ts';

export type Inventory = Readonly<Record<string, readonly string[]>>;

/** Of the namespace this process is in (the machine's first one) and of the machine as a whole. */
export function takeInventory(): Inventory {
  return {
    ...firstNamespace(),
    sysctls: sysctls(),
    mounts: mounts()
      .filter(({ path, type, source }) => type === 'nsfs' || source === 'heddle' || path.startsWith(RUN_ROOT))
      .map(({ path, type }) => `${type} on ${path}`),
    cgroups: cgroups(),
    sockets: filesBelow(RUN_ROOT),
    namespaces: namespaces(),
    processes: processes(),
  };
}

function firstNamespace(): Inventory {
  const route = openRoute();
  const nft = openNft();
  try {
    return {
      links: route
        .links()
        .map(({ name, mac, mtu, up, alias, master }) => show({ name, mac, mtu, up, alias, master })),
      addresses: route.addresses().map(({ link, address }) => show({ link, address })),
      routes: route.routes().map((entry) => show({ ...entry })),
      routingTables: routingTables(),
      tables: nft.run('list tables').split('\n').filter(Boolean),
    };
  } finally {
    route.close();
    nft.close();
  }
}

const show = (fields: Readonly<Record<string, unknown>>): string =>
  Object.entries(fields)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => `${key} ${String(value)}`)
    .join(' ');

/** A rule that leads to a new table makes that table. */
function routingTables(): string[] {
  return readIfThere('/proc/net/fib_triestat')
    .split('\n')
    .filter((line) => /^(Main|Local|Id \d+)/.test(line));
}

/** Every network setting that is not a counter. */
function sysctls(): string[] {
  const root = '/proc/sys/net';
  return filesBelow(root)
    .filter((path) => !/_count$|\/(neigh|tcp_fastopen_key|stable_secret)/.test(path))
    .map((path) => `${path.slice(root.length + 1)} = ${readIfThere(path).trim()}`);
}

const isOurs = (name: string): boolean => name.startsWith('heddle');

function cgroups(): string[] {
  const mount = findCgroup2Mount();
  const unified = mount === undefined ? [] : namesIn(mount).filter(isOurs);
  return [...unified, ...findV1Groups(isOurs)];
}

/** Network namespaces that some process is in. */
function namespaces(): string[] {
  const found = new Set<string>();
  for (const pid of pids()) {
    try {
      found.add(readlinkSync(`/proc/${pid}/ns/net`));
    } catch {
      // It has ended meanwhile.
    }
  }
  return [...found].toSorted();
}

/** Processes that run a program of this checkout's src/app, other than the command line itself. */
function processes(): string[] {
  return pids().flatMap((pid) => {
    const words = readIfThere(`/proc/${pid}/cmdline`).split('\0');
    const program = words.find((word) => /\/src\/app\/[a-z-]+\.ts$/.test(word));
    return program && !program.endsWith('/heddle.ts')
      ? [`${pid} ${program} ${words.slice(words.indexOf(program) + 1).join(' ')}`]
      : [];
  });
}

const pids = (): string[] => namesIn('/proc').filter((name) => /^\d+$/.test(name));

function filesBelow(path: string): string[] {
  try {
    return readdirSync(path, { recursive: true, withFileTypes: true })
      .filter((entry) => !entry.isDirectory())
      .map((entry) => join(entry.parentPath, entry.name))
      .toSorted();
  } catch {
    return [];
  }
}

function namesIn(path: string): string[] {
  try {
    return readdirSync(path).toSorted();
  } catch {
    return [];
  }
}

function readIfThere(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

/** Lines as `+ mounts: …` and `- …`; empty where nothing changed. `only`: entries that count. */
export function difference(
  before: Inventory,
  after: Inventory,
  only: (line: string) => boolean = () => true,
): string[] {
  const parts = [...new Set([...Object.keys(before), ...Object.keys(after)])];
  return parts.flatMap((part) => {
    const [was, is] = [before[part] ?? [], after[part] ?? []];
    return [
      ...is.filter((line) => !was.includes(line)).map((line) => `+ ${part}: ${line}`),
      ...was.filter((line) => !is.includes(line)).map((line) => `- ${part}: ${line}`),
    ].filter(only);
  });
}
