import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { bits, contains, type Family, formatAddress, parseAddress, parseCidr } from '../../lib/ip.ts';
import { steps } from '../testing/plan-arbitraries.ts';
import { createPlan } from '../plan/plan.ts';
import { edits } from './diff.ts';
import { policyEvent } from './events.ts';
import { flatten, rangeText } from './flatten.ts';
import { createMirror } from './mirror.ts';
import { logPrefix } from './names.ts';
import { idOf, type KernelObject } from './objects.ts';
import { parseTable } from './parse.ts';
import { assignSlots } from './slots.ts';
import { isStale } from '../tracked-flows.ts';

const prefixes = fc.constantFrom<Family>(4, 6).chain((family) => {
  const shift = BigInt(bits(family) - 8);
  return fc.array(
    fc
      .tuple(
        fc.bigInt({ min: 0n, max: 255n }),
        fc.integer({ min: 0, max: 8 }),
        fc.integer({ min: 1, max: 3 }),
      )
      .map(
        ([value, length, identity]) =>
          [`${formatAddress({ family, value: value << shift })}/${length}`, identity] as const,
      ),
    { maxLength: 12 },
  );
});

test('flattened ranges say of each address what the longest prefix says, and do not overlap', () => {
  fc.assert(
    fc.property(prefixes, (list) => {
      const unique = new Map(
        list.map(([cidr, value]) => {
          const { family, value: first, length } = parseCidr(cidr);
          return [`${formatAddress({ family, value: first })}/${length}`, value] as const;
        }),
      );
      const ranges = flatten(unique);
      for (const [i, range] of ranges.entries()) {
        const before = ranges[i - 1];
        assert.ok(range.first <= range.last && (!before || before.last < range.first));
      }
      const family = ranges[0]?.family ?? 4;
      for (let octet = 0n; octet < 256n; octet++) {
        const address = { family, value: octet << BigInt(bits(family) - 8) };
        const longest = [...unique]
          .filter(([cidr]) => contains(parseCidr(cidr), address))
          .sort(([a], [b]) => parseCidr(b).length - parseCidr(a).length)[0];
        const range = ranges.find(({ first, last }) => first <= address.value && address.value <= last);
        assert.equal(range?.value, longest?.[1]);
      }
    }),
  );
});

for (const [first, last, text] of [
  ['10.0.0.1', '10.0.0.1', '10.0.0.1'],
  ['10.0.0.0', '10.0.0.255', '10.0.0.0/24'],
  ['0.0.0.0', '255.255.255.255', '0.0.0.0/0'],
  ['10.0.0.1', '10.0.0.2', '10.0.0.1-10.0.0.2'],
  ['fd00::', 'fd00::ffff', 'fd00::/112'],
  ['::', 'fd00::', '::-fd00::'],
] as const)
  test(`the range from ${first} to ${last} is written ${text}`, () => {
    const [a, b] = [parseAddress(first), parseAddress(last)];
    assert.equal(rangeText({ family: a.family, first: a.value, last: b.value }), text);
  });

test('slots hold exactly the backends, and as many stay as can', () => {
  const backend = fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f');
  const damaged = fc.array(fc.option(backend, { nil: undefined }), { maxLength: 8 });
  fc.assert(
    fc.property(damaged, fc.array(backend), (current, wanted) => {
      const slots = assignSlots(current, wanted);
      assert.deepEqual([...slots].sort(), [...wanted].sort());
      const count = (list: readonly unknown[], each: string) => list.filter((other) => other === each).length;
      for (const [i, each] of current.entries())
        if (each !== undefined && i < wanted.length && count(current.slice(0, i), each) < count(wanted, each))
          assert.equal(slots[i], each);
    }),
  );
});

/** The state after edits, as a kernel would have it. */
function applyEdits(state: ReadonlyMap<string, KernelObject>, list: ReturnType<typeof edits>) {
  const next = new Map(state);
  for (const { before, after } of list) {
    if (after) next.set(idOf(after), after);
    else if (before) next.delete(idOf(before));
  }
  return next;
}

test('incremental edits add up to what the mirror holds, and a fresh mirror finds nothing to mend', () => {
  fc.assert(
    fc.property(fc.array(fc.array(steps, { maxLength: 6 }), { maxLength: 6 }), (batches) => {
      const plan = createPlan({ node: 'node-1' });
      plan.update();
      const mirror = createMirror(plan.state, new Map());
      let kernel: ReadonlyMap<string, KernelObject> = mirror.objects();
      for (const batch of batches) {
        for (const step of batch) step.run(plan);
        kernel = applyEdits(kernel, mirror.update(plan.update()));
      }
      assert.deepEqual(edits(kernel, mirror.objects()), []);
      assert.deepEqual(edits(kernel, createMirror(plan.state, kernel).objects()), []);
    }),
    { numRuns: 200 },
  );
});

