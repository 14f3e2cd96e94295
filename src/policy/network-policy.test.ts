/** NetworkPolicy v1, one idea a line. Every flow is asked of `decide` and of the compiled tables. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compile } from './compile.ts';
import { decide } from './decide.ts';
import { lookup } from './lookup.ts';
import { policyObject } from './testing/arbitraries.ts';
import { flowOf } from './testing/flow-text.ts';
import { wireFlow } from './wire-flow.ts';
import type { World, WorldPod } from './world.ts';

const pod = (key: string, address: string, node: string, rest: Partial<WorldPod> = {}): WorldPod => {
  const [namespace = '', name = ''] = key.split('/');
  const addresses = [`10.244.${address}`, `fd00:10:244::${address.replace('.', ':')}`];
  return { namespace, name, node, labels: { app: name }, addresses, ports: [], ...rest };
};

const base: Omit<World, 'policies'> = {
  pods: [
    pod('a/web', '1.1', 'n1', { ports: [{ name: 'http', port: 8080, protocol: 'TCP' }] }),
    pod('a/db', '1.2', 'n1', {
      ports: [
        { name: 'sql', port: 5432, protocol: 'TCP' },
        { name: 'sql', port: 5433, protocol: 'TCP' },
        { name: 'sql', port: 5434, protocol: 'UDP' },
      ],
    }),
    pod('b/web', '2.1', 'n2', { ports: [{ name: 'http', port: 9090, protocol: 'TCP' }] }),
    pod('b/db', '2.2', 'n2'),
    pod('b/host', '2.3', 'n2', { hostNetwork: true, labels: { app: 'web' } }),
  ],
  namespaces: [
    { name: 'a', labels: { team: 'one' } },
    { name: 'b', labels: { team: 'two' } },
  ],
  nodes: [
    { name: 'n1', addresses: ['10.240.0.1', 'fd00:10:240::1'] },
    { name: 'n2', addresses: ['10.240.0.2', 'fd00:10:240::2'] },
  ],
  nodeLocal: ['10.96.0.10'],
};

interface Case {
  says: string;
  policies: unknown[];
  allowed?: string[];
  denied?: string[];
}

/** Policies live in namespace a and select all of it unless they say otherwise. */
const ingress = (...rules: unknown[]) => ({ podSelector: {}, policyTypes: ['Ingress'], ingress: rules });
const egress = (...rules: unknown[]) => ({ podSelector: {}, policyTypes: ['Egress'], egress: rules });
const app = (name: string) => ({ podSelector: { matchLabels: { app: name } } });
const team = (name: string) => ({ namespaceSelector: { matchLabels: { team: name } } });

