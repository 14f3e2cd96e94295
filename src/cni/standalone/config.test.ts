import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { HeddleError } from '../../lib/errors.ts';
import { parseStandaloneConfig } from './config.ts';

const example = join(import.meta.dirname, '../../../examples/cni/agent.yaml');
const head = 'apiVersion: heddle.dev/v1alpha1\nkind: StandaloneAgent\nmetadata: {name: net}\n';
const parse = (spec: string) => parseStandaloneConfig(`${head}spec: ${spec}\n`, 'f.yaml');

test('the example is good, and has every field', () => {
  const config = parseStandaloneConfig(readFileSync(example, 'utf8'), example);
  assert.deepEqual(config, {
    name: 'heddle',
    podRanges: ['10.88.0.0/16', 'fd00:88::/64'],
    reserved: ['10.88.0.10'],
    nodeAddresses: [],
    mtu: 1500,
    masquerade: true,
    socket: '/run/heddle/cni.sock',
    stateDir: '/var/lib/heddle/cni',
    metrics: { host: '127.0.0.1', port: 9469 },
    dns: { domain: 'dns.heddle', servers: undefined },
    install: { binDir: '/opt/cni/bin', confDir: '/etc/cni/net.d' },
  });
});

test('one range is enough, and ranges are written as they are meant', () => {
  const config = parse('{podRanges: ["FD00:9:0::1/64", 10.1.2.3/24], masquerade: false}');
  assert.deepEqual(config.podRanges, ['10.1.2.0/24', 'fd00:9::/64']);
  assert.equal(config.masquerade, false);
  assert.equal(config.install, undefined);
});

const refused: readonly (readonly [string, RegExp])[] = [
  ['{}', /spec\.podRanges: expected one range per family.*got nothing/],
  ['{podRanges: [10.1.0.0/16, 10.2.0.0/16]}', /podRanges\[1\]: "10\.2\.0\.0\/16" is the second of IPv4/],
  ['{podRanges: [10.1.0.0/30]}', /"10\.1\.0\.0\/30" is too small; expected \/29 or wider/],
  ['{podRanges: [10.1.0.0]}', /"10\.1\.0\.0" is no range/],
  ['{podRanges: [10.1.0.0/16], mtu: 500}', /spec\.mtu: 500 is no whole number from 1280 to 65535/],
  ['{podRanges: [10.1.0.0/16], socket: run/x}', /spec\.socket: "run\/x"; expected an absolute path/],
  ['{podRanges: [10.1.0.0/16], socket: "/' + 'x'.repeat(120) + '"}', /longer than 107 bytes/],
  [
    '{podRanges: [10.1.0.0/16], metrics: "0.0.0.0:9469"}',
    /metrics: "0\.0\.0\.0:9469"; expected an address of the/,
  ],
  ['{podRanges: [10.1.0.0/16], metrics: "127.0.0.1:99999"}', /metrics: "127\.0\.0\.1:99999"; expected/],
  ['{podRanges: [10.1.0.0/16], dns: yes}', /spec\.dns: "yes"; expected fields/],
  ['{podRanges: [10.1.0.0/16], dns: {domain: A_b}}', /spec\.dns\.domain: "A_b"; expected a domain/],
  ['{podRanges: [10.1.0.0/16], dns: {servers: [x], port: 5}}', /dns\.port: unknown.*dns\.servers\[0\]: "x"/],
  ['{podRanges: [10.1.0.0/16], binDir: /b}', /binDir and confDir belong together/],
  [
    '{podRanges: [10.1.0.0/16], nodeAddresses: [10.1.0.1]}',
    /nodeAddresses\[0\]: 10\.1\.0\.1 is in podRanges/,
  ],
  ['{podRanges: [10.1.0.0/16], nodeAddresses: [1.1.1.1, 1.1.1.2]}', /1\.1\.1\.2 is the second of its family/],
  ['{podRanges: [10.1.0.0/16], reserved: [10.2.0.1]}', /reserved\[0\]: 10\.2\.0\.1 is in none of podRanges/],
  ['{podRanges: [10.1.0.0/16], masquerade: yes please}', /masquerade: "yes please"; expected true or false/],
  ['{podRanges: [10.1.0.0/16], podRange: 1}', /spec\.podRange: unknown; expected one of podRanges/],
];

for (const [spec, words] of refused)
  test(`refused with the value and what was expected: ${spec.slice(0, 70)}`, () => {
    assert.throws(
      () => parse(spec),
      (error: unknown) =>
        error instanceof HeddleError && error.code === 'BadAgentConfig' && words.test(error.message),
    );
  });

test('all problems are told at once', () => {
  assert.throws(
    () => parse('{podRanges: [x], mtu: 1, wrong: 2}'),
    /wrong: unknown.*"x" is no range.*spec\.mtu: 1 is/,
  );
});

test('whatever a file holds, it is read or refused in words', () => {
  const read = (text: string) => {
    try {
      parseStandaloneConfig(text, 'f');
    } catch (error) {
      assert.ok(error instanceof HeddleError && error.code === 'BadAgentConfig', String(error));
    }
  };
  fc.assert(fc.property(fc.string(), read));
  fc.assert(fc.property(fc.json(), (text) => read(`${head}spec: ${text}`)));
});
