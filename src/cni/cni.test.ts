import assert from 'node:assert/strict';
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { before, beforeEach, afterEach, test } from 'node:test';
import { createIpam, type Ipam } from '../ipam/ipam.ts';
import { closeNetns, createNetns, deleteNetns, type Netns, openNetns } from '../kernel/netns.ts';
import { openRoute, type Route } from '../kernel/route.ts';
import { connectTcp, listenTcp } from '../kernel/sockets.ts';
import { run } from '../kernel/spawn.ts';
import { writeSysctl } from '../kernel/sysctl.ts';
import { silentLog } from '../lib/log.ts';
import { createConflist, parseConflist } from './conflist.ts';
import { hostInterfaceName } from './names.ts';
import { removeOrphans } from './orphans.ts';
import { createPlugin } from './plugin.ts';
import { type CniServer, serveCni } from './server.ts';
import type { CniResult } from './types.ts';

const root = join(import.meta.dirname, '../..');
const binary = join(root, 'build/heddle-cni');

let folder: string;
let nodeNs: Netns;
let node: Route;
let ipam: Ipam;
let server: CniServer;
let pods: string[] = [];
let socketPath: string;

before(async () => {
  const made = await run(['make', '-s', '-C', join(root, 'native')]);
  assert.equal(made.code, 0, made.stderr);
});

/** What the data path is told of new links, for a test to watch. */
let guard: (link: { name: string; up: boolean }) => void;

beforeEach(async () => {
  guard = () => {};
  folder = await mkdtemp(join(tmpdir(), `heddle-test-${process.pid}-cni-`));
  nodeNs = createNetns(join(folder, 'node'));
  node = openRoute(nodeNs);
  for (const own of ['10.9.0.1/32', 'fd00:9::1/128']) node.replaceAddress('lo', own, { nodad: true });
  ipam = await createIpam({
    cidrs: ['10.9.1.0/24', 'fd00:9:1::/64'],
    path: join(folder, 'ipam.json'),
    log: silentLog,
  });
  socketPath = join(folder, 'cni.sock');
  server = await serveCni({
    socketPath,
    handlers: createPlugin({ ipam, node, mtu: 1450, guard: (link) => guard(link), log: silentLog }),
    log: silentLog,
  });
});

afterEach(async () => {
  await server.close();
  node.close();
  for (const path of [...pods, nodeNs.path]) deleteNetns(path);
  closeNetns(nodeNs);
  pods = [];
  await rm(folder, { recursive: true, force: true });
});

function podNetns(name: string): string {
  const path = join(folder, name);
  closeNetns(createNetns(path));
  pods.push(path);
  return path;
}

async function cni(command: string, netns: string, config: object = {}, env: Record<string, string> = {}) {
  const { code, stdout } = await run([binary], {
    input: JSON.stringify({ cniVersion: '1.1.0', name: 'heddle', type: 'heddle', ...config }),
    env: {
      CNI_COMMAND: command,
      CNI_CONTAINERID: 'pod-1',
      CNI_NETNS: netns,
      CNI_IFNAME: 'eth0',
      CNI_PATH: '/x',
      HEDDLE_CNI_SOCKET: socketPath,
      ...env,
    },
  });
  return {
    code,
    out: stdout === '' ? undefined : (JSON.parse(stdout) as CniResult & { code: number; msg: string }),
  };
}

/** True when a connection from `from` to `address` inside `to` is made. */
async function reaches(from: Netns, to: string, address: string): Promise<boolean> {
  const ns = openNetns(to);
  const server = createServer((socket) => socket.end()).listen({ fd: listenTcp(ns, '::', 80) });
  try {
    (await connectTcp(from, { host: address, port: 80, timeoutMs: 2000 })).destroy();
    return true;
  } catch {
    return false;
  } finally {
    server.close();
    closeNetns(ns);
  }
}

test('the data path hears of a link before it is up, and ADD leaves nothing where it cannot shut it', async () => {
  const seen: { name: string; up: boolean }[] = [];
  guard = ({ name, up }) => void seen.push({ name, up });
  const name = hostInterfaceName({ containerId: 'pod-1', ifName: 'eth0' });
  assert.equal((await cni('ADD', podNetns('one'))).code, 0);
  assert.deepEqual(seen, [{ name, up: false }]);
  assert.equal(node.link(name)?.up, true);
  guard = () => {
    throw new Error('no more programs');
  };
  const { code, out } = await cni('ADD', podNetns('two'), {}, { CNI_CONTAINERID: 'pod-2' });
  assert.notEqual(code, 0);
  assert.match(out?.msg ?? '', /no more programs/);
  assert.equal(node.link(hostInterfaceName({ containerId: 'pod-2', ifName: 'eth0' })), undefined);
});

