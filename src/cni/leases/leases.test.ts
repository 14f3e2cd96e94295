import assert from 'node:assert/strict';
import fs from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { mountTmpfs, unmountLazy } from '../../kernel/mount.ts';
import { needsRoot, testFolder } from '../../kernel/test-netns.ts';
import { CniError } from '../error.ts';
import { bridgeOf, ipvlanOf, macvlanOf } from '../main/config.ts';
import { firewallOf, tuningOf } from '../meta/config.ts';
import type { CniRequest, NetConf } from '../types.ts';
import { wishesOf } from '../wishes.ts';
import { dhcpOf } from './dhcp/config.ts';
import { hostLocalOf } from './host-local-config.ts';
import {
  obtainHostLocal,
  parseResolvConf,
  releaseHostLocal,
  removeUnused,
  sweepHostLocal,
} from './host-local.ts';
import { staticLease } from './static.ts';

const request = (config: NetConf, args: Record<string, string> = {}): CniRequest => ({
  command: 'ADD',
  containerId: 'c',
  ifName: 'eth0',
  netns: '/x',
  args,
  config: { name: 'net', type: 'heddle-bridge', ...config },
  cniVersion: '1.1.0',
});

const at = (containerId: string) => ({ containerId, ifName: 'eth0' });

test('host-local gives every address but the gateway once, round and round, and takes them back', async (t) => {
  const dataDir = testFolder(t);
  const config = hostLocalOf(
    request({ ipam: { type: 'host-local', dataDir, ranges: [[{ subnet: '10.0.0.0/29' }]] } }),
  );
  const give = async (id: string, asked: string[] = []) =>
    (await obtainHostLocal(config, at(id), asked)).addresses[0]?.address;
  const given = [];
  for (let i = 0; i < 5; i++) given.push(await give(`c${i}`));
  assert.deepEqual(given, ['10.0.0.2/29', '10.0.0.3/29', '10.0.0.4/29', '10.0.0.5/29', '10.0.0.6/29']);
  assert.equal(await give('c1'), '10.0.0.3/29', 'the same again');
  await assert.rejects(give('c9'), { code: 101 });
  await releaseHostLocal(config.folder, at('c1'));
  await assert.rejects(give('c8', ['10.0.0.4']), { code: 102, message: /10\.0\.0\.4 belongs to c2\/eth0/ });
  await assert.rejects(give('c8', ['10.0.0.1']), { code: 7 });
  assert.equal(await give('c8', ['10.0.0.3']), '10.0.0.3/29');
  assert.deepEqual(await sweepHostLocal(config.folder, [at('c0'), at('c8')]), [
    '10.0.0.4',
    '10.0.0.5',
    '10.0.0.6',
  ]);
  assert.equal(
    fs.readFileSync(join(config.folder, '10.0.0.3'), 'utf8'),
    'c8\r\neth0',
    'as the reference writes it',
  );
});

test('host-local: a full disk leaves no address without an owner, nor does one who was killed', {
  skip: needsRoot,
}, async (t) => {
  let dataDir = '';
  // What is named first ends first.
  t.after(() => unmountLazy(dataDir));
  dataDir = testFolder(t);
  mountTmpfs(dataDir, { size: '64k' });
  const ranges = [[{ subnet: '10.0.0.0/29' }], [{ subnet: 'fd00::/64' }]];
  const config = hostLocalOf(request({ ipam: { type: 'host-local', dataDir, ranges } }));
  const addresses = () => fs.readdirSync(config.folder).filter((name) => /^(10|fd)/.test(name));
  fs.mkdirSync(config.folder);
  const ballast = join(dataDir, 'ballast');
  const fill = (free: number) => {
    const size = 4096 * 8;
    fs.rmSync(ballast, { force: true });
    try {
      fs.writeFileSync(ballast, Buffer.alloc(16 * size));
    } catch {
      // As much as there was room for.
    }
    fs.truncateSync(ballast, fs.statSync(ballast).size - free * 4096);
  };
  // At every page that it could need, until it has all.
  for (let free = 0; ; free++) {
    assert.ok(free < 8);
    fill(free);
    const ended = await obtainHostLocal(config, at('c1'), []).then(
      () => true,
      (error: unknown) => {
        assert.equal((error as { code?: unknown }).code, 'ENOSPC');
        return false;
      },
    );
    if (ended) break;
    assert.deepEqual(addresses(), [], `${free} pages free`);
  }
  fs.rmSync(ballast);
  assert.equal(addresses().length, 2);
  fs.writeFileSync(join(config.folder, '.heddle-claim'), 'of one who was killed');
  await obtainHostLocal(config, at('c2'), []);
  await releaseHostLocal(config.folder, at('c1'));
  await releaseHostLocal(config.folder, at('c2'));
  fs.writeFileSync(join(config.folder, '.heddle-claim'), 'of one who was killed');
  assert.equal(await removeUnused(config.folder), true);
});

