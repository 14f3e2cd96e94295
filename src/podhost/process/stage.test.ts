import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { createTestNode, eventually, type TestNode } from '../test-node.ts';
import { add, logOf, processPod, sh, statusOf } from './test-pods.ts';

let node: TestNode;
beforeEach(async () => {
  node = await createTestNode();
});
afterEach(() => node.close());

const at = (mountPath: string, subPath?: string, readOnly = false) => ({
  name: 'data',
  mountPath,
  ...(subPath === undefined ? {} : { subPath }),
  ...(readOnly ? { readOnly } : {}),
});
const conf = (mountPath: string) => ({ name: 'conf', mountPath });

test('parts of an emptyDir, and what is mounted inside of one, stay within the volume, whatever lies there', async () => {
  const metadata = { name: 'conf', namespace: 'shop' };
  node.configMaps.set('shop/conf', { apiVersion: 'v1', kind: 'ConfigMap', metadata, data: { key: 'set' } });
  await node.startHost();
  const secret = join(node.folder, 'secret');
  mkdirSync(secret, { mode: 0o777 });
  mkdirSync(join(secret, 'inner'));
  const root = '/'.padEnd(40, '../');
  const links = [`ln -s ${secret} out`, `ln -s ${root}${secret} up`, `ln -s /oldroot${secret} old`];
  const prepare = `cd /data; mkdir real; echo kept > real/file; ln -s real good; mkdir place; ${links.join('; ')}; ln -s none dangling`;
  const show = (name: string, script: string, volumeMounts: ReturnType<typeof at>[]) =>
    sh(name, script, { volumeMounts });
  const containers = [
    show('made', 'echo new > /part/x && stat -c %a /part && cat /part/x', [at('/part', 'made/for/us')]),
    show('linked', 'cat /part/file', [at('/part', 'good')]),
    show('file', 'cat /etc/part', [at('/etc/part', 'real/file')]),
    show('fixed', 'cat /part/file; touch /part/no 2>/dev/null || echo fixed', [at('/part', 'real', true)]),
    show(
      'nested',
      'cat /data/place/conf/key /data/real/file; touch /data/place/conf/y 2>/dev/null || echo fixed',
      [at('/data'), conf('/data/place/conf')],
    ),
    show('within', 'cat /var/run/secrets/here/key', [at('/var/run', 'real'), conf('/var/run/secrets/here')]),
    ...['out', 'up', 'old', 'out/inner', 'old/new', 'dangling', 'dangling/new'].map((path, i) =>
      show(`bad-${i}`, 'echo in; ls /part', [at('/part', path)]),
    ),
    ...['out', 'up/new', 'old/new', 'dangling/new'].map((path, i) =>
      show(`worse-${i}`, `echo in; ls /data/${path}`, [at('/data'), conf(`/data/${path}`)]),
    ),
  ];
  add(
    node,
    processPod('parts', containers, {
      restartPolicy: 'Never',
      initContainers: [show('prepare', prepare, [at('/data')])],
      volumes: [
        { name: 'data', emptyDir: {} },
        { name: 'conf', configMap: { name: 'conf' } },
      ],
    }),
  );
  await eventually('all have ended', () =>
    ['Failed', 'Succeeded'].includes(node.pods.get('uid-parts')?.status?.phase ?? ''),
  );
  const log = (name: string) => logOf(node, 'parts', name);
  assert.equal(log('made'), '777\nnew\n');
  assert.equal(log('linked'), 'kept\n');
  assert.equal(log('file'), 'kept\n');
  assert.equal(log('fixed'), 'kept\nfixed\n');
  assert.equal(log('nested'), 'setkept\nfixed\n');
  assert.equal(log('within'), 'set\n');
  for (const [i, { name }] of containers.entries()) {
    if (!/^(bad|worse)/.test(name)) continue;
    assert.equal(statusOf(node, 'parts', i)?.state?.terminated?.reason, 'StartError', log(name));
    assert.doesNotMatch(log(name), /^in$/m);
    assert.match(log(name), /failed to prepare subPath|no place to mount/);
  }
  assert.deepEqual(readdirSync(secret, { recursive: true }), ['inner']);
  assert.ok(!existsSync(join(node.folder, 'state/pods/uid-parts/stage/0')), 'nothing of it stays');
});
