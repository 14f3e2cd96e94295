import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Conflist } from '../cni/conflist.ts';
import { systemClock } from '../lib/clock.ts';
import { watchNetwork } from './network-watch.ts';
import { eventually } from './test-node.ts';

test('plugins are asked as soon as an ADD fails, and again until they are well', async (t) => {
  let asked = 0;
  let well = 0;
  let wrong: string | undefined;
  const fail = () => Promise.reject(new Error(wrong));
  const plugins = {
    add: async () => (wrong === undefined ? {} : fail()),
    async status() {
      asked++;
      if (wrong !== undefined) await fail();
    },
  } as unknown as Conflist;
  const watch = watchNetwork(plugins, { clock: systemClock, onWell: () => well++ });
  const stop = new AbortController();
  const done = watch.run(stop.signal);
  t.after(() => (stop.abort(), done));
  await eventually('they were asked', () => asked === 1);
  assert.equal(watch.problem(), undefined);
  wrong = 'no addresses are left';
  await assert.rejects(watch.conflist.add({ containerId: 'a', ifName: 'eth0', netns: '' }), /no addresses/);
  await eventually('the reason is known', () => watch.problem()?.endsWith(` ${wrong}`));
  wrong = undefined;
  await eventually('it is well again', () => watch.problem() === undefined);
  assert.equal(well, 1);
});