test('host-local: a set of several ranges is used up one after the other; a failed set leaves nothing', async (t) => {
  const dataDir = testFolder(t);
  const set = [
    { subnet: '10.1.0.0/24', rangeStart: '10.1.0.8', rangeEnd: '10.1.0.9' },
    { subnet: '10.2.0.0/24', rangeStart: '10.2.0.1', rangeEnd: '10.2.0.2', gateway: '10.2.0.254' },
  ];
  const read = (ranges: unknown[]) => hostLocalOf(request({ ipam: { type: 'host-local', dataDir, ranges } }));
  const given = new Set<string>();
  for (let i = 0; i < 4; i++)
    given.add((await obtainHostLocal(read([set]), at(`c${i}`), [])).addresses[0]?.address ?? '');
  assert.deepEqual([...given], ['10.1.0.8/24', '10.1.0.9/24', '10.2.0.1/24', '10.2.0.2/24']);
  const two = read([[{ subnet: 'fd00::/64' }], set]);
  await assert.rejects(obtainHostLocal(two, at('more'), []), { code: 101 });
  assert.deepEqual(
    fs.readdirSync(two.folder).filter((name) => name.includes(':')),
    [],
  );
});

test('static: what the runtime asks for comes before the configuration', () => {
  const addresses = [{ address: '10.0.0.5/24', gateway: '10.0.0.1' }];
  const lease = (config: NetConf, args = {}) => staticLease(request(config, args)).addresses;
  const ipam = { type: 'static', addresses };
  assert.deepEqual(lease({ ipam }), addresses);
  assert.deepEqual(lease({ ipam, runtimeConfig: { ips: ['10.0.0.9/24'] } }), [
    { address: '10.0.0.9/24', gateway: '10.0.0.1' },
  ]);
  assert.deepEqual(
    lease({ ipam: { type: 'static' } }, { IP: '10.0.0.7/8,fd00::7/64', GATEWAY: '10.0.0.2' }),
    [{ address: '10.0.0.7/8', gateway: '10.0.0.2' }, { address: 'fd00::7/64' }],
  );
});

test('resolv.conf is read as the resolver reads it', () => {
  assert.deepEqual(
    parseResolvConf(
      '# x\nnameserver 192.0.2.1\nnameserver\t::1\nsearch a b\ndomain c ; d\noptions ndots:2\nsearch e',
    ),
    { nameservers: ['192.0.2.1', '::1'], domain: 'c', search: ['e'], options: ['ndots:2'] },
  );
});

const read: Readonly<Record<string, (config: NetConf) => unknown>> = {
  'host-local': (config) => hostLocalOf(request(config)),
  static: (config) => staticLease(request(config)),
  dhcp: (config) => dhcpOf(request(config)),
  bridge: (config) => bridgeOf(config),
  macvlan: (config) => macvlanOf(config),
  ipvlan: (config) => ipvlanOf(config),
  firewall: (config) => firewallOf(config),
  tuning: (config) => tuningOf(config, request(config), wishesOf(request({}))),
};

