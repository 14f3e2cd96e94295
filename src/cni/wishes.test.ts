import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { CniError } from './error.ts';
import type { CniRequest, NetConf } from './types.ts';
import { newestOf } from './version.ts';
import { checkPorts, wishesOf } from './wishes.ts';

const request = (config: NetConf, args: Record<string, string> = {}): CniRequest => ({
  command: 'ADD',
  containerId: 'c',
  ifName: 'eth0',
  netns: '/x',
  args,
  config,
  cniVersion: '1.1.0',
});

test('runtimeConfig comes before args, args before CNI_ARGS', () => {
  const args = { IP: '10.0.0.1,fd00::1', MAC: '02-00-00-00-00-0A' };
  assert.deepEqual(wishesOf(request({}, args)).addresses, ['10.0.0.1', 'fd00::1']);
  assert.equal(wishesOf(request({}, args)).mac, '02:00:00:00:00:0a');
  const config: NetConf = { args: { cni: { ips: ['10.0.0.2'] } } };
  assert.deepEqual(wishesOf(request(config, args)).addresses, ['10.0.0.2']);
  assert.deepEqual(wishesOf(request({ ...config, runtimeConfig: { ips: ['10.0.0.3/8'] } }, args)).addresses, [
    '10.0.0.3',
  ]);
});

test('aliases are a list, or lists by network', () => {
  const aliases = (value: unknown) =>
    wishesOf(request({ name: 'net', runtimeConfig: { aliases: value } })).aliases;
  assert.deepEqual(aliases(['a', 'b.c']), ['a', 'b.c']);
  assert.deepEqual(aliases({ net: ['a'], other: ['b'] }), ['a']);
  assert.deepEqual(aliases({ other: ['b'] }), []);
});

const refused: readonly (readonly [object, number])[] = [
  [{ portMappings: [{ hostPort: 70_000, containerPort: 1 }] }, 7],
  [{ portMappings: [{ hostPort: 1 }] }, 7],
  [{ portMappings: [{ hostPort: 1, containerPort: 1, protocol: 'icmp' }] }, 7],
  [{ portMappings: [{ hostPort: 1, containerPort: 1, hostIP: 'localhost' }] }, 7],
  [{ bandwidth: { ingressRate: -1 } }, 7],
  [{ bandwidth: { egressBurst: 1000 } }, 7],
  [{ aliases: ['not a name'] }, 7],
  [{ ipRanges: [[{ subnet: '10.0.0.0/24', rangeEnd: '10.0.1.1' }]] }, 7],
  [{ infinibandGUID: 'x' }, 2],
];

for (const [runtimeConfig, code] of refused)
  test(`refused with code ${code}: ${JSON.stringify(runtimeConfig)}`, () => {
    assert.throws(() => wishesOf(request({ runtimeConfig: { ...runtimeConfig } })), {
      name: 'CniError',
      code,
    });
  });

test('one host port cannot be asked for twice', () => {
  const port = { hostPort: 1, containerPort: 2, protocol: 'tcp' } as const;
  checkPorts([port, { ...port, protocol: 'udp' }, { ...port, hostIP: '10.0.0.1' }]);
  assert.throws(() => checkPorts([port, { ...port, containerPort: 3 }]), /1\/tcp/);
});

test('whatever a runtime passes is read, or refused by the codes of the specification', () => {
  const keys = ['portMappings', 'bandwidth', 'ips', 'mac', 'dns', 'ipRanges', 'aliases', 'other'];
  const config = fc.record({
    runtimeConfig: fc.dictionary(fc.constantFrom(...keys), fc.jsonValue()),
    args: fc.jsonValue(),
    mtu: fc.jsonValue(),
  });
  fc.assert(
    fc.property(config, fc.dictionary(fc.constantFrom('IP', 'MAC'), fc.string()), (value, args) => {
      try {
        wishesOf(request({ ...value }, args));
      } catch (error) {
        assert.ok(error instanceof CniError && (error.code === 2 || error.code === 7), String(error));
      }
    }),
  );
});

test('the newest version that a list offers is spoken', () => {
  assert.equal(newestOf({}), '1.1.0');
  assert.equal(newestOf({ cniVersion: '0.4.0' }), '0.4.0');
  assert.equal(newestOf({ cniVersion: '1.0.0', cniVersions: ['0.4.0', '1.1.0', '2.0.0'] }), '1.1.0');
  assert.throws(() => newestOf({ cniVersion: '9.0.0' }), { code: 1 });
});
