import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Command } from 'commander';
import { DEFAULT_DATA_DIR } from '../cluster/paths.ts';
import { clusterDir, share, withDataDir } from './flags.ts';

function dataDirOf(...argv: string[]): { dataDir: string; source: string | undefined } {
  const command = withDataDir(new Command('up').exitOverride());
  command.parse(argv, { from: 'user' });
  return {
    dataDir: command.opts<{ dataDir: string }>().dataDir,
    source: command.getOptionValueSource('dataDir'),
  };
}

test('a cluster is picked by its name or by its folder, not by both', () => {
  assert.deepEqual(dataDirOf(), { dataDir: DEFAULT_DATA_DIR, source: 'default' });
  assert.deepEqual(dataDirOf('--cluster', 'b'), { dataDir: clusterDir('b'), source: 'cli' });
  assert.deepEqual(dataDirOf('--data-dir', '/x'), { dataDir: '/x', source: 'cli' });
  for (const both of [
    ['--cluster', 'b', '--data-dir', '/x'],
    ['--data-dir', '/x', '--cluster', 'b'],
  ])
    assert.throws(() => dataDirOf(...both), {
      code: 'BadFlag',
      message: /--cluster "b" and --data-dir "\/x"/,
    });
  for (const name of ['', '..', 'a/b', 'B', '-a'])
    assert.throws(() => dataDirOf(`--cluster=${name}`), { code: 'BadFlag' }, name);
});

test('a share is a percentage or a fraction, above 0 and of half at most', () => {
  assert.equal(share('--map-memory', '0.25%'), 0.0025);
  assert.equal(share('--map-memory', '0.005'), 0.005);
  assert.equal(share('--map-memory', '50%'), 0.5);
  for (const text of ['', '0', '0%', '51%', '1', '-1%', '1 %', 'x', '.5', '1e-3'])
    assert.throws(() => share('--map-memory', text), { code: 'BadFlag' }, text);
});
