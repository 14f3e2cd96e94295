import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, rmdir, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import fc from 'fast-check';
import type { Clock } from '../lib/clock.ts';
import { silentLog } from '../lib/log.ts';
import { createIpam, type Ipam } from './ipam.ts';
import { createPool, LEVELS, type Pool } from './pool.ts';

let folder: string;
let files = 0;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'heddle-test-ipam-'));
});
after(() => rm(folder, { recursive: true, force: true }));

const fresh = () => join(folder, `${files++}.json`);
const cidrs = ['10.9.0.0/28', 'fd00:9::/64'];
const takeAny = (pool: Pool, now: number): string | undefined =>
  LEVELS.map((level) => () => pool.take(now, level)).reduce<string | undefined>(
    (found, take) => found ?? take(),
    undefined,
  );
const owner = (n: number | string) => ({ key: `pod-${n}/eth0`, label: `shop/web-${n}` });

function heldClock(): Clock & { at: number } {
  return {
    at: 1_000_000,
    now() {
      return this.at;
    },
    monotonic() {
      return this.at;
    },
    sleep: () => Promise.resolve(),
  };
}

const open = (path: string, clock?: Clock): Promise<Ipam> =>
  createIpam({ cidrs, path, log: silentLog, clock });

test('an owner gets one address of each family, and the same ones again', async () => {
  const ipam = await open(fresh());
  const first = await ipam.allocate(owner(1));
  assert.equal(first.addresses.length, 2);
  assert.match(first.addresses[0]!, /^10\.9\.0\./);
  assert.match(first.addresses[1]!, /^fd00:9::/);
  assert.deepEqual(await ipam.allocate(owner(1)), first);
});

test('network, gateway and broadcast address are never handed out', async () => {
  const ipam = await open(fresh());
  for (let i = 0; i < 13; i++) await ipam.allocate(owner(i));
  const taken = ipam.list().map(({ addresses }) => addresses[0]);
  assert.equal(new Set(taken).size, 13);
  for (const never of ['10.9.0.0', '10.9.0.1', '10.9.0.15']) assert.ok(!taken.includes(never));
});

test('a pool with nothing left says which pool and who uses it most', async () => {
  const ipam = await open(fresh());
  for (let i = 0; i < 13; i++)
    await ipam.allocate({ key: `${i}`, label: `shop/cart-6d4cf56db6-${String(i).padStart(5, 'a')}` });
  await assert.rejects(ipam.allocate(owner('late')), /pool default .*10\.9\.0\.0\/28.*13.*shop\/cart \(13\)/);
  assert.deepEqual(
    ipam.usage().map(({ taken }) => taken),
    [13, 13],
  );
});

test('what was allocated survives a restart', async () => {
  const path = fresh();
  const one = await (await open(path)).allocate(owner(1));
  const again = await open(path);
  assert.deepEqual(again.get(owner(1).key), one);
  assert.notDeepEqual((await again.allocate(owner(2))).addresses, one.addresses);
});

test('a damaged book is set aside and rebuilt from live pods', async () => {
  const path = fresh();
  await writeFile(path, '{"allocations":[');
  const ipam = await open(path);
  for (const address of ['fd00:9::5', '10.9.0.5']) assert.equal(await ipam.claim(owner(1), [address]), true);
  for (const book of [ipam, await open(path)])
    assert.deepEqual(book.get(owner(1).key)?.addresses, ['10.9.0.5', 'fd00:9::5']);
});

test('what a pod turns out to have is its own but where another has it, or no block does', async () => {
  const ipam = await open(fresh());
  const kept = await ipam.allocate(owner(1));
  assert.equal(await ipam.claim(owner(2), ['10.9.0.9', ...kept.addresses]), false);
  assert.equal(await ipam.claim(owner(2), ['10.10.0.9']), false);
  assert.equal(ipam.get(owner(2).key), undefined);
  assert.equal(await ipam.claim(owner(2), ['10.9.0.9']), true, 'nothing of it was taken before');
  assert.equal(await ipam.claim(owner(2), ['10.9.0.9']), true, 'again');
  assert.deepEqual([ipam.covers('10.9.0.9'), ipam.covers('10.10.0.9')], [true, false]);
});

test('what many turn out to have is booked in one write, each with what nobody else has', async () => {
  const path = fresh();
  const ipam = await open(path);
  const { refused, saved } = ipam.adopt([
    { owner: owner(1), addresses: ['fd00:9::5', '10.9.0.5'] },
    { owner: owner(2), addresses: ['10.9.0.5', 'fd00:9::6'] },
    { owner: owner(3), addresses: ['10.10.0.9'] },
  ]);
  assert.deepEqual(refused, [
    { key: owner(2).key, address: '10.9.0.5' },
    { key: owner(3).key, address: '10.10.0.9' },
  ]);
  await saved;
  for (const book of [ipam, await open(path)])
    assert.deepEqual(
      [1, 2, 3].map((n) => book.get(owner(n).key)?.addresses),
      [['10.9.0.5', 'fd00:9::5'], ['fd00:9::6'], []],
    );
  assert.deepEqual(ipam.adopt([{ owner: owner(1), addresses: ['10.9.0.7'] }]).refused, []);
  assert.deepEqual(ipam.get(owner(1).key)?.addresses, ['10.9.0.5', 'fd00:9::5'], 'as it was');
});

