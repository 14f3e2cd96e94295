import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { contains, parseAddress, parseCidr } from '../../lib/ip.ts';
import { compile } from '../../policy/compile.ts';
import { lookup } from '../../policy/lookup.ts';
import type { PolicyTables } from '../../policy/tables.ts';
import { flowsIn, worlds } from '../../policy/testing/arbitraries.ts';
import { wireFlow } from '../../policy/wire-flow.ts';
import { lowerPolicy } from './lower-policy.ts';
import { mark, policyChain, ruleOfChain } from './names.ts';
import { idOf, type KernelObject } from './objects.ts';

const protocolNames: Readonly<Record<string, string>> = { TCP: 'tcp', UDP: 'udp', SCTP: 'sctp' };

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
  let current = mark(identity);
  const find = (set: string): string | undefined =>
    objects.flatMap((object) => {
      if (object.type !== 'element' || object.set !== set) return [];
      const [id, protocol, range] = object.key.split(' . ');
      if (id !== current || (protocol !== undefined && protocol !== packet.protocol)) return [];
      const [first = 0, last = first] = (range ?? '').split('-').map(Number);
      return range === undefined || (first <= packet.port && packet.port <= last) ? [object.value] : [];
    })[0];
  for (const rule of chain.rules) {
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

function identityOf(tables: PolicyTables, text: string): number {
  const address = parseAddress(text);
  const holding = [...tables.identities].map(([cidr, identity]) => ({ cidr: parseCidr(cidr), identity }));
  const [longest] = holding
    .filter(({ cidr }) => contains(cidr, address))
    .sort((a, b) => b.cidr.length - a.cidr.length);
  return longest?.identity ?? 0;
}

const draws = worlds.chain((world) =>
  fc.record({ world: fc.constant(world), flows: fc.array(flowsIn(world), { minLength: 12, maxLength: 12 }) }),
);

test('a walk through the chain of a policy table ends at the rule that its look-up says', () => {
  fc.assert(
    fc.property(draws, fc.boolean(), ({ world, flows }, reply) => {
      const tables = compile(world);
      const lowered = new Map([...tables.tables].map(([number, table]) => [number, lowerPolicy(table)]));
      for (const flow of flows) {
        const wire = wireFlow(world, flow);
        const decision = lookup(tables, wire);
        const packet = { protocol: protocolNames[wire.protocol] ?? 'other', port: wire.port ?? 0, reply };
        for (const [side, here, there] of [
          ['egress', wire.src, wire.dst],
          ['ingress', wire.dst, wire.src],
        ] as const) {
          const table = tables.endpoints.get(here)?.[side] ?? 0;
          const want = decision[side].ruleNumber;
          if (table === 0 || want === 0) continue;
          assert.equal(walk(lowered.get(table) ?? [], table, identityOf(tables, there), packet), want);
        }
      }
    }),
    { numRuns: 600 },
  );
});
