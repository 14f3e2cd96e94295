import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { openRoute } from '../../../kernel/route.ts';
import { needsRoot, testBpffs, testNetns } from '../../../kernel/test-netns.ts';
import { silentLog } from '../../../lib/log.ts';
import { openPrograms } from '../loader.ts';
import { createLinkPrograms } from './links.ts';

const OBJECTS = join(import.meta.dirname, '../../../../build/bpf');

test('a new link that was given the number of one that is gone has programs', { skip: needsRoot }, (t) => {
  const ns = testNetns(t);
  const programs = openPrograms({
    objectDir: OBJECTS,
    objects: ['from-pod', 'to-pod'],
    pinDir: testBpffs(t),
    log: silentLog,
  });
  t.after(() => programs.close());
  const route = openRoute(ns);
  t.after(() => route.close());
  const links = createLinkPrograms(programs, ns);
  for (const name of ['veth1', 'veth2']) {
    const add = `ip link add name ${name} index 77 type veth peer name eth0`.split(' ');
    execFileSync('nsenter', [`--net=${ns.path}`, ...add]);
    const link = route.link(name)!;
    assert.equal(link.index, 77);
    assert.equal(links.attachPod(link).length, 2);
    assert.deepEqual(links.attachPod(link), []);
    assert.deepEqual(links.verify([link], []), []);
    route.deleteLink(name);
  }
  links.forget([]);
  assert.deepEqual(readdirSync(dirname(programs.linkPath('x'))), []);
});
