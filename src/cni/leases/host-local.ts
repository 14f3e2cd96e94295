/**
 * Addresses in files, one per address, as the reference plugin host-local keeps them: `<dataDir>/<network>/<address>`
 * holds the container's id and the interface's name, `last_reserved_ip.<set>` what was given last. Both may serve one
 * network: the folder's `lock` is held meanwhile.
 */
import fs from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { errnoCode } from '../../lib/errors.ts';
import { formatAddress, tryCanonical, tryParseAddress } from '../../lib/ip.ts';
import { tryLock } from '../../kernel/flock.ts';
import { CniCode, CniError } from '../error.ts';
import type { Attachment, Dns } from '../types.ts';
import { type HostLocalConfig, type HostLocalRange, valueOf } from './host-local-config.ts';
import type { Lease, LeasedAddress } from './types.ts';

const LAST = 'last_reserved_ip.';
/** Whose an address is to be, before its file is there: one who is killed between leaves no address without an owner. */
const CLAIM = '.heddle-claim';
/** Milliseconds that another may hold the lock. */
const LOCK_PATIENCE = 20_000;

/**
 * One address of each set, those of `asked` where they are in it. Who has some already keeps them.
 * @throws CniError exhausted, taken, invalidConfig
 */
export function obtainHostLocal(
  config: HostLocalConfig,
  attachment: Attachment,
  asked: readonly string[],
): Promise<Lease> {
  return locked(config.folder, () => {
    const before = heldBy(config.folder, attachment);
    const fresh: string[] = [];
    const left = new Set(asked);
    try {
      const addresses = config.sets.map((set, index) => {
        const kept = before.find((address) => rangeOf(set, address));
        const wanted = [...left].find((address) => rangeOf(set, address));
        if (wanted !== undefined) left.delete(wanted);
        if (kept !== undefined && (wanted === undefined || wanted === kept)) return leased(set, kept);
        const address = wanted ?? next(config.folder, set, index);
        if (address === undefined) throw exhausted(set);
        claim(config.folder, { address, wanted: wanted !== undefined, set, index, attachment });
        fresh.push(address);
        return leased(set, address);
      });
      const [outside] = left;
      if (outside !== undefined)
        throw new CniError(
          CniCode.invalidConfig,
          `the address ${outside} is in none of the ranges of host-local`,
        );
      return { addresses, routes: config.routes, dns: dnsOf(config.resolvConf) };
    } catch (error) {
      for (const address of fresh) fs.rmSync(join(config.folder, address), { force: true });
      throw error;
    }
  });
}

/** Nothing happens where it has none. */
export async function releaseHostLocal(folder: string, attachment: Attachment): Promise<void> {
  if (!fs.existsSync(folder)) return;
  await locked(folder, () => {
    for (const address of heldBy(folder, attachment)) fs.rmSync(join(folder, address), { force: true });
    fs.rmSync(join(folder, CLAIM), { force: true });
  });
}

/** The folder, once no address of it is anybody's; what others have put there stays. True where it is gone now. */
export async function removeUnused(folder: string): Promise<boolean> {
  if (!fs.existsSync(folder)) return false;
  return locked(folder, () => {
    const names = fs.readdirSync(folder);
    if (names.some((name) => name !== 'lock' && name !== CLAIM && !name.startsWith(LAST))) return false;
    for (const name of names) fs.rmSync(join(folder, name), { force: true });
    fs.rmdirSync(folder);
    return true;
  });
}

/** Releases what is nobody's of `valid`; says what. */
export async function sweepHostLocal(folder: string, valid: readonly Attachment[]): Promise<string[]> {
  if (!fs.existsSync(folder)) return [];
  const owners = new Set(valid.map(ownerText));
  return locked(folder, () =>
    addressFiles(folder).filter((address) => {
      if (owners.has(readOwner(folder, address))) return false;
      fs.rmSync(join(folder, address), { force: true });
      return true;
    }),
  );
}

export const holdsHostLocal = (folder: string, attachment: Attachment): string[] =>
  heldBy(folder, attachment);

const ownerText = ({ containerId, ifName }: Attachment): string => `${containerId}\r\n${ifName}`;

const addressFiles = (folder: string): string[] => {
  try {
    return fs.readdirSync(folder).filter((name) => tryCanonical(name) !== undefined);
  } catch (error) {
    if (errnoCode(error) === 'ENOENT') return [];
    throw error;
  }
};

function readOwner(folder: string, address: string): string {
  try {
    return fs.readFileSync(join(folder, address), 'utf8').trim();
  } catch {
    return '';
  }
}

function heldBy(folder: string, attachment: Attachment): string[] {
  const owner = ownerText(attachment);
  return addressFiles(folder).filter((address) => readOwner(folder, address) === owner);
}

const rangeOf = (set: readonly HostLocalRange[], address: string): HostLocalRange | undefined => {
  const parsed = tryParseAddress(address);
  return set.find(
    ({ subnet, first, last, gateway }) =>
      parsed?.family === subnet.family &&
      parsed.value >= valueOf(first) &&
      parsed.value <= valueOf(last) &&
      address !== gateway,
  );
};

