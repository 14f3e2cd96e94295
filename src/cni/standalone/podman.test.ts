import assert from 'node:assert/strict';
import fs from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { needsRoot } from '../../kernel/test-netns.ts';
import { installPlugin } from '../install.ts';
import { type Host, isCutOff, ROOT, testHost, until } from '../testing/host.ts';
import { removeCgroups, tinyRoot } from '../testing/image.ts';

const CGROUP = `heddle-test-${process.pid}-podman`;

/** Debian's podman with everything of its own in the folder of the test. */
function podmanOf(host: Host) {
  const write = (name: string, text: string): string => {
    fs.writeFileSync(join(host.folder, name), text);
    return join(host.folder, name);
  };
  const env = {
    CONTAINERS_CONF: write(
      'containers.conf',
      `[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
cgroups = "enabled"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "none"
[network]
network_backend = "cni"
cni_plugin_dirs = ["${host.folder}/bin"]
network_config_dir = "${host.folder}/net.d"
default_network = "test"
`,
    ),
    CONTAINERS_STORAGE_CONF: write(
      'storage.conf',
      `[storage]\ndriver = "vfs"\ngraphroot = "${host.folder}/images"\nrunroot = "/run/containers"\n`,
    ),
  };
  return async (...argv: string[]): Promise<string> => {
    const all = ['podman', '--runtime', 'runc', '--cgroup-manager', 'cgroupfs', ...argv];
    const { code, stdout, stderr } = await host.run(all, env);
    assert.equal(code, 0, `podman ${argv.join(' ')}: ${stderr}`);
    return stdout.trim();
  };
}

test('podman: containers reach each other by address, name and alias, host ports and chosen addresses work, rm leaves nothing', {
  skip: needsRoot,
}, async (t) => {
  const host = await testHost(t, { dns: { domain: 'dns.test', servers: [] } }, { ownMounts: true });
  const podman = podmanOf(host);
  host.atEnd(() => removeCgroups(CGROUP));
  await host.startAgent();
  await installPlugin({
    binDir: join(host.folder, 'bin'),
    confDir: join(host.folder, 'net.d'),
    pluginFile: join(ROOT, 'build/heddle-cni'),
    network: 'test',
    socket: host.socket,
  });
  const image = join(host.folder, 'image.tar');
  assert.equal((await host.run(['tar', '-C', tinyRoot(host.folder), '-cf', image, '.'])).code, 0);
  await podman('import', '--change', 'CMD ["/bin/httpd","-f","-p","80","-h","/www"]', image, 'tiny');
  const before = host.inventory();
  host.atEnd(() => podman('rm', '-af', '-t', '0'));
  const common = ['run', '-d', '--cgroup-parent', `/${CGROUP}`, '--network', 'test'];
  await podman(
    ...common,
    '--name',
    'web',
    '--network-alias',
    'db',
    '-p',
    '8080:80',
    '--ip',
    '10.9.1.80',
    '--mac-address',
    '02:00:00:00:00:80',
    'tiny',
  );
  await podman(...common, '--name', 'two', '-p', '127.0.0.1:8081:80/tcp', 'tiny');
  const told = JSON.parse(await podman('inspect', 'web')) as {
    NetworkSettings: {
      Networks: Record<string, { IPAddress: string; GlobalIPv6Address: string; MacAddress: string }>;
    };
  }[];
  const web = told[0]?.NetworkSettings.Networks['test'];
  assert.deepEqual([web?.IPAddress, web?.MacAddress], ['10.9.1.80', '02:00:00:00:00:80']);
  const fetch = async (what: string, url: string, ...prefix: string[]) => {
    const get = async () => {
      const { stdout } = await host.run([...prefix, '/bin/busybox', 'wget', '-qO-', url]);
      return stdout === 'a container';
    };
    await until(`${what}: ${url}`, get);
  };
  const fromTwo = (url: string) =>
    until(`two asks ${url}`, () =>
      podman('exec', 'two', 'wget', '-qO-', url).then(
        (text) => text === 'a container',
        () => false,
      ),
    );
  await fromTwo('http://10.9.1.80/name');
  await fromTwo(`http://[${web?.GlobalIPv6Address}]/name`);
  for (const name of ['db', 'web', 'DB.dns.test']) await fromTwo(`http://${name}/name`);
  await fromTwo('http://192.0.2.1:8080/name');
  await fetch('the machine', 'http://127.0.0.1:8080/name');
  await fetch('the machine', 'http://127.0.0.1:8081/name');
  await fetch('outside', 'http://192.0.2.1:8080/name', 'nsenter', `--net=${host.outside.path}`);
  assert.ok(await isCutOff(host.outside, '192.0.2.1', 8081), 'a port of the loopback only');
  await podman('restart', '-t', '0', 'web');
  await fromTwo('http://10.9.1.80/name');
  await podman('rm', '-af', '-t', '0');
  assert.deepEqual(host.inventory(), before);
  const addresses = () => host.inventory().filter((line) => line.startsWith('address lo '));
  assert.deepEqual(addresses(), [
    'address lo 10.9.1.1/32',
    'address lo 127.0.0.1/8',
    'address lo ::1/128',
    'address lo fd00:9:1::1/128',
  ]);
  await host.stopAgent();
  assert.deepEqual(
    addresses(),
    ['address lo 127.0.0.1/8', 'address lo ::1/128'],
    'nobody answers there any more',
  );
});
