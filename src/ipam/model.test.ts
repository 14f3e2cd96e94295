/** Random work on the address book, held against a model of a few maps. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import fc from 'fast-check';
import type { Clock } from '../lib/clock.ts';
import { errnoCode } from '../lib/errors.ts';
import { silentLog } from '../lib/log.ts';
import { createIpam, type Ipam } from './ipam.ts';

const COOLING = 60_000;
const STICKY = 600_000;
/** By block, what it can give: all but the first two, and the last. */
const BLOCKS = { home: '10.9.0.0/29', more: '10.9.8.0/29', other: '10.9.16.0/29' } as const;
const addressesOf = (cidr: string) =>
  [2, 3, 4, 5, 6].map((n) => `${cidr.slice(0, cidr.lastIndexOf('.'))}.${n}`);
const EVERY = Object.values(BLOCKS).flatMap(addressesOf);

let folder: string;
let files = 0;
before(() => (folder = mkdtempSync(join(tmpdir(), 'heddle-test-ipam-model-'))));
after(() => rmSync(folder, { recursive: true, force: true }));

interface State {
  /** By owner. */
  held: Map<number, string>;
  /** Address → when it was released. */
  resting: Map<string, number>;
  kept: Map<string, { label: number; until: number }>;
}
const copy = ({ held, resting, kept }: State): State => ({
  held: new Map(held),
  resting: new Map(resting),
  kept: new Map(kept),
});

interface World {
  ipam: Ipam;
  readonly path: string;
  readonly clock: Clock & { at: number };
  now: State;
  /** What the last write that succeeded said: what the next start finds. */
  disk: State;
  more: boolean;
  reserved: readonly string[];
  full: boolean;
  /** The last write was refused. */
  unsaved: boolean;
}

const owner = (n: number) => ({ key: `pod-${n}/eth0`, label: `shop/web-${n % 6}` });
const open = ({ path, clock }: Pick<World, 'path' | 'clock'>): Promise<Ipam> =>
  createIpam({ cidrs: [BLOCKS.home], path, clock, coolingMs: COOLING, log: silentLog });

/** Blocks of the pools `default` and `other`. */
const giving = ({ more }: World, pool: string): string[] =>
  pool === 'other' ? [BLOCKS.other] : [BLOCKS.home, ...(more ? [BLOCKS.more] : [])];

function saved(world: World): void {
  world.disk = copy(world.now);
  world.unsaved = false;
}

function setPools(world: World): void {
  const families = [4] as const;
  world.ipam.setPools(
    new Map([
      ['default', { families, blocks: world.more ? [BLOCKS.more] : [], grows: false }],
      ['other', { families, blocks: [BLOCKS.other], grows: false }],
    ]),
  );
  if (world.full) world.unsaved = true;
  else saved(world);
}

const isTaken = ({ now }: World, address: string): boolean => [...now.held.values()].includes(address);
const isResting = ({ now, clock }: World, address: string): boolean =>
  clock.at - (now.resting.get(address) ?? Number.NEGATIVE_INFINITY) < COOLING;
const keeper = ({ now, clock }: World, address: string): number | undefined => {
  const kept = now.kept.get(address);
  return kept && kept.until > clock.at ? kept.label : undefined;
};

function take(world: World, n: number, address: string): void {
  world.now.held.set(n, address);
  world.now.resting.delete(address);
  world.now.kept.delete(address);
}

function giveBack(world: World, n: number, sticky: boolean): void {
  const address = world.now.held.get(n) ?? assert.fail();
  world.now.held.delete(n);
  world.now.resting.set(address, world.clock.at);
  if (sticky) world.now.kept.set(address, { label: n % 6, until: world.clock.at + STICKY });
}

/** By a full disk, not for want of addresses. */
async function refusedByDisk(world: World, work: Promise<unknown>): Promise<void> {
  await assert.rejects(work, (error) => errnoCode(error) !== 'AddressesExhausted');
  world.unsaved = true;
}

type Step = (world: World) => Promise<void>;
const isSticky = (n: number): boolean => n % 2 === 1;

const allocate =
  (n: number, pool: 'default' | 'other'): Step =>
  async (world) => {
    const { ipam, now, reserved } = world;
    const had = now.held.get(n);
    const can = giving(world, pool)
      .flatMap(addressesOf)
      .filter((address) => !isTaken(world, address) && !reserved.includes(address));
    const asked = { ...owner(n), ...(isSticky(n) ? { sticky: STICKY } : {}) };
    const work = ipam.allocate(asked, { pools: { 4: pool, 6: pool } });
    const own = isSticky(n)
      ? EVERY.filter((each) => !isTaken(world, each) && keeper(world, each) === n % 6)
      : [];
    const wanted = giving(world, pool)
      .flatMap(addressesOf)
      .filter((each) => own.includes(each));
    if (had === undefined && can.length + wanted.length === 0)
      return assert.rejects(work, { code: 'AddressesExhausted' });
    if (world.full) {
      await refusedByDisk(world, work);
      return settle(world);
    }
    const [address = ''] = (await work).addresses;
    if (had !== undefined) assert.equal(address, had);
    else {
      if (wanted.length > 0)
        assert.ok(wanted.includes(address), `${address} and not what waits for it: ${wanted.join()}`);
      else {
        assert.ok(can.includes(address), `${address} of ${can.join()}`);
        const free = can.filter((each) => !isResting(world, each) && keeper(world, each) === undefined);
        if (free.length > 0) assert.ok(free.includes(address), `${address} while ${free.join()} are free`);
        else if (keeper(world, address) !== undefined)
          assert.ok(
            can.every((each) => keeper(world, each) !== undefined),
            `${address} is kept for another`,
          );
      }
      take(world, n, address);
    }
    saved(world);
  };

