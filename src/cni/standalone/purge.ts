/**
 * Everything that a standalone agent made on this machine, found by its books and by the marks it leaves, and taken
 * away. What is gone already is no error, so that one that was killed is simply run again.
 */
import { existsSync, lstatSync, readdirSync, rmdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { isBook } from '../../ipam/book.ts';
import type { Allocation } from '../../ipam/ipam.ts';
import { currentNetns } from '../../kernel/netns.ts';
import { type Nft, openNft } from '../../kernel/nft.ts';
import { type Link, openRoute, type Route } from '../../kernel/route.ts';
import { run } from '../../kernel/spawn.ts';
import { HeddleError } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import { createStateFile } from '../../lib/state-file.ts';
import { attachmentOf, detailsOf, markOf } from '../attachment.ts';
import { createDhcp } from '../leases/dhcp/leases.ts';
import { removeUnused } from '../leases/host-local.ts';
import { BRIDGE_ALIAS } from '../main/bridge.ts';
import { createTuning } from '../meta/tuning.ts';
import { isFinished, isOwned } from '../names.ts';
import { isWhole } from '../recover.ts';
import { undo } from '../undo.ts';
import { DEFAULT_SOCKET } from './config.ts';
import { DNS_FILE, removeDnsAddresses } from './dns.ts';
import { createFirewall } from './firewall.ts';
import { holdLock, holdNetwork, type Lock } from './lock.ts';
import { BRIDGE_TABLE, TABLE } from './table.ts';

export interface PurgeOptions {
  readonly stateDir: string;
  readonly socket: string;
  /** Also while containers are attached: they lose their network. */
  readonly force: boolean;
  readonly log: Log;
}

const BOOK = 'ipam.json';
const LEASES = 'dhcp.json';
const LOCK = 'agent.lock';

/** In the network namespace of this process. Says what was removed. @throws HeddleError `AgentBusy`, `CniAttached`, `BadState` */
export async function purge({ stateDir, socket, force, log }: PurgeOptions): Promise<string[]> {
  const locks: Lock[] = [];
  const ns = currentNetns();
  const node = openRoute(ns);
  const nft = openNft(ns);
  try {
    locks.push(holdNetwork());
    if (existsSync(stateDir)) locks.push(holdLock(join(stateDir, LOCK), log));
    const book = await readBook(join(stateDir, BOOK), force);
    if (!force) refuseAttached(book, node);
    const firewall = createFirewall({
      nft,
      run: (argv, input) => run(argv, { netns: ns, ...(input === undefined ? {} : { input }) }),
    });
    return [
      ...(await removeAttachments({ book, node, firewall, stateDir, log })),
      ...removeLinks(node),
      ...removeDnsAddresses(node, { stateDir, log }).map((address) => `the address ${address} of the DNS`),
      ...(await removeRules(nft, firewall)),
      ...removeFiles(stateDir, socket),
    ];
  } finally {
    nft.close();
    node.close();
    for (const lock of locks) lock.release();
  }
}

/** One that cannot be read says nothing of who is attached. */
async function readBook(path: string, force: boolean): Promise<Allocation[]> {
  try {
    const saved = await createStateFile<{ allocations: Allocation[] }>(path, { isWhole: isBook }).load();
    return saved?.allocations ?? [];
  } catch (error) {
    if (force) return [];
    throw error;
  }
}

/** By the books, by the marks of links where these are lost, and by what else hangs on our bridges. */
function refuseAttached(book: readonly Allocation[], node: Route): void {
  const links = node.links();
  const byName = new Map(links.map((link) => [link.name, link]));
  const known = new Set(book.map(markOf));
  const attached = [
    ...book.filter((each) => isWhole(each, markOf(each), byName)).map(({ key }) => key),
    ...links.filter((link) => isFinished(link) && !known.has(link.name)).map(({ name }) => name),
    ...portsOfOthers(links).map(({ name }) => `${name}, which is another's,`),
  ];
  if (attached.length === 0) return;
  const named = attached.slice(0, 3).join(', ');
  const more = attached.length > 3 ? ` and ${attached.length - 3} more` : '';
  throw new HeddleError('CniAttached', `${named}${more} would lose the network; nothing was removed`, {
    hint: 'end the containers first; --force takes their network away',
  });
}

const isOurBridge = ({ alias }: Link): boolean => alias === BRIDGE_ALIAS;

function portsOfOthers(links: readonly Link[]): Link[] {
  const bridges = new Set(links.filter(isOurBridge).map(({ index }) => index));
  return links.filter(
    (link) =>
      link.master !== undefined && bridges.has(link.master) && !isOwned(link.alias) && !isOurBridge(link),
  );
}

interface Removal {
  readonly book: readonly Allocation[];
  readonly node: Route;
  readonly firewall: ReturnType<typeof createFirewall>;
  readonly stateDir: string;
  readonly log: Log;
}

/** As DEL does, for what is not on this machine's links alone: settings within containers, leases, rules of others. */
async function removeAttachments({ book, node, firewall, stateDir, log }: Removal): Promise<string[]> {
  const held = new Map(book.map((each) => [each.key, each]));
  const ipam = {
    get: (key: string) => held.get(key),
    list: () => [...held.values()],
    release: async (key: string) => void held.delete(key),
  };
  const metas = { firewall, tuning: createTuning() };
  const leases = join(stateDir, LEASES);
  const dhcp = existsSync(leases) ? await createDhcp({ path: leases, log }) : undefined;
  try {
    for (const { key } of book) await undo({ ipam, node, dhcp, metas }, attachmentOf(key));
  } finally {
    await dhcp?.close();
  }
  const folders = book.flatMap((each) => {
    const { source } = detailsOf(each);
    return source?.type === 'host-local' ? [source.folder] : [];
  });
  const removed = book.map(({ key, label }) => `${key} of ${label}`);
  for (const folder of new Set(folders)) if (await removeUnused(folder)) removed.push(folder);
  return removed;
}

/** Addresses, routes, neighbours and limits go with them. */
function removeLinks(node: Route): string[] {
  const ours = node.links().filter((link) => isOwned(link.alias) || isOurBridge(link));
  // Of a pair, one takes the other along.
  return ours.filter(({ name }) => node.deleteLink(name)).map(({ name }) => `link ${name}`);
}

async function removeRules(nft: Nft, firewall: Removal['firewall']): Promise<string[]> {
  const swept = await firewall.sweep();
  const listed = nft.run('list tables').split('\n');
  const tables = [TABLE, BRIDGE_TABLE].filter((table) => listed.includes(`table ${table}`));
  if (tables.length > 0) nft.run(tables.map((table) => `delete table ${table}`).join('\n'));
  return [
    ...(swept === 0 ? [] : [`${swept} rule${swept === 1 ? '' : 's'} of nobody in the machine's firewall`]),
    ...tables.map((table) => `table ${table}`),
  ];
}

/** Files of these names only: the folder may be anybody's. */
function removeFiles(stateDir: string, socket: string): string[] {
  const names = existsSync(stateDir) ? readdirSync(stateDir) : [];
  const ours = names
    .filter((name) =>
      [BOOK, LEASES, LOCK, DNS_FILE].some((own) => name === own || name.startsWith(`${own}.`)),
    )
    .map((name) => join(stateDir, name));
  if (lstatSync(socket, { throwIfNoEntry: false })?.isSocket()) ours.push(socket);
  for (const path of ours) rmSync(path, { force: true });
  const folders = [stateDir, ...(socket === DEFAULT_SOCKET ? ['/run/heddle'] : [])];
  return [...ours, ...folders.filter(removeEmpty)];
}

function removeEmpty(folder: string): boolean {
  try {
    rmdirSync(folder);
    return true;
  } catch {
    // It is not there, or others have something in it.
    return false;
  }
}
