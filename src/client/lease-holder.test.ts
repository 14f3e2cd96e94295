import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { LEASE } from '../api/kinds.ts';
import { systemClock } from '../lib/clock.ts';
import { silentLog } from '../lib/log.ts';
import { createFakeClient, eventually, type FakeClient } from './fake.ts';
import { createInformer } from './informer.ts';
import { createLeaseHolder } from './lease-holder.ts';
import type { Client } from './types.ts';

const NAME = 'heddle-l2-192.0.2.1';

/** A machine that wants the name; `cut` takes its way to the server, as death does but without an end. */
function machine(t: TestContext, fake: FakeClient, identity: string, delayMs = 0) {
  let isCut = false;
  const refuse = async () => {
    throw new Error('unreachable');
  };
  const client: Client = {
    ...fake,
    update: (...args) => (isCut ? refuse() : fake.update(...args)),
    create: (...args) => (isCut ? refuse() : fake.create(...args)),
    delete: (...args) => (isCut ? refuse() : fake.delete(...args)),
  };
  const leases = createInformer(client, LEASE, { log: silentLog });
  const told: boolean[] = [];
  const holder = createLeaseHolder({
    client,
    leases,
    namespace: 'kube-system',
    labels: { 'heddle.dev/l2': '' },
    identity,
    durationMs: 2000,
    renewMs: 100,
    clock: systemClock,
    log: silentLog,
    changed: (_name, held) => told.push(held),
  });
  const stop = new AbortController();
  const done = Promise.all([leases.run(stop.signal), holder.run(stop.signal)]);
  const end = async () => {
    stop.abort();
    await done;
  };
  t.after(end);
  holder.want(new Map([[NAME, { delayMs }]]));
  return { holder, told, end, cut: () => void (isCut = true), has: () => holder.held.has(NAME) };
}

const leaseOf = (fake: FakeClient) => fake.all(LEASE)[0]?.spec;

test('one of several holds a name, and renews it', async (t) => {
  const fake = createFakeClient();
  const machines = ['a', 'b', 'c'].map((name) => machine(t, fake, name));
  await eventually('one has it', () => machines.some(({ has }) => has()));
  const first = leaseOf(fake)?.renewTime;
  await eventually('it is renewed', () => leaseOf(fake)?.renewTime !== first);
  assert.equal(machines.filter(({ has }) => has()).length, 1);
});

test('a name is left to who is to have it first', async (t) => {
  const fake = createFakeClient();
  const late = machine(t, fake, 'late', 10_000);
  const early = machine(t, fake, 'early', 0);
  await eventually('one has it', () => early.has() || late.has());
  assert.equal(leaseOf(fake)?.holderIdentity, 'early');
});

test('who does not renew is replaced, and learns it', async (t) => {
  const fake = createFakeClient();
  const first = machine(t, fake, 'first');
  await eventually('the first has it', first.has);
  const second = machine(t, fake, 'second');
  first.cut();
  await eventually('the second has it', second.has);
  assert.equal(leaseOf(fake)?.leaseTransitions, 1);
  await eventually('the first has heard', () => !first.has());
  assert.deepEqual(first.told, [true, false]);
});

test('who ends, or no longer wants it, leaves it to the next at once', async (t) => {
  const fake = createFakeClient();
  const first = machine(t, fake, 'first');
  await eventually('the first has it', first.has);
  const second = machine(t, fake, 'second');
  await first.end();
  assert.equal(first.has(), false);
  await eventually('the second has it', second.has);
  second.holder.want(new Map());
  await eventually('nobody has it', () => fake.all(LEASE).length === 0);
});

test('a machine that comes back takes what it still holds without waiting', async (t) => {
  const fake = createFakeClient();
  const renewTime = new Date().toISOString();
  await fake.create(LEASE, {
    apiVersion: 'coordination.k8s.io/v1',
    kind: 'Lease',
    metadata: { name: NAME, namespace: 'kube-system' },
    spec: { holderIdentity: 'back', leaseDurationSeconds: 3600, renewTime },
  });
  const back = machine(t, fake, 'back');
  await eventually('it has it', back.has);
  assert.equal(leaseOf(fake)?.leaseTransitions, 0);
});

test('without a server a holder goes on holding', async (t) => {
  const fake = createFakeClient();
  const only = machine(t, fake, 'only');
  await eventually('it has it', only.has);
  only.cut();
  await systemClock.sleep(2500);
  assert.equal(only.has(), true);
});
