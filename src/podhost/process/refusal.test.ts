import assert from 'node:assert/strict';
import { test } from 'node:test';
import { processRefusal } from './refusal.ts';
import { processPod, type Spec, sh } from './test-pods.ts';
import type { Container } from './types.ts';

type Own = NonNullable<Container['securityContext']>;
type Whole = NonNullable<Spec['securityContext']>;

const refused = (own: Own, whole: Whole = {}) =>
  processRefusal(processPod('web', [sh('main', ':', { securityContext: own })], { securityContext: whole }))
    ?.message;

const local = { type: 'Localhost', localhostProfile: 'strict' } as const;
for (const [name, message] of [
  ['a profile of AppArmor', refused({ appArmorProfile: local })],
  ['a profile of AppArmor', refused({}, { appArmorProfile: local })],
  ['seLinuxOptions', refused({ seLinuxOptions: { type: 'strict_t' } })],
  ['seLinuxOptions', refused({}, { seLinuxOptions: { level: 's0:c1' } })],
  ['sysctls', refused({}, { sysctls: [{ name: 'net.core.somaxconn', value: '1' }] })],
  ['procMount Unmasked', refused({ procMount: 'Unmasked' })],
] as const)
  test(`a pod that asks for ${name} does not run without`, () =>
    assert.match(message ?? '', new RegExp(`the process runtime does not have: .*${name}`)));

test('what stands for the default is no reason to refuse', () => {
  assert.equal(refused({ appArmorProfile: { type: 'RuntimeDefault' }, procMount: 'Default' }), undefined);
  assert.equal(refused({ seLinuxOptions: {} }, { sysctls: [] }), undefined);
});