function leased(set: readonly HostLocalRange[], address: string): LeasedAddress {
  const range = rangeOf(set, address);
  return { address: `${address}/${range?.subnet.length}`, gateway: range?.gateway ?? '' };
}

/** After the one that was given last, round and round; undefined where none is free. */
function next(folder: string, set: readonly HostLocalRange[], index: number): string | undefined {
  const taken = new Set(addressFiles(folder));
  const last = lastGiven(folder, index);
  const start = Math.max(
    0,
    set.findIndex((range) => last !== undefined && rangeOf([{ ...range, gateway: '' }], last)),
  );
  const order = [...set.slice(start), ...set.slice(0, start)];
  const from =
    last !== undefined && valueOf(last) >= valueOf(order[0]?.first ?? '') ? valueOf(last) + 1n : 0n;
  const [head] = order;
  if (!head) return undefined;
  return (
    freeOf(head, taken, from) ??
    order.slice(1).reduce<string | undefined>((found, range) => found ?? freeOf(range, taken), undefined) ??
    freeOf(head, taken)
  );
}

function freeOf(range: HostLocalRange, taken: ReadonlySet<string>, from = 0n): string | undefined {
  const { family } = range.subnet;
  const [first, last] = [valueOf(range.first), valueOf(range.last)];
  // Among one more than are taken, and the gateway, there is a free one.
  for (
    let value = from > first ? from : first, tries = taken.size + 2;
    value <= last && tries > 0;
    value++, tries--
  ) {
    const address = formatAddress({ family, value });
    if (address !== range.gateway && !taken.has(address)) return address;
  }
  return undefined;
}

function lastGiven(folder: string, index: number): string | undefined {
  try {
    return tryCanonical(fs.readFileSync(join(folder, `${LAST}${index}`), 'utf8').trim())?.text;
  } catch {
    return undefined;
  }
}

interface Claim {
  readonly address: string;
  readonly wanted: boolean;
  readonly set: readonly HostLocalRange[];
  readonly index: number;
  readonly attachment: Attachment;
}

function claim(folder: string, { address, wanted, index, attachment }: Claim): void {
  const claimed = join(folder, CLAIM);
  fs.rmSync(claimed, { force: true });
  try {
    fs.writeFileSync(claimed, ownerText(attachment), { mode: 0o644 });
    if (!wanted) fs.writeFileSync(join(folder, `${LAST}${index}`), address, { mode: 0o644 });
    fs.linkSync(claimed, join(folder, address));
  } catch (error) {
    if (errnoCode(error) !== 'EEXIST') throw error;
    const owner = readOwner(folder, address).replace('\r\n', '/');
    throw new CniError(CniCode.taken, `the address ${address} belongs to ${owner}`);
  } finally {
    fs.rmSync(claimed, { force: true });
  }
}

const exhausted = (set: readonly HostLocalRange[]): CniError =>
  new CniError(
    CniCode.exhausted,
    `no address left in ${set.map(({ first, last }) => `${first} to ${last}`).join(', ')}`,
  );

async function locked<T>(folder: string, work: () => T): Promise<T> {
  fs.mkdirSync(folder, { recursive: true, mode: 0o755 });
  const fd = fs.openSync(join(folder, 'lock'), 'a+', 0o600);
  try {
    const end = performance.now() + LOCK_PATIENCE;
    while (!tryLock(fd)) {
      if (performance.now() > end)
        throw new CniError(
          CniCode.tryAgain,
          `${folder}/lock is held by another for ${LOCK_PATIENCE / 1000} s`,
        );
      await sleep(5);
    }
    return work();
  } finally {
    fs.closeSync(fd);
  }
}

/** resolv.conf(5). @throws CniError invalidConfig where it cannot be read */
function dnsOf(file: string | undefined): Dns {
  if (file === undefined) return {};
  let text: string;
  try {
    text = fs.readFileSync(file, 'utf8');
  } catch (error) {
    throw new CniError(CniCode.invalidConfig, `ipam.resolvConf ${file} cannot be read: ${errnoCode(error)}`);
  }
  return parseResolvConf(text);
}

export function parseResolvConf(text: string): Dns {
  const nameservers: string[] = [];
  const options: string[] = [];
  let search: string[] = [];
  let domain: string | undefined;
  for (const line of text.split('\n')) {
    const [key, ...rest] = line
      .replace(/[#;].*$/, '')
      .trim()
      .split(/\s+/);
    if (rest.length === 0) continue;
    if (key === 'nameserver') nameservers.push(rest[0] ?? '');
    else if (key === 'search') search = rest;
    else if (key === 'domain') domain = rest[0];
    else if (key === 'options') options.push(...rest);
  }
  return {
    ...(nameservers.length > 0 ? { nameservers } : {}),
    ...(domain === undefined ? {} : { domain }),
    ...(search.length > 0 ? { search } : {}),
    ...(options.length > 0 ? { options } : {}),
  };
}
