import assert from 'node:assert/strict';
import fs from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { run } from '../kernel/spawn.ts';
import { testFolder } from '../kernel/test-netns.ts';
import { HeddleError } from '../lib/errors.ts';
import { paxRecord, tarOf } from './testing/make.ts';
import { createTarReader, type Entry } from './tar-reader.ts';

async function* pieces(bytes: Buffer, size: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function readAll(bytes: Buffer, size = 1000): Promise<(Entry & { text: Buffer })[]> {
  const reader = createTarReader(pieces(bytes, size));
  const found: (Entry & { text: Buffer })[] = [];
  for (let entry = await reader.next(); entry; entry = await reader.next()) {
    const whole = Buffer.alloc(entry.size);
    const stored: Buffer[] = [];
    for await (const chunk of reader.content()) stored.push(Buffer.from(chunk));
    const packed = Buffer.concat(stored);
    let at = 0;
    for (const { offset, length } of entry.pieces ?? [{ offset: 0, length: packed.length }]) {
      packed.copy(whole, offset, at, at + length);
      at += length;
    }
    found.push({ ...entry, text: whole });
  }
  return found;
}

for (const format of ['v7', 'ustar', 'oldgnu', 'gnu', 'posix'])
  test(`what GNU tar writes as ${format} is read as it was`, async (t) => {
    const folder = testFolder(t);
    const long = format === 'v7' ? 'n'.repeat(90) : `${'d'.repeat(90)}/${'n'.repeat(90)}`;
    const content = new Map<string, Buffer>([
      ['empty', Buffer.alloc(0)],
      ['block', Buffer.alloc(512, 1)],
      ['more', Buffer.alloc(100_001, 2)],
      [long, Buffer.from('long')],
    ]);
    if (format === 'gnu' || format === 'posix') content.set('x'.repeat(240), Buffer.from('longer'));
    for (const [name, bytes] of content) {
      fs.mkdirSync(join(folder, 'in', name, '..'), { recursive: true });
      fs.writeFileSync(join(folder, 'in', name), bytes);
    }
    fs.symlinkSync('block', join(folder, 'in/link'));
    const file = join(folder, 'a.tar');
    const { code, stderr } = await run([
      'tar',
      '-C',
      join(folder, 'in'),
      `--format=${format}`,
      '-cf',
      file,
      '.',
    ]);
    assert.equal(code, 0, stderr);
    const found = await readAll(fs.readFileSync(file), 777);
    for (const [name, bytes] of content) {
      const entry = found.find((one) => one.name === `./${name}`);
      assert.ok(entry?.text.equals(bytes), `${name} is there as it was`);
    }
    assert.equal(found.find(({ kind }) => kind === 'symlink')?.target, 'block');
  });

for (const format of ['gnu', 'posix --sparse-version=0.1', 'posix --sparse-version=1.0'])
  test(`a sparse file of many pieces as GNU tar writes it, ${format}`, async (t) => {
    const folder = testFolder(t);
    const file = fs.openSync(join(folder, 'holes'), 'w');
    for (let i = 0; i < 60; i++) fs.writeSync(file, Buffer.alloc(4096, i + 1), 0, 4096, i * 65_536);
    fs.ftruncateSync(file, 60 * 65_536);
    fs.closeSync(file);
    const archive = join(folder, 'a.tar');
    const flags = `-S -C ${folder} --format=${format} -cf ${archive} holes`.split(' ');
    const { code, stderr } = await run(['tar', ...flags]);
    assert.equal(code, 0, stderr);
    const [entry] = await readAll(fs.readFileSync(archive), 10_000);
    assert.equal(entry?.name, 'holes');
    assert.ok(entry.pieces && entry.pieces.length >= 60);
    assert.ok(entry.text.equals(fs.readFileSync(join(folder, 'holes'))));
  });

test('an archive that ends too early, or says nonsense, is refused with words', async () => {
  const whole = tarOf([{ name: 'a', content: 'x'.repeat(600), pax: { path: 'b' } }]);
  const refused = (bytes: Buffer) =>
    assert.rejects(readAll(bytes), (error) => error instanceof HeddleError && error.code === 'BadArchive');
  await refused(whole.subarray(0, 100));
  await refused(whole.subarray(0, 4 * 512 - 100));
  await refused(Buffer.from(whole).fill(0x39, 124, 130));
  await refused(tarOf([{ name: 'a', pax: { size: '-5' } }]));
  await refused(
    tarOf([
      { name: 'a', pax: { 'GNU.sparse.major': '1', 'GNU.sparse.realsize': '5' }, content: '9999999\n' },
    ]),
  );
  await refused(
    tarOf([
      { name: 'a', pax: { 'GNU.sparse.map': '0,5,3,5', 'GNU.sparse.size': '8' }, content: '0123456789' },
    ]),
  );
});

test('bytes of any kind are read or refused, never worse', async () => {
  const start = tarOf([
    { name: 'a/', pax: { path: 'b/', mtime: '1.5' } },
    { name: 'f', content: 'text'.repeat(200), pax: { 'GNU.sparse.map': '0,800', 'GNU.sparse.size': '800' } },
  ]);
  const change = fc.tuple(fc.nat(start.length - 1), fc.nat(255));
  await fc.assert(
    fc.asyncProperty(fc.array(change, { maxLength: 4 }), fc.boolean(), async (changes, mended) => {
      const bytes = Buffer.from(start);
      for (const [at, value] of changes) bytes[at] = value;
      if (mended) for (let at = 0; at + 512 <= bytes.length; at += 512) mendSum(bytes, at);
      await readAll(bytes, 300).catch((error: unknown) => {
        if (!(error instanceof HeddleError)) throw error;
      });
    }),
    { numRuns: 300 },
  );
});

/** So that what is changed behind it is looked at. */
function mendSum(bytes: Buffer, at: number): void {
  if (bytes.toString('latin1', at + 257, at + 262) !== 'ustar') return;
  bytes.fill(0x20, at + 148, at + 156);
  const sum = bytes.subarray(at, at + 512).reduce((all, byte) => all + byte, 0);
  bytes.write(`${sum.toString(8).padStart(6, '0')}\0 `, at + 148, 'latin1');
}

test('extended headers without end are refused, those for all entries as well', async () => {
  const one = (type: string, key: string) => {
    const bytes = tarOf([{ name: 'pax', type, content: paxRecord(key, 'x'.repeat(300_000)).toString() }]);
    return bytes.subarray(0, -1024);
  };
  for (const type of ['x', 'g']) {
    const many = Array.from({ length: 4 }, (_, i) => one(type, `key${i}`));
    await assert.rejects(readAll(Buffer.concat([...many, tarOf([{ name: 'a' }])])), /extended headers/);
  }
});
