import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { PolicyEntry } from '../../policy/tables.ts';
import { lowerPolicy } from './lower-policy.ts';
import { mark, policyChain, ruleOfChain } from './names.ts';
import { idOf, type KernelObject } from './objects.ts';

interface Packet {
  readonly protocol: string;
  readonly port: number;
  readonly reply: boolean;
}

/** Walks a policy chain as the kernel does; the number of the rule it goes to. */
function walk(objects: readonly KernelObject[], table: number, identity: number, packet: Packet): number {
  const byId = new Map(objects.map((object) => [idOf(object), object]));
  const chain = byId.get(`chain ${policyChain(table)}`);
  assert.ok(chain?.type === 'chain');
  // Who the peer is, the chain asks only where it needs it.
  let current = chain.rules.includes('jump peer-egress') ? mark(identity) : 'unknown';
  const find = (set: string): string | undefined =>
    objects.flatMap((object) => {
      if (object.type !== 'element' || object.set !== set) return [];
      const [id, protocol, range] = object.key.split(' . ');
      if (id !== current || (protocol !== undefined && protocol !== packet.protocol)) return [];
      const [first = 0, last = first] = (range ?? '').split('-').map(Number);
      return range === undefined || (first <= packet.port && packet.port <= last) ? [object.value] : [];
    })[0];
  for (const rule of chain.rules) {
    if (rule === 'jump peer-egress') continue;
    const match = /^(?:ct direction (\w+) )?(?:meta mark.* vmap @(\S+)|meta mark set (\S+)|(goto \S+))$/.exec(
      rule,
    );
    assert.ok(match, rule);
    const [, direction, set, value, verdict] = match;
    if (direction !== undefined && (direction === 'reply') !== packet.reply) continue;
    if (direction !== undefined) assert.ok(rule.includes(packet.reply ? 'th sport' : 'th dport'));
    if (value !== undefined) current = value;
    const found = verdict ?? (set === undefined ? undefined : find(set));
    if (found !== undefined) return ruleOfChain(found.replace('goto ', '')) ?? 0;
  }
  return 0;
}

/** 0: nothing decides, it is allowed. */
const verdicts = fc.integer({ min: 0, max: 9 });

const entries = fc
  .uniqueArray(
    fc.record({
      identity: fc.constantFrom(0, 0, 1, 2),
      slot: fc.constantFrom<[number | null, number, number]>(
        [null, 0, 0],
        [6, 80, 80],
        [6, 81, 90],
        [17, 0, 65535],
      ),
      rule: verdicts,
    }),
    { maxLength: 8, selector: ({ identity, slot }) => `${identity} ${slot.join(' ')}` },
  )
  .map((list) =>
    list.map(
      ({ identity, slot: [protocol, first, last], rule }): PolicyEntry => ({
        identity,
        protocol,
        ports: protocol === null ? null : [first, last],
        verdict: 'allow',
        rule,
      }),
    ),
  );

const DEFAULTS = [99, 0];
const numbers: Readonly<Record<string, number>> = { tcp: 6, udp: 17, icmp: 1 };

/** As policy/tables.ts says it. */
function decided(
  list: readonly PolicyEntry[],
  identity: number,
  { protocol, port }: Packet,
  otherwise: number,
): number {
  const byPort = (id: number) =>
    list.find(
      (entry) =>
        entry.identity === id &&
        entry.protocol === numbers[protocol] &&
        entry.ports !== null &&
        entry.ports[0] <= port &&
        port <= entry.ports[1],
    );
  const any = (id: number) => list.find((entry) => entry.identity === id && entry.protocol === null);
  return (byPort(identity) ?? any(identity) ?? byPort(0) ?? any(0))?.rule ?? otherwise;
}

test('a walk through the chain of a policy table ends at the rule that its look-up says', () => {
  fc.assert(
    fc.property(entries, fc.boolean(), fc.constantFrom(...DEFAULTS), (list, reply, defaultRule) => {
      const objects = lowerPolicy({ number: 5, direction: 'egress', defaultRule, entries: list });
      for (const identity of [0, 1, 2, 3])
        for (const protocol of ['tcp', 'udp', 'icmp'])
          for (const port of [79, 80, 85, 91]) {
            const packet = { protocol, port, reply };
            assert.equal(walk(objects, 5, identity, packet), decided(list, identity, packet, defaultRule));
          }
    }),
    { numRuns: 500 },
  );
});
