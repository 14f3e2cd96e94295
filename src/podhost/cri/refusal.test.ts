import assert from 'node:assert/strict';
import { test } from 'node:test';
import { criRefusal } from './refusal.ts';
import { criPod } from './testing.ts';

const messageOf = (add: string[], privileged = false, allowHost = false): string | undefined =>
  criRefusal(criPod('one', { securityContext: { capabilities: { add }, privileged } }), allowHost)?.message;

test('capabilities that lead to the machine are refused in whatever letters', () => {
  // The long s is an S in upper case, which is how a runtime is told.
  for (const name of [
    'SYS_PTRACE',
    'cap_sys_ptrace',
    '\u017fys_ptrace',
    'DAC_READ_SEARCH',
    'Cap_Dac_Read_Search',
  ])
    assert.equal(
      messageOf(['CHOWN', name]),
      `the cri runtime does not have: container main: capabilities.add: ${name}`,
    );
  for (const name of ['SYS_ADMIN', '\u017fys_admin', 'SYS_MODULE', 'ALL', 'BPF'])
    assert.match(messageOf([name]) ?? '', /capabilities\.add/);
  assert.equal(messageOf(['CHOWN', 'NET_BIND_SERVICE']), undefined);
});

test('who is privileged has them all, where the cluster allows it', () => {
  assert.match(messageOf([], true) ?? '', /privileged: .*--allow-host/);
  assert.equal(messageOf(['SYS_PTRACE', 'DAC_READ_SEARCH'], true, true), undefined);
});