test('ADD connects a pod over both families and DEL leaves nothing', async () => {
  const netns = podNetns('pod');
  const { code, out } = await cni(
    'ADD',
    netns,
    {},
    { CNI_ARGS: 'K8S_POD_NAMESPACE=shop;K8S_POD_NAME=cart;K8S_POD_UID=u1' },
  );
  assert.equal(code, 0, JSON.stringify(out));
  assert.equal(out!.ips!.length, 2);
  assert.deepEqual(
    out!.interfaces!.map(({ sandbox }) => sandbox),
    [undefined, netns],
  );
  const host = node.link(hostInterfaceName({ containerId: 'pod-1', ifName: 'eth0' }))!;
  assert.equal(host.alias, 'heddle:pod:shop/cart:u1');
  assert.equal(host.mtu, 1450);
  for (const { address } of out!.ips!)
    assert.ok(await reaches(nodeNs, netns, address.split('/')[0]!), address);
  assert.equal((await cni('CHECK', netns, { prevResult: out })).code, 0);

  assert.equal((await cni('DEL', netns)).code, 0);
  assert.deepEqual(
    node.links().map(({ name }) => name),
    ['lo'],
  );
  assert.deepEqual(ipam.list(), []);
  assert.equal((await cni('CHECK', netns, { prevResult: out })).out!.code, 3);
  assert.equal((await cni('DEL', '')).code, 0, 'DEL again, with the namespace gone');
});

test('two pods of a node reach each other', async () => {
  const one = podNetns('one');
  const two = podNetns('two');
  for (const key of ['net.ipv4.ip_forward', 'net.ipv6.conf.all.forwarding']) writeSysctl(nodeNs, key, 1);
  await cni('ADD', one);
  const { out } = await cni('ADD', two, {}, { CNI_CONTAINERID: 'pod-2' });
  const opened = openNetns(one);
  for (const { address } of out!.ips!) assert.ok(await reaches(opened, two, address.split('/')[0]!), address);
  closeNetns(opened);
});

test('ADD a second time gives the same addresses', async () => {
  const netns = podNetns('pod');
  const first = await cni('ADD', netns);
  const second = await cni('ADD', netns);
  assert.deepEqual(second.out!.ips, first.out!.ips);
});

test('a failed ADD leaves no link and no address', async () => {
  const netns = podNetns('pod');
  const { code, out } = await cni('ADD', netns, {}, { CNI_IFNAME: 'lo' });
  assert.equal(code, 1);
  assert.match(out!.msg, /attach lo of none\/pod-1/);
  assert.deepEqual(
    node.links().map(({ name }) => name),
    ['lo'],
  );
  assert.deepEqual(ipam.list(), []);
});

test('errors are told in the words of the specification', async () => {
  assert.equal((await cni('ADD', join(folder, 'nowhere'))).out!.code, 3);
  assert.equal((await cni('ADD', '/proc/self/ns/net')).out!.code, 4);
  assert.equal((await cni('ADD', podNetns('pod'), { mtu: 5 })).out!.code, 7);
  assert.equal((await cni('ADD', '')).out!.code, 4);
  assert.equal((await cni('ADD', '/x', { cniVersion: '9.0.0' })).out!.code, 1);
});

test('a full pool is told with its range', async () => {
  for (let i = 0; i < 253; i++) await ipam.allocate({ key: `${i}/eth0`, label: 'shop/many' });
  const { out } = await cni('ADD', podNetns('pod'));
  assert.equal(out!.code, 101);
  assert.match(out!.msg, /10\.9\.1\.0\/24.*shop\/many \(253\)/);
  // Whoever runs goes on, and the node stays Ready.
  assert.equal((await cni('STATUS', '')).code, 0);
});

test('GC removes what the runtime does not list', async () => {
  await cni('ADD', podNetns('pod'));
  await cni('ADD', podNetns('pod2'), {}, { CNI_CONTAINERID: 'pod-2' });
  await cni('GC', '', { 'cni.dev/valid-attachments': [{ containerID: 'pod-2', ifname: 'eth0' }] });
  assert.deepEqual(
    ipam.list().map(({ key }) => key),
    ['pod-2/eth0'],
  );
  assert.equal(node.links().length, 2);
});

test('VERSION is answered with no agent at all', async () => {
  const { out } = await cni('VERSION', '', { cniVersion: '0.4.0' }, { HEDDLE_CNI_SOCKET: '/nowhere' });
  assert.deepEqual(out, { cniVersion: '0.4.0', supportedVersions: ['0.3.1', '0.4.0', '1.0.0', '1.1.0'] });
});

test('the socket can be named by the configuration', async () => {
  const { code } = await cni(
    'ADD',
    podNetns('pod'),
    { a: { socket: '/wrong' }, socket: socketPath },
    { HEDDLE_CNI_SOCKET: '' },
  );
  assert.equal(code, 0);
});

