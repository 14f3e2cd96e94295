import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { stringify } from 'yaml';
import { HeddleError } from '../lib/errors.ts';
import { parseProfile } from './profile-file.ts';
import { builtInProfiles } from './profile.ts';

const good = {
  apiVersion: 'heddle.dev/v1alpha1',
  kind: 'TuningProfile',
  metadata: { name: 'mine' },
  spec: { sysctls: [{ key: 'net.ipv4.tcp_fastopen', value: 3, reason: 'a test' }] },
};
const withSetting = (setting: object) => ({ ...good, spec: { sysctls: [setting] } });

test('a profile is read from YAML and from JSON', () => {
  for (const text of [stringify(good), JSON.stringify(good)])
    assert.deepEqual(parseProfile(text, 'f'), {
      name: 'mine',
      description: '',
      keys: [{ key: 'net.ipv4.tcp_fastopen', value: '3', reason: 'a test', optional: false }],
    });
});

for (const [what, object, words] of [
  ['another kind', { ...good, kind: 'Profile' }, /kind: TuningProfile/],
  ['no name', { ...good, metadata: {} }, /metadata\.name/],
  ['no settings', { ...good, spec: {} }, /spec\.sysctls/],
  [
    'a setting that is not the network’s',
    withSetting({ key: 'kernel.core_pattern', value: '|/x', reason: 'r' }),
    /\[0\]\.key/,
  ],
  [
    'a way out of the folder',
    withSetting({ key: 'net/../kernel/core_pattern', value: '1', reason: 'r' }),
    /\[0\]\.key/,
  ],
  ['no reason', withSetting({ key: 'net.ipv4.tcp_fastopen', value: 1 }), /\[0\]\.reason/],
  ['two lines', withSetting({ key: 'net.ipv4.tcp_fastopen', value: '1\n2', reason: 'r' }), /\[0\]\.value/],
  [
    'a misspelt field',
    withSetting({ key: 'net.ipv4.tcp_fastopen', value: '1', raeson: 'r' }),
    /raeson: no such field/,
  ],
] as const)
  test(`${what} is refused`, () => {
    assert.throws(
      () => parseProfile(stringify(object), 'mine.yaml'),
      (error: HeddleError) => {
        assert.equal(error.code, 'BadProfile');
        assert.match(error.message, words);
        assert.match(error.message, /^mine\.yaml/);
        return true;
      },
    );
  });

test('no text crashes the reader', () => {
  const object = fc.record({
    apiVersion: fc.constant('heddle.dev/v1alpha1'),
    kind: fc.constant('TuningProfile'),
    metadata: fc.anything(),
    spec: fc.oneof(fc.anything(), fc.record({ sysctls: fc.array(fc.anything()) })),
  });
  const text = fc.oneof(
    fc.string(),
    object.map((value) => JSON.stringify(value)),
  );
  fc.assert(
    fc.property(text, (value) => {
      try {
        for (const { key } of parseProfile(value, 'f').keys) assert.match(key, /^net[./]/);
      } catch (error) {
        assert.ok(error instanceof HeddleError && error.code === 'BadProfile', String(error));
      }
    }),
  );
});

test('what is built in gives a reason for each setting, and settings once', () => {
  for (const { keys } of builtInProfiles) {
    assert.equal(new Set(keys.map(({ key }) => key)).size, keys.length);
    for (const { reason } of keys) assert.ok(reason.length > 20);
  }
});