const cases: Case[] = [
  {
    says: 'without policies everything passes',
    policies: [],
    allowed: ['b/web > a/db TCP 1', '8.8.8.8 > a/db ICMP'],
  },
  {
    says: 'a policy with no rules denies its direction and no other',
    policies: [ingress()],
    allowed: ['a/db > b/web TCP 80'],
    denied: ['b/web > a/db TCP 80', 'a/web > a/db TCP 80', 'b/web > a/db ICMP', '8.8.8.8 > a/db UDP 53'],
  },
  {
    says: 'only selected pods are isolated',
    policies: [{ ...ingress(), podSelector: { matchLabels: { app: 'db' } } }],
    allowed: ['b/web > a/web TCP 80'],
    denied: ['b/web > a/db TCP 80'],
  },
  {
    says: 'a policy reaches no other namespace',
    policies: [ingress(), egress()],
    allowed: ['b/web > b/db TCP 80'],
  },
  {
    says: 'an absent podSelector selects all of the namespace',
    policies: [{ policyTypes: ['Ingress'] }],
    denied: ['b/web > a/db TCP 80'],
  },
  {
    says: 'absent policyTypes without egress mean ingress',
    policies: [{ podSelector: {} }],
    allowed: ['a/db > b/db TCP 80'],
    denied: ['b/db > a/db TCP 80'],
  },
  {
    says: 'absent policyTypes with egress mean both',
    policies: [{ podSelector: {}, egress: [{}] }],
    allowed: ['a/db > b/db TCP 80'],
    denied: ['b/db > a/db TCP 80'],
  },
  {
    says: 'an empty egress list does not make a policy one for egress',
    policies: [{ podSelector: {}, egress: [] }],
    allowed: ['a/db > b/db TCP 80'],
  },
  {
    says: 'rules of a direction that policyTypes leaves out do nothing',
    policies: [ingress(), { podSelector: {}, policyTypes: ['Egress'], ingress: [{}] }],
    denied: ['b/db > a/db TCP 80', 'a/db > b/db TCP 80'],
  },
  {
    says: 'an empty rule allows everything',
    policies: [ingress({})],
    allowed: ['b/web > a/db TCP 80', '8.8.8.8 > a/db ICMP', '10.240.0.2 > a/db SCTP 1'],
  },
  {
    says: 'an empty from allows every peer',
    policies: [ingress({ from: [], ports: [{ port: 80 }] })],
    allowed: ['8.8.8.8 > a/db TCP 80'],
    denied: ['8.8.8.8 > a/db TCP 81'],
  },
  {
    says: 'an empty ports allows every port',
    policies: [ingress({ from: [app('web')], ports: [] })],
    allowed: ['a/web > a/db UDP 9', 'a/web > a/db ICMP'],
    denied: ['b/web > a/db UDP 9'],
  },
  {
    says: 'podSelector alone means pods of the policy’s namespace',
    policies: [ingress({ from: [app('web')] })],
    allowed: ['a/web > a/db TCP 80'],
    denied: ['b/web > a/db TCP 80'],
  },
  {
    says: 'an empty podSelector means every pod of the namespace, and nobody else',
    policies: [ingress({ from: [{ podSelector: {} }] })],
    allowed: ['a/web > a/db TCP 80'],
    denied: ['b/web > a/db TCP 80', '8.8.8.8 > a/db TCP 80'],
  },
  {
    says: 'namespaceSelector alone means every pod of those namespaces',
    policies: [ingress({ from: [team('two')] })],
    allowed: ['b/web > a/db TCP 80', 'b/db > a/db TCP 80'],
    denied: ['a/web > a/db TCP 80'],
  },
  {
    says: 'an empty namespaceSelector means every pod, but not the outside',
    policies: [ingress({ from: [{ namespaceSelector: {} }] })],
    allowed: ['b/web > a/db TCP 80', 'a/web > a/db TCP 80'],
    denied: ['8.8.8.8 > a/db TCP 80', '10.240.0.2 > a/db TCP 80'],
  },
  {
    says: 'both selectors in one peer must both hold',
    policies: [ingress({ from: [{ ...team('two'), ...app('web') }] })],
    allowed: ['b/web > a/db TCP 80'],
    denied: ['b/db > a/db TCP 80', 'a/web > a/db TCP 80'],
  },
  {
    says: 'selectors in two peers are alternatives',
    policies: [ingress({ from: [team('two'), app('web')] })],
    allowed: ['b/web > a/db TCP 80', 'b/db > a/db TCP 80', 'a/web > a/db TCP 80'],
  },
  {
    says: 'every namespace has the label of its name',
    policies: [
      ingress({ from: [{ namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'b' } } }] }),
    ],
    allowed: ['b/web > a/db TCP 80'],
    denied: ['a/web > a/db TCP 80'],
  },
  {
    says: 'peers and ports of one rule must both hold',
    policies: [ingress({ from: [app('web')], ports: [{ port: 80 }] })],
    allowed: ['a/web > a/db TCP 80'],
    denied: ['a/web > a/db TCP 81', 'b/web > a/db TCP 80'],
  },
  {
    says: 'two rules do not mix',
    policies: [
      ingress({ from: [app('web')], ports: [{ port: 80 }] }, { from: [team('two')], ports: [{ port: 81 }] }),
    ],
    allowed: ['a/web > a/db TCP 80', 'b/web > a/db TCP 81'],
    denied: ['a/web > a/db TCP 81', 'b/web > a/db TCP 80'],
  },
  {
    says: 'two policies add up',
    policies: [ingress(), ingress({ ports: [{ port: 80 }] })],
    allowed: ['b/web > a/db TCP 80'],
    denied: ['b/web > a/db TCP 81'],
  },
  {
    says: 'a port without protocol is TCP',
    policies: [ingress({ ports: [{ port: 80 }] })],
    allowed: ['b/web > a/db TCP 80'],
    denied: ['b/web > a/db UDP 80', 'b/web > a/db SCTP 80'],
  },
  {
    says: 'a protocol without port is every port of it, and no ICMP',
    policies: [ingress({ ports: [{ protocol: 'UDP' }] })],
    allowed: ['b/web > a/db UDP 65535', 'b/web > a/db UDP 1'],
    denied: ['b/web > a/db TCP 1', 'b/web > a/db ICMP'],
  },
  {
    says: 'endPort makes an inclusive range',
    policies: [ingress({ ports: [{ port: 80, endPort: 90 }] })],
    allowed: ['b/web > a/db TCP 80', 'b/web > a/db TCP 90'],
    denied: ['b/web > a/db TCP 79', 'b/web > a/db TCP 91'],
  },
  {
    says: 'an ingress port name means what the selected pod says, for each pod',
    policies: [ingress({ ports: [{ port: 'http' }] })],
    allowed: ['b/web > a/web TCP 8080'],
    denied: ['b/web > a/web TCP 80', 'b/web > a/db TCP 8080'],
  },
  {
    says: 'one name may be several ports',
    policies: [ingress({ ports: [{ port: 'sql' }] })],
    allowed: ['b/web > a/db TCP 5432', 'b/web > a/db TCP 5433'],
    denied: ['b/web > a/db TCP 5434'],
  },
  {
    says: 'a port name is of one protocol',
    policies: [ingress({ ports: [{ port: 'sql', protocol: 'UDP' }] })],
    allowed: ['b/web > a/db UDP 5434'],
    denied: ['b/web > a/db TCP 5432', 'b/web > a/db UDP 5432'],
  },
  {
    says: 'an egress port name means what the destination pod says',
    policies: [egress({ ports: [{ port: 'http' }] })],
    allowed: ['a/db > a/web TCP 8080', 'a/db > b/web TCP 9090'],
    denied: ['a/db > a/web TCP 9090', 'a/db > b/db TCP 9090'],
  },
  {
    says: 'an egress port name means nothing at what is no pod',
    policies: [egress({ ports: [{ port: 'http' }] })],
    denied: ['a/db > 8.8.8.8 TCP 8080', 'a/db > 10.240.0.2 TCP 8080'],
  },
  {
    says: 'an egress port name works with ipBlock if a pod is there',
    policies: [egress({ to: [{ ipBlock: { cidr: '10.244.2.0/24' } }], ports: [{ port: 'http' }] })],
    allowed: ['a/db > b/web TCP 9090'],
    denied: ['a/db > a/web TCP 8080', 'a/db > 10.244.2.9 TCP 9090'],
  },
  {
    says: 'ipBlock without its exceptions',
    policies: [egress({ to: [{ ipBlock: { cidr: '8.0.0.0/8', except: ['8.8.0.0/16'] } }] })],
    allowed: ['a/db > 8.9.0.1 TCP 80', 'a/db > 8.9.0.1 ICMP'],
    denied: ['a/db > 8.8.0.1 TCP 80', 'a/db > 9.0.0.1 TCP 80'],
  },
  {
    says: 'an exception of one block does not bind another',
    policies: [
      egress({
        to: [{ ipBlock: { cidr: '8.0.0.0/8', except: ['8.8.0.0/16'] } }, { ipBlock: { cidr: '8.8.8.0/24' } }],
      }),
    ],
    allowed: ['a/db > 8.8.8.8 TCP 80'],
    denied: ['a/db > 8.8.9.9 TCP 80'],
  },
  {
    says: 'ipBlock reaches pods by their address',
    policies: [ingress({ from: [{ ipBlock: { cidr: '10.244.2.1/32' } }] })],
    allowed: ['b/web > a/db TCP 80'],
    denied: ['b/db > a/db TCP 80', 'fd00:10:244::2:1 > a/db TCP 80'],
  },
  {
    says: '0.0.0.0/0 is all of IPv4 and nothing of IPv6',
    policies: [ingress({ from: [{ ipBlock: { cidr: '0.0.0.0/0' } }] })],
    allowed: ['b/web > a/db TCP 80', '8.8.8.8 > a/db TCP 80'],
    denied: ['fd00:10:244::2:1 > a/db TCP 80', '2001:db8::1 > a/db TCP 80'],
  },
  {
    says: 'an IPv6 block',
    policies: [
      ingress({ from: [{ ipBlock: { cidr: 'fd00:10:244::2:0/112', except: ['fd00:10:244::2:2/128'] } }] }),
    ],
    allowed: ['fd00:10:244::2:1 > a/db TCP 80'],
    denied: ['fd00:10:244::2:2 > a/db TCP 80', 'b/web > a/db TCP 80'],
  },
  {
    says: 'a pod reaches itself whatever the policies',
    policies: [ingress(), egress()],
    allowed: ['a/db > a/db TCP 80', '10.244.1.2 > a/db TCP 80'],
  },
  {
    says: 'a pod and its own node reach each other',
    policies: [ingress(), egress()],
    allowed: ['10.240.0.1 > a/db TCP 80', 'a/db > 10.240.0.1 TCP 80', 'fd00:10:240::1 > a/db TCP 80'],
    denied: ['10.240.0.2 > a/db TCP 80', 'a/db > 10.240.0.2 TCP 80'],
  },
  {
    says: 'the addresses that each node answers are its own node',
    policies: [egress()],
    allowed: ['a/db > 10.96.0.10 UDP 53'],
    denied: ['a/db > 10.96.0.11 UDP 53'],
  },
  {
    says: 'a pod on the host network is its node: selectors do not match it',
    policies: [ingress({ from: [{ namespaceSelector: {} }] })],
    denied: ['b/host > a/db TCP 80'],
  },
  {
    says: 'a pod on the host network is matched by its node’s address',
    policies: [ingress({ from: [{ ipBlock: { cidr: '10.240.0.2/32' } }] })],
    allowed: ['b/host > a/db TCP 80'],
  },
  {
    says: 'both ends must allow',
    policies: [egress({ to: [app('web')] }), ingress({ from: [app('db')] })],
    allowed: ['a/db > a/web TCP 80'],
    denied: ['a/web > a/db TCP 80', 'a/db > b/web TCP 80'],
  },
  {
    says: 'NotIn holds for a pod without the label',
    policies: [
      ingress({
        from: [{ podSelector: { matchExpressions: [{ key: 'x', operator: 'NotIn', values: ['1'] }] } }],
      }),
    ],
    allowed: ['a/web > a/db TCP 80'],
  },
  {
    says: 'what cannot be read allows nothing',
    policies: [
      ingress({ from: [{ ipBlock: { cidr: 'nonsense' } }] }, { ports: [{ port: '80' }] }, { from: [{}] }),
    ],
    denied: ['b/web > a/db TCP 80', '8.8.8.8 > a/db TCP 80'],
  },
];

for (const { says, policies, allowed = [], denied = [] } of cases)
  test(says, () => {
    const world = { ...base, policies: policies.map((spec, i) => policyObject('a', `p${i}`, spec)) };
    const tables = compile(world);
    const ask = (text: string) => {
      const flow = flowOf(text);
      const verdict = decide(world, flow).verdict;
      assert.equal(
        lookup(tables, wireFlow(world, flow)).verdict,
        verdict,
        `tables and decide differ on ${text}`,
      );
      return `${text}: ${verdict}`;
    };
    assert.deepEqual([...allowed, ...denied].map(ask), [
      ...allowed.map((text) => `${text}: allow`),
      ...denied.map((text) => `${text}: deny`),
    ]);
  });