test('a listing is read by whole blocks, comments and counters of elements left out', () => {
  const state = parseTable(`table inet heddle {
	comment "x { y"
	flags dormant
	counter rule-0000002a {
		comment "allow } all"
		packets 7 bytes 8
	}

	quota other {
		over 1 bytes
	}

	map nets6 {
		type ipv6_addr : mark
		flags interval
		elements = { ::ffff:10.0.0.1 : 0x00000001, fd00::/8 comment "a, b" : 0x00000002,
			     fe00::-fe00::5 : 0x00000003 }
	}

	set interfaces {
		type ifname
		elements = { "a,b", "c : d" }
	}

	chain forward {
		type filter hook forward priority filter; policy accept;
		ip saddr { 10.0.0.1, 10.0.0.2 } accept
	}
}
`);
  assert.deepEqual(
    [...state.keys()].sort(),
    [
      ' flags dormant',
      'chain forward',
      'counter rule-0000002a',
      'element interfaces "a,b"',
      'element interfaces "c : d"',
      'element nets6 ::ffff:a00:1',
      'element nets6 fd00::/8',
      'element nets6 fe00::-fe00::5',
      'quota other',
      'set interfaces',
      'set nets6',
    ].sort(),
  );
  const chain = state.get('chain forward');
  assert.ok(chain?.type === 'chain');
  assert.deepEqual(chain.rules, ['ip saddr { 10.0.0.1, 10.0.0.2 } accept']);
});

test('any text is read as a listing without an error', () => {
  const line = fc.oneof(
    fc.string(),
    fc.constantFrom(
      'table inet heddle {',
      '\tchain x {',
      '\tset y {',
      '\t\telements = { a : b, }',
      '\t}',
      '}',
    ),
  );
  fc.assert(fc.property(fc.array(line), (lines) => void parseTable(lines.join('\n'))));
});

const datagram = Uint8Array.from([
  0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0x30, 0x39, 0, 53, 0, 8, 0, 0,
]);

test('a logged packet becomes an event', () => {
  const prefix = logPrefix('egress', 'allow', 42);
  assert.deepEqual(
    policyEvent({ prefix, payload: datagram, timestamp: undefined }, () => 7),
    {
      time: 7,
      rule: 42,
      verdict: 'allow',
      direction: 'egress',
      family: 4,
      src: '10.0.0.1',
      dst: '10.0.0.2',
      protocol: 17,
      sport: 12345,
      dport: 53,
      reply: false,
    },
  );
});

test('a reply that met a deny is told in the direction of its connection', () => {
  const prefix = logPrefix('ingress', 'deny', 0xffffffff, true);
  const event = policyEvent({ prefix, payload: datagram, timestamp: 1 }, () => 7);
  assert.equal(event?.rule, 0xffffffff);
  assert.deepEqual([event?.src, event?.sport, event?.dport, event?.reply], ['10.0.0.2', 53, 12345, true]);
});

test("other people's log lines are no events", () => {
  for (const prefix of ['', 'heddle', 'heddle ingress allow 2a', 'x heddle ingress allow 0000002a'])
    assert.equal(
      policyEvent({ prefix, payload: datagram, timestamp: 1 }, () => 7),
      undefined,
    );
});

test('a datagram flow is stale when its frontend has lost the backend, or is gone itself', () => {
  const plan = createPlan({ node: 'node-1' });
  const flow = (dst: string, backend: string, protocol = 17) => ({
    original: { src: '10.244.1.2', dst, protocol, srcPort: 1, dstPort: 53 },
    reply: { src: backend, dst: '10.244.1.2', protocol, srcPort: 53, dstPort: 1 },
  });
  plan.setSettings({
    node: 'node-1',
    nodeAddresses: [],
    nodePodCidrs: [],
    podCidrs: [],
    serviceCidrs: ['10.96.0.0/16'],
    underlayCidrs: [],
    podLinks: 'veth',
    tunnelPort: 4789,
  });
  plan.setService({
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'dns' },
    spec: { clusterIP: '10.96.0.5', ports: [{ port: 53, protocol: 'UDP' }] },
  });
  plan.setSlices('default/dns', [
    {
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: { name: 'dns' },
      addressType: 'IPv4',
      ports: [{ port: 53, protocol: 'UDP' }],
      endpoints: [{ addresses: ['10.244.1.3'] }],
    },
  ]);
  plan.update();
  const stale = isStale(plan.state);
  assert.equal(stale(flow('10.96.0.5', '10.244.1.3')), false);
  assert.equal(stale(flow('10.96.0.5', '10.244.1.9')), true);
  assert.equal(stale(flow('10.96.0.9', '10.244.1.9')), true, 'the service is gone');
  assert.equal(stale(flow('10.96.0.10', '10.96.0.10')), false, 'answered by the node itself');
  assert.equal(stale(flow('10.244.1.9', '10.244.1.3')), false, 'not to a service');
  assert.equal(stale(flow('10.96.0.5', '10.244.1.9', 6)), false);
});
