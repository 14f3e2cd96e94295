import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openRoute } from './route.ts';
import { readSysctl, writeSysctl } from './sysctl.ts';
import { needsRoot, testNetns } from './test-netns.ts';

const skip = needsRoot;

test('a setting is written in one namespace alone', { skip }, (t) => {
  const [a, b] = [testNetns(t), testNetns(t)];
  const before = readSysctl(undefined, 'net.ipv4.ip_forward');
  writeSysctl(a, 'net.ipv4.ip_forward', 1);
  writeSysctl(b, 'net.ipv4.ip_forward', '0');
  assert.deepEqual(
    [a, b].map((ns) => readSysctl(ns, 'net.ipv4.ip_forward')),
    ['1', '0'],
  );
  assert.equal(readSysctl(undefined, 'net.ipv4.ip_forward'), before);
});

test('a link with a dot in its name is reached by slashes', { skip }, (t) => {
  const ns = testNetns(t);
  const route = openRoute(ns);
  route.addBridge({ name: 'br.1' });
  route.close();
  writeSysctl(ns, 'net/ipv4/conf/br.1/rp_filter', 2);
  assert.equal(readSysctl(ns, 'net/ipv4/conf/br.1/rp_filter'), '2');
});

test('what is missing is named', { skip }, (t) => {
  const ns = testNetns(t);
  assert.throws(() => readSysctl(ns, 'net.ipv4.no_such'), {
    code: 'Sysctl',
    message: /net\.ipv4\.no_such: ENOENT/,
  });
  assert.throws(() => writeSysctl(ns, 'net.ipv4.ip_forward', 'x'), {
    code: 'Sysctl',
    message: /"x".*EINVAL/,
  });
});
