import assert from 'node:assert/strict';
import fs from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { createIpam } from '../../ipam/ipam.ts';
import type { Route } from '../../kernel/route.ts';
import { testFolder } from '../../kernel/test-netns.ts';
import type { Log } from '../../lib/log.ts';
import { createDhcp } from '../leases/dhcp/leases.ts';
import { createResultCache } from '../result-cache.ts';
import { removeDnsAddresses } from './dns.ts';
import { holdLock } from './lock.ts';

type Warn = Pick<Log, 'warn'>;

/** A file of the agent's: what it has in good order, and how it is opened. */
const FILES: Readonly<Record<string, { good: string; open(file: string, log: Warn): unknown }>> = {
  'ipam.json': {
    good: '{"version":1,"allocations":[],"cooling":[]}',
    async open(file, log) {
      const ipam = await createIpam({ cidrs: ['10.9.0.0/24'], path: file, log: log as Log });
      const owner = { key: 'one/eth0', label: 'none/one' };
      assert.deepEqual((await ipam.allocate(owner)).addresses, ['10.9.0.2'], 'and can be written again');
    },
  },
  'dhcp.json': {
    good: '{"version":1,"leases":[]}',
    async open(file, log) {
      const dhcp = await createDhcp({ path: file, log: log as Log });
      assert.deepEqual(dhcp.list(), []);
      await dhcp.close();
    },
  },
  'dns-addresses.json': {
    good: '["10.9.0.1"]',
    open(file, log) {
      const gone: string[] = [];
      const node = { deleteAddress: (_: string, address: string) => gone.push(address) > 0 };
      const from = { stateDir: join(file, '..'), podRanges: ['10.9.0.0/24'], log };
      removeDnsAddresses(node as unknown as Route, from);
      assert.deepEqual(gone, ['10.9.0.1/32'], 'found where it must be');
    },
  },
};

const DAMAGES: Readonly<Record<string, (file: string, good: string) => void>> = {
  truncated: (file, good) => fs.writeFileSync(file, good.slice(0, -2)),
  empty: (file) => fs.writeFileSync(file, ''),
  garbage: (file) => fs.writeFileSync(file, Buffer.from([0, 255, 7, 10, 192])),
  'of another version': (file) => fs.writeFileSync(file, '{"version":7,"allocations":{},"leases":{}}'),
  'other JSON': (file) => fs.writeFileSync(file, '[{"version":1},null]'),
  nothing: (file) => fs.writeFileSync(file, 'null'),
  unreadable: (file) => fs.symlinkSync(file, file),
  'a folder': (file) => fs.mkdirSync(join(file, 'with'), { recursive: true }),
};

for (const [name, { good, open }] of Object.entries(FILES))
  for (const [how, damage] of Object.entries(DAMAGES))
    test(`${name} that is ${how} is set aside with a warning that names it, and the agent goes on`, async (t) => {
      const folder = testFolder(t);
      const file = join(folder, name);
      const warnings: string[] = [];
      damage(file, good);
      await open(file, {
        warn: (message, fields) => warnings.push(`${message} ${String(fields?.['file'])}`),
      });
      assert.equal(warnings.length, 1, warnings.join());
      assert.ok(warnings[0]?.startsWith('a damaged file is set aside') && warnings[0].endsWith(file));
      const kept = fs.readdirSync(folder).filter((each) => each.startsWith(`${name}.damaged-`));
      assert.equal(kept.length, 1);
    });

test('files in good order are read without a word, and those that are not there are none', async (t) => {
  const log = { warn: (message: string) => assert.fail(message) };
  for (const [name, { good, open }] of Object.entries(FILES)) {
    const file = join(testFolder(t), name);
    fs.writeFileSync(file, good);
    await open(file, log);
  }
});

test('a folder in the place of the lock is set aside', (t) => {
  const path = join(testFolder(t), 'agent.lock');
  fs.mkdirSync(path);
  const warnings: string[] = [];
  holdLock(path, { warn: (message) => warnings.push(message) }).release();
  assert.match(warnings.join(), /^a damaged file is set aside; the lock is made anew$/);
});

for (const [how, damage] of Object.entries(DAMAGES))
  if (how !== 'unreadable')
    test(`a cached result that is ${how} is none, and hides no other`, async (t) => {
      const folder = testFolder(t);
      const cache = createResultCache(folder, 'net');
      const conf = { containerId: 'one', ifName: 'eth0', netns: '' };
      const list = { cniVersion: '1.1.0', name: 'net', plugins: [] };
      await cache.write({ conf, list, result: { cniVersion: '1.1.0' } });
      damage(join(folder, 'results/net-two-eth0'), '{"kind":"cniCacheV1","containerId":"two"}');
      assert.equal(await cache.read({ containerId: 'two', ifName: 'eth0' }), undefined);
      assert.deepEqual(
        (await cache.list()).map(({ containerId }) => containerId),
        ['one'],
      );
    });