test('an agent that hangs up is "try again later"', async (t) => {
  const path = join(folder, 'deaf.sock');
  const deaf = createServer((socket) => socket.destroy()).listen(path);
  t.after(() => deaf.close());
  const { code, out } = await cni('ADD', '/x', { cniVersion: '1.0.0' }, { HEDDLE_CNI_SOCKET: path });
  assert.equal(code, 1);
  assert.equal(out!.code, 11);
  assert.equal(out!.cniVersion, '1.0.0');
});

test('a list runs in order with each result handed on, and back in reverse', async () => {
  const seen = join(folder, 'seen');
  const bin = join(folder, 'bin');
  await mkdir(bin);
  for (const name of ['first', 'second'])
    await script(
      join(bin, name),
      `input=$(cat); echo "${name} $CNI_COMMAND $input" >> ${seen}
if [ $CNI_COMMAND = ADD ]; then echo '{"cniVersion":"1.0.0","ips":[{"address":"10.0.0.1/32"}],"by":"${name}"}'; fi`,
    );
  const list = parseConflist(
    JSON.stringify({
      cniVersion: '1.0.0',
      name: 'net',
      plugins: [{ type: 'first' }, { type: 'second', capabilities: { portMappings: true } }],
    }),
    'test',
  );
  const make = () => createConflist({ list, path: [bin], cacheDir: join(folder, 'cache') });
  const conf = {
    containerId: 'c',
    ifName: 'eth0',
    netns: '/x',
    capabilities: { portMappings: [1], bandwidth: {} },
  };
  const result = await make().add(conf);
  assert.equal((result as { by?: string }).by, 'second');
  await make().del(conf);
  const lines = (await readFile(seen, 'utf8')).trim().split('\n');
  assert.deepEqual(
    lines.map((line) => line.split(' ', 2).join(' ')),
    ['first ADD', 'second ADD', 'second DEL', 'first DEL'],
  );
  const configs = lines.map((line) => JSON.parse(line.slice(line.indexOf('{'))));
  assert.equal(configs[0].prevResult, undefined);
  assert.equal(configs[1].prevResult.by, 'first');
  assert.deepEqual(configs[1].runtimeConfig, { portMappings: [1] });
  assert.equal(configs[3].prevResult.by, 'second', 'DEL has the cached result, after a restart too');
  assert.deepEqual(await make().list(), []);
});

test('a list of which a later plugin fails is taken back', async () => {
  const bin = join(folder, 'bin');
  await mkdir(bin);
  await script(
    join(bin, 'broken'),
    `if [ $CNI_COMMAND = ADD ]; then echo '{"cniVersion":"1.0.0","code":7,"msg":"no"}'; exit 1; fi`,
  );
  const conflist = createConflist({
    list: { cniVersion: '1.0.0', name: 'net', plugins: [{ type: 'heddle-cni' }, { type: 'broken' }] },
    path: [join(root, 'build'), bin],
    cacheDir: join(folder, 'cache'),
    env: { HEDDLE_CNI_SOCKET: socketPath },
  });
  const netns = podNetns('pod');
  await assert.rejects(conflist.add({ containerId: 'c', ifName: 'eth0', netns }), /broken ADD: no/);
  assert.deepEqual(ipam.list(), []);
  assert.equal(node.links().length, 1);
});

test('a check that could not be made is no fault of the attachment', async () => {
  const conflist = createConflist({
    list: { cniVersion: '1.0.0', name: 'net', plugins: [{ type: 'heddle-cni' }] },
    path: [join(folder, 'being-upgraded')],
    cacheDir: join(folder, 'cache'),
  });
  await assert.rejects(conflist.check({ containerId: 'c', ifName: 'eth0', netns: '/x' }), { code: 11 });
});

async function script(path: string, body: string): Promise<void> {
  await writeFile(path, `#!/bin/sh\n${body}\n`);
  await chmod(path, 0o755);
}

test('what nobody owns is removed, and nothing else', async () => {
  await cni('ADD', podNetns('pod'));
  await cni('ADD', podNetns('pod2'), {}, { CNI_CONTAINERID: 'pod-2' });
  await ipam.release('pod-2/eth0');
  await ipam.allocate({ key: 'pod-3/eth0', label: 'shop/lost' });
  node.addVeth({ name: 'foreign0', alias: 'somebody else', peer: { name: 'foreign1' } });
  const removed = await removeOrphans({ node, ipam, known: new Set(['pod-1']) });
  assert.equal(removed.length, 2, removed.join());
  assert.deepEqual(
    ipam.list().map(({ key }) => key),
    ['pod-1/eth0'],
  );
  const left = node.links().map(({ name }) => name);
  assert.ok(
    left.includes('foreign0') && left.includes(hostInterfaceName({ containerId: 'pod-1', ifName: 'eth0' })),
  );
  assert.equal(left.length, 4);
});
