import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openRoute } from './route.ts';
import { needsRoot, testNetns } from './test-netns.ts';

test('a link is gone with its routes when its removal resolves, however many go at once', {
  skip: needsRoot,
}, async (t) => {
  const route = openRoute(testNetns(t));
  t.after(() => route.close());
  const names = Array.from({ length: 12 }, (_, i) => `v${i}`);
  for (const [i, name] of names.entries()) {
    route.addVeth({ name, peer: { name: `${name}p` } });
    route.setLink(name, { up: true });
    route.setLink(`${name}p`, { up: true });
    route.replaceRoute({ dst: `10.0.0.${i}/32`, dev: name });
  }
  await Promise.all(
    names.map(async (name) => {
      assert.equal(await route.removeLink(name), true);
      assert.equal(route.link(name), undefined);
      assert.equal(route.link(`${name}p`), undefined);
    }),
  );
  assert.deepEqual(
    route.routes().filter(({ dst }) => dst.startsWith('10.0.0.')),
    [],
  );
  // The name is free again at once.
  route.addVeth({ name: 'v0', peer: { name: 'v0p' } });
  assert.equal(await route.removeLink('v0'), true);
  assert.equal(await route.removeLink('v0'), false);
});

test('a link that cannot be removed says why', { skip: needsRoot }, async (t) => {
  const route = openRoute(testNetns(t));
  t.after(() => route.close());
  await assert.rejects(route.removeLink('lo'), /delete the link lo.*EOPNOTSUPP/);
});
