import assert from 'node:assert/strict';
import fs from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { testFolder } from '../kernel/test-netns.ts';
import { parseConflist } from './conflist.ts';
import { FURTHER, installPlugin, uninstallPlugin } from './install.ts';

function setUp(t: TestContext) {
  const folder = testFolder(t);
  const pluginFile = join(folder, 'build');
  fs.writeFileSync(pluginFile, 'a program that says HCNI1 to an agent');
  return {
    pluginFile,
    binDir: join(folder, 'opt/cni/bin'),
    confDir: join(folder, 'etc/cni/net.d'),
    network: 'net',
    socket: '/run/x.sock',
  };
}

test('install puts the plugin and its list there, once, and uninstall removes both', async (t) => {
  const options = setUp(t);
  const list = join(options.confDir, '10-net.conflist');
  const binary = join(options.binDir, 'heddle-cni');
  const further = FURTHER.map((name) => ({ path: join(options.binDir, name), changed: true }));
  assert.deepEqual(await installPlugin(options), [
    { path: binary, changed: true },
    ...further,
    { path: list, changed: true },
  ]);
  assert.ok(fs.readFileSync(join(options.binDir, 'heddle-bridge')).includes('HCNI1'));
  assert.equal(fs.statSync(binary).mode & 0o777, 0o755);
  const { plugins, cniVersion } = parseConflist(fs.readFileSync(list, 'utf8'), list);
  assert.equal(cniVersion, '1.0.0');
  assert.equal(plugins[0]?.['socket'], '/run/x.sock');
  const before = fs.statSync(list).mtimeMs;
  assert.ok(
    (await installPlugin(options)).every(({ changed }) => !changed),
    'a second time changes nothing',
  );
  assert.equal(fs.statSync(list).mtimeMs, before);
  fs.writeFileSync(options.pluginFile, 'a newer program that says HCNI1 ');
  assert.deepEqual(
    (await installPlugin(options)).filter(({ changed }) => changed),
    [{ path: binary, changed: true }],
  );
  const all = ['heddle-cni', ...FURTHER].toSorted();
  assert.deepEqual(fs.readdirSync(options.binDir).toSorted(), all, 'nothing half written stays');
  assert.ok((await uninstallPlugin(options)).every(({ changed }) => changed));
  assert.deepEqual([...fs.readdirSync(options.binDir), ...fs.readdirSync(options.confDir)], []);
  assert.ok((await uninstallPlugin(options)).every(({ changed }) => !changed));
});

test('files of others are left alone', async (t) => {
  const options = setUp(t);
  fs.mkdirSync(options.confDir, { recursive: true });
  const list = join(options.confDir, '10-net.conflist');
  fs.writeFileSync(list, '{"name":"net","plugins":[{"type":"bridge"}]}');
  await assert.rejects(installPlugin(options), { code: 'CniFileForeign' });
  await assert.rejects(uninstallPlugin(options), { code: 'CniFileForeign' });
  assert.match(fs.readFileSync(list, 'utf8'), /bridge/);
  fs.rmSync(list);
  fs.mkdirSync(options.binDir, { recursive: true });
  fs.writeFileSync(join(options.binDir, 'heddle-cni'), 'another program');
  await assert.rejects(installPlugin(options), { code: 'CniFileForeign' });
  assert.deepEqual(fs.readdirSync(options.confDir), [], 'no list without its program');
});

test('the plugin stays while another list names it', async (t) => {
  const options = setUp(t);
  await installPlugin(options);
  await installPlugin({ ...options, network: 'second' });
  assert.deepEqual((await uninstallPlugin(options)).length, 1);
  assert.ok(fs.existsSync(join(options.binDir, 'heddle-cni')));
  assert.equal((await uninstallPlugin({ ...options, network: 'second' })).length, 2 + FURTHER.length);
  assert.deepEqual(fs.readdirSync(options.binDir), []);
});

test('what is not built is said', async (t) => {
  await assert.rejects(installPlugin({ ...setUp(t), pluginFile: '/nowhere' }), { code: 'CniInstall' });
});
