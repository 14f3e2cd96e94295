import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { NodeFacts } from './facts.ts';
import { heaviest, judgeNode } from './judge.ts';

const well: NodeFacts = {
  differences: [],
  orphans: [],
  strays: [],
  tables: [{ name: 'flows4', entries: 79, max: 100, users: [] }],
  beyondShare: [],
  addresses: [{ cidr: '10.244.0.0/24', taken: 200, size: 253, users: [] }],
  blackHoles: [],
  tableBytes: 0,
};

const of = (more: Partial<NodeFacts>) =>
  judgeNode({ ...well, ...more }).map(({ check, severity, what, items, fixable }) => ({
    check,
    severity,
    what,
    items,
    fixable,
  }));

test('a node that is well has no findings', () => assert.deepEqual(of({}), []));

test('what the kernel has beside the plan, and pods that are gone left, is wrong and can be mended', () => {
  assert.deepEqual(
    of({
      differences: [{ kind: 'missing', what: 'service 10.96.0.1:443' }],
      orphans: ['link lxc1 of a/b', 'addresses of a/b'],
    }),
    [
      {
        check: 'data-path',
        severity: 'error',
        what: 'the kernel is not what the plan says in 1 place',
        items: ['missing: service 10.96.0.1:443'],
        fixable: true,
      },
      {
        check: 'leases',
        severity: 'error',
        what: '2 links and addresses have no pod',
        items: ['link lxc1 of a/b', 'addresses of a/b'],
        fixable: true,
      },
    ],
  );
});

test('where the book of addresses and the kernel differ is told, and mended', () =>
  assert.deepEqual(of({ strays: ['no route to 10.0.0.2 of a/b'] }), [
    {
      check: 'leases',
      severity: 'error',
      what: 'the address book and the kernel differ in 1 place',
      items: ['no route to 10.0.0.2 of a/b'],
      fixable: true,
    },
  ]));

test('a table that fills warns in time and names who fills it; a full one is an error', () => {
  const users = heaviest(['shop/cart', 'shop/web', 'shop/web']);
  assert.deepEqual(
    of({
      tables: [
        { name: 'flows4', entries: 80, max: 100, users },
        { name: 'conntrack', entries: 10, max: 10, users: [] },
        { name: 'no limit', entries: 0, max: 0, users: [] },
      ],
    }),
    [
      {
        check: 'tables',
        severity: 'warning',
        what: 'flows4 has 80 of at most 100 entries (80 %)',
        items: ['shop/web: 2', 'shop/cart: 1'],
        fixable: false,
      },
      {
        check: 'tables',
        severity: 'error',
        what: 'conntrack has 10 of at most 10 entries (100 %)',
        items: [],
        fixable: false,
      },
    ],
  );
});

test('a range whose addresses run out names the namespaces that have them', () => {
  const [finding] = of({
    addresses: [{ cidr: '10.0.0.0/29', taken: 5, size: 5, users: [{ name: 'shop', entries: 5 }] }],
  });
  assert.deepEqual(finding, {
    check: 'addresses',
    severity: 'error',
    what: '5 of 5 addresses of 10.0.0.0/29 are taken (100 %)',
    items: ['shop: 5'],
    fixable: false,
  });
});

test('of many users the heaviest are named, equals by name', () => {
  assert.deepEqual(
    heaviest(['c', 'b', 'a', 'c', 'd', 'e', 'f']).map(({ name }) => name),
    ['c', 'a', 'b', 'd', 'e'],
  );
});
