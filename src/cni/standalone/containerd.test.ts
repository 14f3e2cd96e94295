import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import fs from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { needsRoot } from '../../kernel/test-netns.ts';
import { installPlugin } from '../install.ts';
import { type Host, isCutOff, ROOT, testHost, until } from '../testing/host.ts';
import { containerdConfig } from '../testing/containerd.ts';
import { type Cri, message, openCri, parts } from '../testing/cri.ts';
import { removeCgroups, tinyRoot } from '../testing/image.ts';

const CGROUP = `heddle-test-${process.pid}-containerd`;
const IMAGE = 'localhost/tiny:latest';

/** Debian's containerd with everything of its own in the folder of the test. */
async function startContainerd(host: Host): Promise<Cri> {
  const socket = join(host.folder, 'containerd.sock');
  const file = join(host.folder, 'containerd.toml');
  fs.writeFileSync(
    file,
    containerdConfig({
      folder: host.folder,
      socket,
      binDir: join(host.folder, 'bin'),
      confDir: join(host.folder, 'net.d'),
      image: IMAGE,
    }),
  );
  const log = join(host.folder, 'containerd.log');
  const running = host.start(['containerd', '--config', file], {}, log);
  host.atEnd(async () => {
    const ended = new Promise((resolve) => running.once('exit', resolve));
    if (running.exitCode === null && running.kill()) await ended;
  });
  await until('containerd', () => {
    assert.equal(running.exitCode, null, fs.readFileSync(log, 'utf8'));
    return fs.existsSync(socket);
  });
  await importImage(host, socket);
  const cri = openCri(socket);
  host.atEnd(async () => cri.close());
  await until('the CRI with its network', async () => {
    const { stdout } = await cri.call('Status', message()).then(
      (answer) => ({ stdout: answer.toString('latin1') }),
      () => ({ stdout: '' }),
    );
    return stdout.includes('NetworkReady') && !stdout.includes('NetworkPluginNotReady');
  });
  return cri;
}

/** As `docker save` writes it: one layer, a command that serves. */
async function importImage(host: Host, socket: string): Promise<void> {
  const folder = join(host.folder, 'archive');
  fs.mkdirSync(folder);
  const layer = join(folder, 'layer.tar');
  assert.equal((await host.run(['tar', '-C', tinyRoot(host.folder), '-cf', layer, '.'])).code, 0);
  const { stdout } = await host.run(['sha256sum', layer]);
  const config = {
    architecture: process.arch === 'arm64' ? 'arm64' : 'amd64',
    os: 'linux',
    config: { Cmd: ['/bin/httpd', '-f', '-p', '80', '-h', '/www'] },
    rootfs: { type: 'layers', diff_ids: [`sha256:${stdout.slice(0, 64)}`] },
  };
  fs.writeFileSync(join(folder, 'config.json'), JSON.stringify(config));
  fs.writeFileSync(
    join(folder, 'manifest.json'),
    JSON.stringify([{ Config: 'config.json', RepoTags: [IMAGE], Layers: ['layer.tar'] }]),
  );
  const archive = join(host.folder, 'archive.tar');
  assert.equal((await host.run(['tar', '-C', folder, '-cf', archive, '.'])).code, 0);
  const imported = await host.run([
    'ctr',
    '--address',
    socket,
    '--namespace',
    'k8s.io',
    'images',
    'import',
    '--snapshotter',
    'native',
    archive,
  ]);
  assert.equal(imported.code, 0, imported.stderr);
}

/** Resolves with its id and addresses. */
async function runSandbox(cri: Cri, name: string, ...ports: Buffer[]) {
  const config = message(
    [1, message([1, name], [2, randomUUID()], [3, 'shop'])],
    [2, name],
    [4, message([1, '192.0.2.53'])],
    ...ports.map((port) => [5, port] as const),
    [8, message([1, `/${CGROUP}`])],
  );
  const id =
    parts(await cri.call('RunPodSandbox', message([1, config])))
      .get(1)?.[0]
      ?.toString() ?? '';
  const status = parts(await cri.call('PodSandboxStatus', message([1, id]))).get(1)?.[0] ?? Buffer.alloc(0);
  const network = parts(parts(status).get(5)?.[0] ?? Buffer.alloc(0));
  const further = (network.get(2) ?? []).map((ip) => parts(ip).get(1)?.[0]?.toString() ?? '');
  return { id, addresses: [network.get(1)?.[0]?.toString() ?? '', ...further] };
}

test('containerd by its CRI: sandboxes reach each other, host ports work, removal leaves nothing', {
  skip: needsRoot,
}, async (t) => {
  const host = await testHost(t, {}, { ownMounts: true });
  host.atEnd(() => removeCgroups(CGROUP));
  await host.startAgent();
  await installPlugin({
    binDir: join(host.folder, 'bin'),
    confDir: join(host.folder, 'net.d'),
    pluginFile: join(ROOT, 'build/heddle-cni'),
    network: 'test',
    socket: host.socket,
  });
  // containerd asks for it beside every network.
  fs.symlinkSync('/usr/lib/cni/loopback', join(host.folder, 'bin/loopback'));
  const cri = await startContainerd(host);
  const before = host.inventory();
  const made: string[] = [];
  const removeAll = async () => {
    for (const id of made.splice(0)) {
      await cri.call('StopPodSandbox', message([1, id]));
      await cri.call('StopPodSandbox', message([1, id]));
      await cri.call('RemovePodSandbox', message([1, id]));
    }
  };
  host.atEnd(removeAll);
  const web = await runSandbox(
    cri,
    'web',
    message([2, 80], [3, 8080]),
    message([1, 0], [2, 80], [3, 8081], [4, '127.0.0.1']),
  );
  made.push(web.id);
  const two = await runSandbox(cri, 'two');
  made.push(two.id);
  assert.equal(web.addresses.length, 2, web.addresses.join());
  const container = (await host.run(['ip', 'netns', 'list'])).stdout
    .split('\n')
    .map((line) => line.split(' ')[0] ?? '')
    .filter(Boolean);
  assert.equal(container.length, 2, 'containerd keeps their namespaces under /run/netns');
  const fetch = (url: string, ...prefix: string[]) =>
    until(`${prefix.join(' ')}: ${url}`, async () => {
      const { stdout } = await host.run([...prefix, '/bin/busybox', 'wget', '-qO-', url]);
      return stdout === 'a container';
    });
  const own = await Promise.all(
    container.map(
      async (name) => (await host.run(['ip', 'netns', 'exec', name, 'ip', '-br', 'address'])).stdout,
    ),
  );
  const twoNs = container[own.findIndex((text) => text.includes(two.addresses[0] ?? 'none'))] ?? '';
  for (const address of web.addresses)
    await fetch(
      `http://${address.includes(':') ? `[${address}]` : address}/name`,
      'nsenter',
      `--net=/run/netns/${twoNs}`,
    );
  await fetch('http://192.0.2.1:8080/name', 'nsenter', `--net=${host.outside.path}`);
  await fetch('http://127.0.0.1:8080/name');
  await fetch('http://127.0.0.1:8081/name');
  assert.ok(await isCutOff(host.outside, '192.0.2.1', 8081), 'a port of the loopback only');
  assert.ok(
    host.inventory().some((line) => /^link hd.* heddle:pod:shop\/web:/.test(line)),
    "marked as the pod's",
  );
  await removeAll();
  assert.deepEqual(host.inventory(), before);
});