test('a released address rests while others are free, then is the oldest to come back', () => {
  const pool = createPool({ cidr: '10.9.0.0/29', coolingMs: 1000 });
  const all = Array.from({ length: pool.size }, () => takeAny(pool, 0)!);
  assert.equal(takeAny(pool, 0), undefined);
  pool.release(all[3]!, 10);
  pool.release(all[1]!, 20);
  assert.equal(takeAny(pool, 30), all[3], 'nothing else is free: the one that rested longest');
  assert.equal(takeAny(pool, 30), all[1]);
});

test('resting survives a restart', async () => {
  const path = fresh();
  const clock = heldClock();
  const ipam = await open(path, clock);
  const first = await ipam.allocate(owner(1));
  await ipam.release(owner(1).key);
  clock.at += 100;
  const again = await open(path, clock);
  assert.notEqual((await again.allocate(owner(2))).addresses[0], first.addresses[0]);
});

type Step = { take: number } | { release: number } | { wait: number };
const steps = fc.array(
  fc.oneof(
    fc.record({ take: fc.nat(30) }),
    fc.record({ release: fc.nat(30) }),
    fc.record({ wait: fc.nat(100_000) }),
  ),
  { maxLength: 120 },
) as fc.Arbitrary<Step[]>;

test('no address ever has two owners, and releasing all gives all back', () => {
  fc.assert(
    fc.property(steps, fc.constantFrom('10.9.0.0/28', 'fd00:9::/124', '10.9.0.0/31'), (list, cidr) => {
      const pool = createPool({ cidr, coolingMs: 30_000 });
      const held = new Map<number, string>();
      let now = 0;
      for (const step of list) {
        if ('wait' in step) now += step.wait;
        else if ('release' in step) {
          const address = held.get(step.release);
          if (address !== undefined) pool.release(address, now);
          held.delete(step.release);
        } else if (!held.has(step.take)) {
          const address = takeAny(pool, now);
          assert.equal(address === undefined, held.size === pool.size, 'fails only when full');
          if (address === undefined) continue;
          assert.ok(![...held.values()].includes(address), `${address} has two owners`);
          held.set(step.take, address);
        }
        assert.equal(pool.taken, held.size);
      }
      for (const address of held.values()) pool.release(address, now);
      assert.equal(pool.taken, 0);
      const all = Array.from({ length: pool.size }, () => takeAny(pool, now));
      assert.equal(new Set(all).size, pool.size);
      assert.ok(!all.includes(undefined));
    }),
  );
});

test('many allocations at once share few writes and stay distinct', async () => {
  const path = fresh();
  const ipam = await createIpam({ cidrs: ['10.9.0.0/24', 'fd00:9::/64'], path, log: silentLog });
  const all = await Promise.all(Array.from({ length: 200 }, (_, i) => ipam.allocate(owner(i))));
  assert.equal(new Set(all.flatMap(({ addresses }) => addresses)).size, 400);
  const again = await createIpam({ cidrs: ['10.9.0.0/24', 'fd00:9::/64'], path, log: silentLog });
  assert.equal(again.list().length, 200);
});

test('what is reserved is given to nobody but who asks for the very address', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.uniqueArray(fc.integer({ min: 2, max: 14 }), { minLength: 1, maxLength: 12 }),
      fc.array(fc.nat(20), { maxLength: 40 }),
      async (reserved, list) => {
        const ipam = await createIpam({
          cidrs: ['10.9.0.0/28'],
          path: fresh(),
          log: silentLog,
          coolingMs: 0,
        });
        const aside = reserved.map((last) => `10.9.0.${last}`);
        ipam.setReserved(aside);
        for (const n of list) {
          if (ipam.get(owner(n).key)) await ipam.release(owner(n).key);
          else
            await ipam.allocate(owner(n)).catch((error: unknown) => {
              assert.equal(ipam.list().length, 13 - aside.length, String(error));
            });
        }
        const given = ipam.list().flatMap(({ addresses }) => addresses);
        assert.deepEqual(
          given.filter((address) => aside.includes(address)),
          [],
        );
        const wanted = { addresses: aside.slice(0, 1) };
        assert.deepEqual((await ipam.allocate(owner('router'), wanted)).addresses, wanted.addresses);
        await ipam.release(owner('router').key);
      },
    ),
    { numRuns: 30 },
  );
});

