/** Pods that go while their ADD waits for an address. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { createIpam } from '../ipam/ipam.ts';
import { openRoute } from '../kernel/route.ts';
import { needsRoot, testFolder, testNetns } from '../kernel/test-netns.ts';
import { silentLog } from '../lib/log.ts';
import { createPlugin } from './plugin.ts';
import type { CniRequest } from './types.ts';

const POOL = { families: [4] as const, blocks: [] as string[], grows: true };

for (const comes of [true, false])
  test(`a pod that is deleted while its ADD waits for a block leaves nothing, ${comes ? 'and the block comes' : 'and none comes'}`, {
    skip: needsRoot,
  }, async (t) => {
    const pod = testNetns(t);
    const node = openRoute(testNetns(t));
    t.after(() => node.close());
    const path = join(testFolder(t), 'ipam.json');
    const open = () =>
      createIpam({
        cidrs: ['10.9.0.0/30'],
        path,
        patienceMs: comes ? 600_000 : 50,
        coolingMs: 0,
        log: silentLog,
      });
    const ipam = await open();
    ipam.setPools(new Map([['default', POOL]]));
    await ipam.allocate({ key: 'first/eth0', label: 'shop/first' });
    const request = (command: CniRequest['command']): CniRequest => ({
      command,
      containerId: 'late',
      netns: pod.path,
      ifName: 'eth0',
      cniVersion: '1.1.0',
      args: {},
      config: { name: 'heddle', type: 'heddle-cni', cniVersion: '1.1.0' },
    });
    const plugin = createPlugin({ ipam, node, mtu: 1450, log: silentLog });
    const needed = new Promise<void>((resolve) =>
      ipam.onChange(() => {
        if (ipam.needs()[0]?.addresses === 2) resolve();
      }),
    );
    const adding = plugin.add(request('ADD')).then(
      () => 'added',
      (error: unknown) => String(error),
    );
    await needed;
    const deleting = plugin.del(request('DEL'));
    if (comes) ipam.setPools(new Map([['default', { ...POOL, blocks: ['10.9.8.0/30'] }]]));
    assert.match(await adding, comes ? /^added$/ : /no address left/);
    await deleting;
    for (const book of [ipam, await open()])
      assert.deepEqual(
        book.list().map(({ key }) => key),
        ['first/eth0'],
      );
    assert.equal(ipam.needs()[0]?.addresses, 1);
    assert.deepEqual(
      node.links().filter(({ kind }) => kind === 'veth'),
      [],
    );
  });
