import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { createPlan } from '../plan/plan.ts';
import { steps } from '../testing/plan-arbitraries.ts';
import { type Edit, edits, restoreInput } from './diff.ts';
import { createMirror } from './mirror.ts';
import { nameHash } from './names.ts';
import { idOf, type TableObject, type TableState } from './objects.ts';
import { parseSave } from './parse.ts';
import { probability } from './words.ts';

/** The state after edits, as a kernel would have it. */
function applyEdits(state: TableState, list: readonly Edit[]): TableState {
  const next = new Map(state);
  for (const { before, after } of list) {
    if (after) next.set(idOf(after), after);
    else if (before) next.delete(idOf(before));
  }
  return next;
}

/** iptables-restore --noflush and iptables-save, of tables with nothing else in them. */
function restore(tables: Map<string, string[]>, input: string): void {
  let table = '';
  for (const line of input.split('\n')) {
    const [word = '', chain = '', ...rest] = line.split(' ');
    const key = `${table} ${chain}`;
    if (word.startsWith('*')) table = word.slice(1);
    else if (word.startsWith(':')) tables.set(`${table} ${word.slice(1)}`, []);
    else if (word === '-X') {
      assert.deepEqual(tables.get(key), [], 'a chain that goes is empty');
      for (const rules of tables.values())
        for (const rule of rules) assert.ok(!rule.endsWith(`-j ${chain}`), `${rule} leads to what is gone`);
      tables.delete(key);
    } else if (word === '-D') {
      const rules = tables.get(key) ?? [];
      const at = rules.indexOf(rest.join(' '));
      assert.ok(at >= 0, `no ${line}`);
      rules.splice(at, 1);
    } else if (word === '-A') tables.get(key)?.push(rest.join(' '));
    else if (word === '-I') tables.get(key)?.unshift(rest.slice(1).join(' '));
  }
}

function save(tables: ReadonlyMap<string, readonly string[]>): string {
  const lines = ['nat', 'filter'].flatMap((table) => {
    const own = [...tables].filter(([key]) => key.startsWith(`${table} `));
    const name = (key: string) => key.slice(table.length + 1);
    return [
      `*${table}`,
      ...own.map(([key]) => `:${name(key)} - [0:0]`),
      ...own.flatMap(([key, rules]) => rules.map((rule) => `-A ${name(key)} ${rule}`)),
      'COMMIT',
    ];
  });
  return lines.join('\n');
}

const KERNEL = ['PREROUTING', 'INPUT', 'FORWARD', 'OUTPUT', 'POSTROUTING'];
const empty = () =>
  new Map(['nat', 'filter'].flatMap((table) => KERNEL.map((chain) => [`${table} ${chain}`, [] as string[]])));

test('what is restored by differences is what the mirror holds, and what a listing says', () => {
  fc.assert(
    fc.property(fc.array(fc.array(steps, { maxLength: 6 }), { maxLength: 6 }), (batches) => {
      const plan = createPlan({ node: 'node-1' });
      plan.update();
      const mirror = createMirror(plan.state);
      const kernels = { 4: empty(), 6: empty() };
      const send = (list: readonly Edit[]) => {
        for (const [family, input] of restoreInput(list, mirror.objects())) restore(kernels[family], input);
      };
      const first = mirror.objects();
      send(edits(new Map(), first));
      let state: TableState = first;
      for (const batch of batches) {
        for (const step of batch) step.run(plan);
        const list = mirror.update(plan.update());
        state = applyEdits(state, list);
        send(list);
      }
      assert.deepEqual(edits(state, mirror.objects()), []);
      const listed = ([4, 6] as const).flatMap((family) => [
        ...parseSave(save(kernels[family]), family, mirror.tails(family)).objects,
      ]);
      assert.deepEqual(edits(new Map(listed), mirror.objects()), []);
      assert.deepEqual(edits(createMirror(plan.state).objects(), mirror.objects()), []);
    }),
    { numRuns: 100 },
  );
});

test('chains that end differently by family are read as they were written: clusters of one family', () => {
  for (const serviceCidrs of [['10.96.0.0/16'], ['fd00:10:96::/112'], ['10.96.0.0/16', 'fd00:10:96::/112']]) {
    const plan = createPlan({ node: 'node-1' });
    plan.setSettings({
      node: 'node-1',
      nodeAddresses: ['10.240.0.1', 'fd00:10:240::1'],
      nodePodCidrs: [],
      podCidrs: [],
      serviceCidrs,
      underlayCidrs: [],
      podLinks: 'lxc',
      tunnelPort: 4789,
    });
    plan.update();
    const mirror = createMirror(plan.state);
    const listed = ([4, 6] as const).flatMap((family) => {
      const kernel = empty();
      restore(kernel, restoreInput(edits(new Map(), mirror.objects()), mirror.objects()).get(family) ?? '');
      return [...parseSave(save(kernel), family, mirror.tails(family)).objects];
    });
    assert.deepEqual(edits(new Map(listed), mirror.objects()), [], serviceCidrs.join());
  }
});

test('rules and chains of others are nobody’s difference', () => {
  const text = `*mangle
:KUBE-SERVICES - [0:0]
-A KUBE-SERVICES -j ACCEPT
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:KUBE-KUBELET-CANARY - [0:0]
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A DOCKER -j RETURN
COMMIT
`;
  const { objects, counts } = parseSave(text, 4, new Map());
  assert.deepEqual([...objects], []);
  assert.deepEqual([...counts], [['nat', 2]]);
});

test('a rule that is there twice is one too many', () => {
  const jump = '-A PREROUTING -j KUBE-SERVICES\n';
  const { objects, doubles } = parseSave(
    `*nat\n:KUBE-SERVICES - [0:0]\n${jump}${jump}COMMIT\n`,
    4,
    new Map(),
  );
  assert.deepEqual(
    doubles.map((object: TableObject) => object.type),
    ['rule'],
  );
  assert.equal(objects.size, 2);
});

test('any text is read as a listing without an error', () => {
  const line = fc.oneof(
    fc.string(),
    fc.constantFrom('*nat', ':KUBE-SERVICES - [0:0]', '-A KUBE-SERVICES -j X', '-A', 'COMMIT'),
  );
  fc.assert(fc.property(fc.array(line), (lines) => void parseSave(lines.join('\n'), 4, new Map())));
});

test('names have sixteen letters of base 32, and shares are as the kernel holds them', () => {
  // printf default/kubernetes:httpstcp | sha256sum | xxd -r -p | base32 | cut -c-16
  assert.equal(nameHash('default/kubernetes:httpstcp'), 'NPX46M4PTMTKRN6Y');
  assert.equal(probability(1 / 3), '0.33333333349');
  assert.equal(probability(0.5), '0.50000000000');
});