const four = (path: string, clock: Clock): Promise<Ipam> =>
  createIpam({ cidrs: ['10.9.0.0/29'], path, log: silentLog, clock });
const sticky = (n: number) => ({ ...owner(n), sticky: 600_000 });

test('a sticky address waits for its owner, over a restart too, and comes back to it', async () => {
  const [path, clock] = [fresh(), heldClock()];
  const ipam = await four(path, clock);
  const { addresses } = await ipam.allocate(sticky(1));
  await ipam.release(owner(1).key);
  clock.at += 300_000;
  for (let i = 2; i < 6; i++) assert.notDeepEqual((await ipam.allocate(owner(i))).addresses, addresses);
  const again = await four(path, clock);
  const back = { ...sticky(1), key: 'pod-anew/eth0' };
  assert.deepEqual((await again.allocate(back)).addresses, addresses);
});

test('a sticky address is given to others once nothing else is left, or its time is over', async () => {
  const clock = heldClock();
  const ipam = await four(fresh(), clock);
  const { addresses } = await ipam.allocate(sticky(1));
  await ipam.release(owner(1).key);
  await ipam.allocate(owner(2));
  await ipam.release(owner(2).key);
  for (let i = 3; i < 7; i++) assert.notDeepEqual((await ipam.allocate(owner(i))).addresses, addresses);
  assert.deepEqual((await ipam.allocate(owner(7))).addresses, addresses, 'better than none');
  await ipam.release(owner(3).key);
  assert.notDeepEqual((await ipam.allocate(sticky(1))).addresses, addresses, 'it is another’s by now');
  const late = await four(fresh(), clock);
  await late.allocate(sticky(1));
  await late.release(owner(1).key);
  clock.at += 600_001;
  assert.deepEqual(late.kept(), []);
});

test('of several blocks the address that has rested longest is given first', async () => {
  const clock = heldClock();
  const ipam = await createIpam({ cidrs: ['10.9.0.0/30'], path: fresh(), log: silentLog, clock });
  ipam.setPools(new Map([['default', { families: [4], blocks: ['10.9.8.0/30'], grows: false }]]));
  const [first, second] = [await ipam.allocate(owner(1)), await ipam.allocate(owner(2))];
  assert.deepEqual([first.addresses, second.addresses], [['10.9.0.2'], ['10.9.8.2']]);
  await ipam.release(second.key);
  clock.at += 10;
  await ipam.release(first.key);
  assert.deepEqual((await ipam.allocate(owner(3))).addresses, second.addresses);
  assert.deepEqual((await ipam.allocate(owner(4))).addresses, first.addresses);
  await assert.rejects(ipam.allocate(owner(5)), /10\.9\.0\.0\/30, 10\.9\.8\.0\/30\): all 2 are taken/);
});

test('the words for a full pool tell what is taken from what is reserved', async () => {
  const ipam = await four(fresh(), heldClock());
  ipam.setReserved(['10.9.0.4/30']);
  for (let i = 0; i < 2; i++) await ipam.allocate(owner(i));
  await assert.rejects(
    ipam.allocate(owner(2)),
    /all 2 are taken, 3 more are reserved, most by shop\/web \(2\)/,
  );
  const none = await four(fresh(), heldClock());
  none.setReserved(['10.9.0.0/29']);
  await assert.rejects(none.allocate(owner(0)), /10\.9\.0\.0\/29\): all 5 are reserved$/);
});

test('a pod that was refused and goes is no need any more, and whoever asks for blocks hears of it', async () => {
  const ipam = await createIpam({ cidrs: ['10.9.0.0/30'], path: fresh(), log: silentLog });
  await ipam.allocate(owner(1));
  await assert.rejects(ipam.allocate(owner(2)), { code: 'AddressesExhausted' });
  assert.equal(ipam.needs()[0]?.addresses, 2);
  let told = 0;
  ipam.onChange(() => told++);
  await ipam.release(owner(2).key);
  assert.deepEqual([told, ipam.needs()[0]?.addresses], [1, 1]);
});

test('what a disk refused is still known, and is written once there is room', async () => {
  const path = fresh();
  const ipam = await createIpam({ cidrs, path, log: silentLog });
  const held = await ipam.allocate({ ...owner(1), details: { making: true } });
  // Where the next book is written: nobody can, as on a disk that is full.
  await mkdir(`${path}.new`);
  await assert.rejects(ipam.allocate({ ...owner(1), details: { making: false } }));
  assert.deepEqual(ipam.get(held.key), held, 'what is needed to take it back');
  await assert.rejects(ipam.allocate(owner(2)));
  assert.equal(ipam.get(owner(2).key), undefined);
  await assert.rejects(ipam.release(held.key));
  await rmdir(`${path}.new`);
  await ipam.release(held.key);
  assert.deepEqual((await createIpam({ cidrs, path, log: silentLog })).list(), []);
});
