import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createLog } from '../lib/log.ts';
import type { Backend, PolicyEvent } from './backend.ts';
import { createFakeBackend, type FakeBackend } from './fake.ts';
import { createMovableBackend } from './movable.ts';
import { createPlan } from './plan/plan.ts';
import { emptyState } from './plan/tables.ts';

const log = createLog({ level: 'error', write: () => {} });

const withNode = () => {
  const plan = createPlan({ node: 'node-1' });
  plan.setNode({
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name: 'node-2' },
    spec: { podCIDRs: ['10.244.2.0/24'] },
    status: { addresses: [{ type: 'InternalIP', address: '10.240.0.2' }] },
  });
  return { plan, changes: plan.update() };
};

/** Opens fakes, all of them remembered by their name, oldest first. */
function movable(initial = 'a') {
  const opened: (FakeBackend & { name: string })[] = [];
  const backend = createMovableBackend({
    initial,
    used: () => ['a', 'b'],
    log,
    open(name) {
      const made = Object.assign(createFakeBackend(), { name });
      opened.push(made);
      return made;
    },
  });
  return { backend, opened, named: (name: string) => opened.filter((each) => each.name === name).at(-1)! };
}

const event: PolicyEvent = {
  time: 1,
  rule: 7,
  verdict: 'deny',
  direction: 'ingress',
  family: 4,
  src: '10.0.0.1',
  dst: '10.0.0.2',
  protocol: 6,
  sport: 1,
  dport: 2,
  reply: false,
};

test('a move programs the other backend whole before the former goes', async () => {
  const { backend, named } = movable();
  const { plan } = withNode();
  await backend.prune(plan.state);
  await backend.move('b');
  assert.equal(backend.name, 'b');
  assert.equal(named('a').removed, true);
  assert.deepEqual([...named('b').kernel.routes.keys()], ['node-2']);
  assert.equal(named('b').removed, false);
});

test('what another data path left behind is removed after the first prune, and not before', async () => {
  const { backend, opened, named } = movable();
  assert.deepEqual(
    opened.map(({ name }) => name),
    ['a'],
  );
  await backend.prune(emptyState());
  assert.equal(named('b').removed, true);
  assert.equal(named('a').removed, false);
  await backend.prune(emptyState());
  assert.equal(opened.length, 2);
});

test('a move that fails leaves the former in force, and says why', async () => {
  const opened: FakeBackend[] = [];
  const { plan } = withNode();
  const backend = createMovableBackend({
    initial: 'a',
    used: () => [],
    log,
    open(name) {
      const made = Object.assign(createFakeBackend(), { name });
      if (name === 'b') made.failNext(new Error('no such map type'));
      opened.push(made);
      return made;
    },
  });
  await backend.prune(plan.state);
  await assert.rejects(backend.move('b'), /no such map type/);
  assert.equal(backend.name, 'a');
  assert.equal(opened[0]?.removed, false);
  assert.deepEqual(await backend.verify(), []);
});

/** A backend that tells what it is asked to do, and translates one connection, of the number `port`. */
function teller(name: string, port: number, told: string[]): Backend {
  const fake = createFakeBackend();
  const ends = (src: string, dst: string) => ({ protocol: 6, src, dst, srcPort: port, dstPort: port });
  const tell = (what: string) => void told.push(`${name} ${what}`);
  return {
    ...fake,
    name,
    prune(state) {
      tell('carries');
      return fake.prune(state);
    },
    async remove() {
      tell('goes');
    },
    async handOver() {
      tell('hands over');
      return [
        { original: ends('10.0.0.1', '10.96.0.1'), reply: ends('10.0.0.2', '10.0.0.1'), answered: true },
      ];
    },
    async takeOver(connections) {
      tell(`takes ${connections.map(({ original }) => original.srcPort).join()}`);
    },
    standBack: (from) => tell(`stands back from ${from}`),
  };
}

test('in a move each connection is carried by one alone: those that begin by the next, and at last all', async () => {
  const told: string[] = [];
  const ports: Record<string, number> = { a: 1, b: 2 };
  const backend = createMovableBackend({
    initial: 'a',
    used: () => [],
    log,
    open: (name) => teller(name, ports[name] ?? 0, told),
  });
  await backend.prune(emptyState());
  told.length = 0;
  await backend.move('b');
  assert.deepEqual(told, [
    'b stands back from unknown',
    'a hands over',
    'b takes 1',
    'b carries',
    'a stands back from unknown',
    'b stands back from begun',
    'a hands over',
    'b stands back from nothing',
    'a hands over',
    'a goes',
    'a hands over',
  ]);
});

test('who stood back for a move that fails carries everything again', async () => {
  const told: string[] = [];
  const backend = createMovableBackend({
    initial: 'a',
    used: () => [],
    log,
    open: (name) => ({
      ...teller(name, 1, told),
      ...(name === 'b' && { takeOver: () => Promise.reject(new Error('no room')) }),
    }),
  });
  await backend.prune(emptyState());
  await assert.rejects(backend.move('b'), /no room/);
  assert.deepEqual(told.slice(-2), ['a stands back from nothing', 'b goes']);
  assert.equal(backend.name, 'a');
});

test('what another data path goes on with is not cut, and what only this one can is', async () => {
  const flow = { protocol: 6, client: '10.0.0.1', clientPort: 1, address: '10.96.0.1', port: 80 };
  const flows = [false, true].map((onlyHere) => ({ ...flow, backend: '10.0.0.2', backendPort: 1, onlyHere }));
  const backend = createMovableBackend({
    initial: 'a',
    used: () => [],
    takesOver: (name) => name === 'b',
    log,
    open: (name) => ({ ...teller(name, 1, []), translated: async () => flows }),
  });
  assert.deepEqual(await backend.willCut('b'), flows.slice(1));
  assert.deepEqual(await backend.willCut('c'), flows);
});

test('changes that come during a move reach the new backend', async () => {
  const { backend, named } = movable();
  await backend.prune(emptyState());
  const { changes } = withNode();
  await Promise.all([backend.move('b'), backend.apply(changes)]);
  assert.deepEqual([...named('b').kernel.routes.keys()], ['node-2']);
});

test('listeners hear the backend of the moment', async () => {
  const { backend, named } = movable();
  await backend.prune(emptyState());
  const heard: string[] = [];
  const stop = backend.events(() => heard.push(backend.name));
  named('a').emit([event]);
  const former = named('a');
  await backend.move('b');
  former.emit([event]);
  named('b').emit([event]);
  stop();
  named('b').emit([event]);
  assert.deepEqual(heard, ['a', 'b']);
});

test('moving to where it is does nothing', async () => {
  const { backend, named } = movable();
  await backend.prune(emptyState());
  await backend.move('a');
  assert.equal(named('a').removed, false);
});