for (const [what, config, code] of [
  ['host-local', { ipam: { ranges: [] } }, 7],
  ['host-local', { ipam: { ranges: [[{ subnet: '10.0.0.1/24' }]] } }, 7],
  ['host-local', { ipam: { ranges: [[{ subnet: '10.0.0.0/31' }]] } }, 7],
  ['host-local', { ipam: { ranges: [[{ subnet: '10.0.0.0/24', rangeStart: '10.0.1.1' }]] } }, 7],
  ['host-local', { ipam: { ranges: [[{ subnet: '10.0.0.0/24' }, { subnet: 'fd00::/64' }]] } }, 7],
  ['host-local', { ipam: { ranges: [[{ subnet: '10.0.0.0/24' }, { subnet: '10.0.0.0/25' }]] } }, 7],
  ['host-local', { ipam: { subnet: '10.0.0.0/24', dataDir: 'x' } }, 7],
  ['host-local', { name: '../x', ipam: { subnet: '10.0.0.0/24' } }, 7],
  ['host-local', { ipam: { subnet: '10.0.0.0/24', rangestart: '10.0.0.9' } }, 2],
  ['host-local', { ipam: { subnet: '10.0.0.0/24', routes: [{ dst: '0.0.0.0/0', mtu: 1400 }] } }, 2],
  ['static', { ipam: {} }, 7],
  ['static', { ipam: { addresses: [{ address: '10.0.0.1' }] } }, 7],
  ['static', { ipam: { addresses: [{ address: '10.0.0.1/8', gateway: 'fd00::1' }] } }, 7],
  ['dhcp', { ipam: { daemonSocketPath: '/run/x' } }, 2],
  ['dhcp', { ipam: { request: [{ option: 'nonsense' }] } }, 7],
  ['dhcp', { ipam: { provide: [{ option: '61', value: 'x' }] } }, 2],
  ['dhcp', { ipam: { provide: [{ option: '12', fromArg: 'NOT_THERE' }] } }, 7],
  ['bridge', { vlan: 5000 }, 7],
  ['bridge', { bridge: 'a/b' }, 7],
  ['bridge', { vlanTrunk: [{ minID: 9, maxID: 3 }] }, 7],
  ['macvlan', { mode: 'source' }, 7],
  ['ipvlan', { mode: 'bridge' }, 7],
  ['firewall', { backend: 'firewalld' }, 2],
  ['firewall', { ingressPolicy: 'same-bridge' }, 2],
  ['firewall', { iptablesAdminChainName: 'x; y' }, 7],
  ['tuning', { sysctl: { 'kernel.hostname': 'x' } }, 7],
  ['tuning', { sysctl: { 'net/../kernel/hostname': 'x' } }, 7],
  ['tuning', { sysctl: { 'net.ipv4.ip_forward': true } }, 7],
  ['tuning', { dataDir: '/run/x' }, 2],
  ['tuning', { mac: '01:00:00:00:00:01' }, 7],
] as const)
  test(`${what} refuses ${JSON.stringify(config)}`, () => {
    assert.throws(() => read[what]?.(config), { name: 'CniError', code });
  });

test('whatever a configuration says, it is read or refused with a code', () => {
  const words = ['10.0.0.0/24', '10.0.0.5', 'fd00::/64', 'eth0', '', 'bridge', 'l3', 'host-local', '../x'];
  const leaf = fc.oneof(
    fc.constantFrom(...words),
    fc.integer(),
    fc.boolean(),
    fc.constant(null),
    fc.string(),
  );
  const keys =
    `ipam ranges subnet rangeStart rangeEnd gateway routes dst gw addresses address dns request option provide
    value sysctl mtu vlan vlanTrunk mode master name`.split(/\s+/);
  const { tree } = fc.letrec((tie) => ({
    tree: fc.oneof(
      { depthSize: 'small' },
      leaf,
      fc.array(tie('tree'), { maxLength: 3 }),
      fc.dictionary(fc.constantFrom(...keys), tie('tree'), { maxKeys: 4 }),
    ),
  }));
  fc.assert(
    fc.property(fc.dictionary(fc.constantFrom(...keys), tree, { maxKeys: 6 }), (config) => {
      for (const reader of Object.values(read))
        try {
          reader(config);
        } catch (error) {
          assert.ok(error instanceof CniError, String(error));
        }
    }),
  );
});