/** After a refusal, what rests and waits is as the book says: that no law is about. */
function settle(world: World): void {
  world.now.resting = new Map(world.ipam.cooling().map(({ address, since }) => [address, since]));
  world.now.kept = new Map(
    world.ipam.kept().map(({ address, label, until }) => [address, { label: Number(label.slice(9)), until }]),
  );
}

const release =
  (n: number): Step =>
  async (world) => {
    const work = world.ipam.release(owner(n).key);
    const had = world.now.held.has(n);
    if (had) giveBack(world, n, isSticky(n));
    // What could not be written before is written with it.
    if (!had && !world.unsaved) return work;
    if (world.full) return refusedByDisk(world, work);
    await work;
    saved(world);
  };

const claim =
  (n: number, address: string): Step =>
  async (world) => {
    if (world.full || world.now.held.has(n)) return;
    const reachable = world.ipam.covers(address);
    const done = await world.ipam.claim({ ...owner(n), ...(isSticky(n) ? { sticky: STICKY } : {}) }, [
      address,
    ]);
    assert.equal(done, reachable && !isTaken(world, address));
    if (done) take(world, n, address);
    if (done) saved(world);
  };

const wait =
  (ms: number): Step =>
  async (world) => {
    world.clock.at += ms;
  };
const reserve =
  (addresses: readonly string[]): Step =>
  async (world) => {
    world.reserved = addresses;
    world.ipam.setReserved(addresses);
  };
const grow =
  (more: boolean): Step =>
  async (world) => {
    world.more = more;
    setPools(world);
  };
const fill =
  (full: boolean): Step =>
  async (world) => {
    if (full === world.full) return;
    // Whatever is written first cannot be.
    if (full) mkdirSync(`${world.path}.new`);
    else rmdirSync(`${world.path}.new`);
    world.full = full;
  };
/** The end by kill -9, perhaps in the middle of a write. */
const restart: Step = async (world) => {
  if (!world.full) writeFileSync(`${world.path}.new`, '{"version":1,"allo');
  world.ipam = await open(world);
  world.unsaved = false;
  world.now = copy(world.disk);
  if (!world.full) rmSync(`${world.path}.new`, { force: true });
  world.ipam.setReserved(world.reserved);
  setPools(world);
};

const number = fc.nat(17);
const steps: fc.Arbitrary<[string, Step]> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc
      .tuple(number, fc.constantFrom('default' as const, 'other' as const))
      .map(([n, pool]): [string, Step] => [`allocate ${n} of ${pool}`, allocate(n, pool)]),
  },
  { weight: 4, arbitrary: number.map((n): [string, Step] => [`release ${n}`, release(n)]) },
  fc
    .tuple(number, fc.constantFrom(...EVERY))
    .map(([n, address]): [string, Step] => [`claim ${n} ${address}`, claim(n, address)]),
  fc.constantFrom(1, 30_000, 60_000, 700_000).map((ms): [string, Step] => [`wait ${ms}`, wait(ms)]),
  fc
    .subarray(EVERY, { maxLength: 4 })
    .map((list): [string, Step] => [`reserve ${list.join()}`, reserve(list)]),
  fc.boolean().map((more): [string, Step] => [`more ${more}`, grow(more)]),
  fc.boolean().map((full): [string, Step] => [`full ${full}`, fill(full)]),
  fc.constant<[string, Step]>(['restart', restart]),
);

test('whatever is asked of the book, on a full disk and over restarts, it is what a model of it says', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(steps, { maxLength: 60 }), async (list) => {
      const path = join(folder, `${files++}.json`);
      const at = { at: 1_000_000 };
      const clock = {
        ...at,
        now() {
          return this.at;
        },
        monotonic() {
          return this.at;
        },
        sleep: () => Promise.resolve(),
      };
      const empty: State = { held: new Map(), resting: new Map(), kept: new Map() };
      const world: World = {
        ipam: await open({ path, clock }),
        path,
        clock,
        now: copy(empty),
        disk: copy(empty),
        more: false,
        reserved: [],
        full: false,
        unsaved: false,
      };
      setPools(world);
      const done: string[] = [];
      for (const [name, step] of list) {
        done.push(name);
        try {
          await step(world);
          const held = world.ipam
            .list()
            .map(({ key, addresses }) => `${key} ${addresses.join()}`)
            .toSorted();
          const model = [...world.now.held].map(([n, address]) => `${owner(n).key} ${address}`).toSorted();
          assert.deepEqual(held, model);
          assert.equal(
            new Set(world.now.held.values()).size,
            world.now.held.size,
            'no address has two owners',
          );
        } catch (error) {
          throw new Error(`after ${done.join('; ')}`, { cause: error });
        }
      }
      rmSync(`${path}.new`, { force: true, recursive: true });
    }),
    { numRuns: 150 },
  );
});
