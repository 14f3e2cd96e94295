import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { openNft } from './nft.ts';
import { run } from './spawn.ts';
import { needsRoot, testNetns } from './test-netns.ts';

const skip = needsRoot;

function open(t: TestContext) {
  const nft = openNft(testNetns(t));
  t.after(() => nft.close());
  return nft;
}

test('rules go into the namespace of the context and are listed as text and as JSON', { skip }, (t) => {
  const [nft, other] = [open(t), open(t)];
  assert.equal(nft.run('add table inet t { comment "heddle"; }'), '');
  assert.equal(nft.run('list tables'), 'table inet t\n');
  assert.equal(other.run('list tables'), '');
  const listed = nft.json('list tables') as { nftables: { table?: { name: string } }[] };
  assert.ok(listed.nftables.some((entry) => entry.table?.name === 't'));
  assert.equal(nft.json('add table inet u'), undefined);
});

test('a batch is all or nothing, and the next call does not carry its words', { skip }, (t) => {
  const nft = open(t);
  assert.throws(() => nft.run('add table inet a\nadd rule inet absent c drop'), {
    code: 'Nft',
    message: /No such file or directory/,
  });
  assert.equal(nft.run('list tables'), '');
  assert.throws(
    () => nft.run('blah'),
    (error: Error) => /syntax error/.test(error.message) && !/absent/.test(error.message),
  );
});

test('ten thousand elements go in by one call', { skip }, (t) => {
  const nft = open(t);
  const elements = Array.from({ length: 10_000 }, (_, i) => `10.1.${i >> 8}.${i & 255} . ${i} : ${i + 1}`);
  nft.run(
    `table inet t { map m { type ipv4_addr . inet_service : mark; elements = { ${elements.join(', ')} }; }\n }`,
  );
  const { nftables } = nft.json('list map inet t m') as { nftables: { map?: { elem: unknown[] } }[] };
  assert.equal(nftables.find((entry) => entry.map)?.map?.elem.length, 10_000);
});

test('a closed context is an error, not a crash', { skip }, (t) => {
  const nft = open(t);
  nft.close();
  nft.close();
  assert.throws(() => nft.run('list tables'), { code: 'Nft' });
});

test('programs that are started inherit no descriptor, of nftables neither', { skip }, async (t) => {
  open(t).run('add table inet x');
  const { stdout } = await run(['/bin/sh', '-c', 'ls -l /proc/$$/fd']);
  const inherited = [...stdout.matchAll(/ (\d+) -> /g)].map(([, fd]) => Number(fd));
  assert.deepEqual(
    inherited.filter((fd) => fd > 2),
    [],
    stdout,
  );
});
