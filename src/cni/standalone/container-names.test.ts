import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Answer, createChain } from '../../dns/chain.ts';
import { containers } from '../../dns/containers.ts';
import { RCODE } from '../../dns/message.ts';
import { TYPE } from '../../dns/record.ts';
import type { Allocation } from '../../ipam/ipam.ts';
import { formatAddress, fromBytes } from '../../lib/ip.ts';
import type { Details } from '../attachment.ts';
import { createContainerNames } from './container-names.ts';

const held = (
  key: string,
  name: string,
  addresses: string[],
  details: Partial<Details> & { network: string },
): Allocation => ({ key, label: `none/${name}`, addresses, details });

function rig(...first: Allocation[]) {
  let all = first;
  let changed = () => {};
  const names = createContainerNames({ list: () => all, onChange: (listener) => void (changed = listener) });
  const handler = createChain([containers({ domain: 'dns.test', names })]);
  const ask = (client: string, name: string, type: number = TYPE.A) =>
    handler({ name, type, class: 1, transport: 'udp', client }) as Answer;
  return {
    ask,
    /** Addresses and names of the answer, or its code. */
    said(...args: Parameters<typeof ask>) {
      const { rcode, answers } = ask(...args);
      const texts = answers.flatMap((each) =>
        'address' in each ? formatAddress(fromBytes(each.address)) : 'target' in each ? each.target : [],
      );
      return rcode === RCODE.NOERROR ? texts : rcode;
    },
    set(...next: Allocation[]) {
      all = next;
      changed();
    },
  };
}

const web = held('w/eth0', 'Web', ['10.9.1.2', 'fd00:9:1::2'], { network: 'a', aliases: ['db', 'x.y'] });
const two = held('t/eth0', 'two', ['10.9.1.3'], { network: 'a', aliases: ['db'] });
const other = held('o/eth0', 'other', ['10.9.1.4'], { network: 'b', aliases: ['db'] });

test('a name is that of the container, or an alias, alone or in the domain, for who is on its network', () => {
  const { said, ask } = rig(web, two, other);
  for (const name of ['web', 'web.dns.test', 'x.y', 'x.y.dns.test'])
    assert.deepEqual(said('10.9.1.3', name), ['10.9.1.2'], name);
  assert.deepEqual(said('10.9.1.3', 'web', TYPE.AAAA), ['fd00:9:1::2']);
  assert.deepEqual(said('10.9.1.2', 'two', TYPE.AAAA), [], 'it is there, without such an address');
  assert.deepEqual(said('fd00:9:1::2', 'db'), ['10.9.1.2', '10.9.1.3'], 'all who have the alias');
  assert.deepEqual(said('::ffff:10.9.1.2', 'two'), ['10.9.1.3'], 'by a socket of both families');
  assert.deepEqual(said('10.9.1.4', 'db'), ['10.9.1.4'], 'of its own network only');
  assert.equal(said('10.9.1.4', 'web.dns.test'), RCODE.NXDOMAIN);
  assert.equal(ask('10.9.1.4', 'web.dns.test').authoritative, true);
  assert.equal(ask('10.9.1.4', 'web.dns.test').authorities[0]?.type, 'SOA');
  assert.equal(said('10.9.1.4', 'web'), RCODE.REFUSED, 'left to the next, of which there is none');
  assert.deepEqual(said('10.9.1.3', '2.1.9.10.in-addr.arpa', TYPE.PTR), ['web.dns.test']);
  assert.equal(said('10.9.1.4', '2.1.9.10.in-addr.arpa', TYPE.PTR), RCODE.REFUSED);
});

test('who is on no network is refused', () => {
  const { said } = rig(web);
  for (const name of ['web', 'dns.test', 'example.org']) assert.equal(said('192.0.2.7', name), RCODE.REFUSED);
});

test('names follow the address book, and a container on two networks sees both', () => {
  const both = held('t/eth1', 'two', ['10.9.1.9'], { network: 'b' });
  const { said, set } = rig(two);
  assert.equal(said('10.9.1.3', 'web.dns.test'), RCODE.NXDOMAIN);
  set(web, two, other, both);
  assert.deepEqual(said('10.9.1.3', 'web'), ['10.9.1.2']);
  assert.deepEqual(said('10.9.1.3', 'other'), ['10.9.1.4']);
  assert.deepEqual(said('10.9.1.4', 'two'), ['10.9.1.9'], 'where it is reached');
  set(
    held('w/eth0', 'web', [], { network: 'a', main: 'bridge', leased: ['10.7.0.5/24'], making: true }),
    two,
  );
  assert.equal(said('10.9.1.3', 'web.dns.test'), RCODE.NXDOMAIN, 'not while it is made');
  set(held('w/eth0', 'web', [], { network: 'a', main: 'bridge', leased: ['10.7.0.5/24'] }), two);
  assert.deepEqual(said('10.9.1.3', 'web'), ['10.7.0.5'], 'of another source');
});
