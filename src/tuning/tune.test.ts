import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { type ChildProcess, spawnIn } from '../kernel/spawn.ts';
import { isAlive, startTime } from '../kernel/process.ts';
import { readSysctl, writeSysctl } from '../kernel/sysctl.ts';
import { needsRoot, testFolder, testNetns } from '../kernel/test-netns.ts';
import { fileLedger } from './ledger.ts';
import { holderLives } from './places.ts';
import { builtInProfiles, type TuningProfile } from './profile.ts';
import { sameForm, scopeOf, type Sysctls, sysctlsOf } from './sysctls.ts';
import { applyTuning, endDeadLeases, type Place, resetTuning, showTuning, type TuneDeps } from './tune.ts';

const skip = needsRoot;
const throughput = builtInProfiles[0] as TuningProfile;
const WHOLE = { dryRun: false, host: false };

const profile = (values: Record<string, string>): TuningProfile => ({
  name: 'test',
  description: '',
  keys: Object.entries(values).map(([key, value]) => ({ key, value, reason: 'a test', optional: false })),
});

/** The machine, for tests: a namespace of the test's own, in which some settings are said to be the machine's. */
function lab(t: TestContext) {
  const folder = testFolder(t);
  const ns = testNetns(t);
  const hostNs = testNetns(t);
  const place = (name: string, sysctls: Sysctls, holder: Place['holder']): Place => ({
    name,
    sysctls,
    ledgerPath: join(folder, name, 'sysctls.json'),
    holder,
  });
  const node = place('node-1', sysctlsOf(ns), { name: 'cluster a' });
  const host = place('host', sysctlsOf(hostNs), { name: 'cluster a', pid: process.pid, startTime: own });
  const deps: TuneDeps = { nodes: [node], host, isAlive: holderLives, now: Date.now };
  return { folder, ns, hostNs, node, host, deps, place };
}
const own = startTime(process.pid) ?? 0;

test('the kernel tells whose a setting is', { skip }, (t) => {
  const { ns } = lab(t);
  const [node, first] = [sysctlsOf(ns), sysctlsOf(undefined)];
  assert.equal(scopeOf('net.ipv4.tcp_rmem', node, first), 'namespace');
  assert.equal(scopeOf('net.core.netdev_max_backlog', node, first), 'host');
  assert.equal(scopeOf('net.core.no_such_thing', node, first), 'missing');
});

test('throughput sets what a node owns, leaves the machine alone, and gives it all back', {
  skip,
}, async (t) => {
  const { ns, node, deps } = lab(t);
  const machine = { ...deps.host, sysctls: sysctlsOf(undefined) };
  const real = { ...deps, host: machine };
  const before = showTuning(real, throughput);
  assert.deepEqual(new Set(before.map(({ key }) => key)), new Set(throughput.keys.map(({ key }) => key)));
  const rows = await applyTuning(real, throughput, WHOLE);
  for (const row of rows.filter(({ scope }) => scope === 'namespace')) {
    assert.equal(row.now, row.profile, row.key);
    assert.equal(row.was, before.find(({ key, place }) => key === row.key && place === row.place)?.now);
    assert.deepEqual(row.holders, ['cluster a (throughput)']);
  }
  assert.equal(sameForm(readSysctl(ns, 'net.ipv4.tcp_rmem')), '4096 87380 6291456');
  for (const row of rows.filter(({ scope }) => scope === 'host')) assert.equal(row.action, 'host', row.key);
  await resetTuning(real, WHOLE);
  assert.deepEqual(showTuning(real, throughput), before);
  assert.equal(existsSync(dirname(node.ledgerPath)), false);
});

test('two holders of the machine: the last to go restores', { skip }, async (t) => {
  const { hostNs, host, deps } = lab(t);
  const key = 'net.ipv4.tcp_fastopen';
  const was = readSysctl(hostNs, key);
  const shared: Sysctls = { ...deps.nodes[0]!.sysctls, access: () => 'read-only' };
  const as = (name: string): TuneDeps => ({
    ...deps,
    nodes: [{ ...deps.nodes[0]!, sysctls: shared, ledgerPath: `${host.ledgerPath}.none/x` }],
    host: { ...host, holder: { ...host.holder, name } },
  });
  const options = { dryRun: false, host: true };
  const only = (which: TuneDeps) => ({ ...which, nodes: [which.nodes[0]!] });
  await applyTuning(only(as('cluster a')), profile({ [key]: '3' }), options);
  await applyTuning(only(as('cluster b')), profile({ [key]: '2' }), options);
  assert.equal(readSysctl(hostNs, key), '2');
  await resetTuning(as('cluster b'), options);
  assert.equal(readSysctl(hostNs, key), '3');
  await resetTuning(as('cluster a'), options);
  assert.equal(readSysctl(hostNs, key), was);
  assert.equal(existsSync(dirname(host.ledgerPath)), false);
});

test('a holder that was killed is found by its pid and start, and what it leased is restored', {
  skip,
}, async (t) => {
  const { ns, node, deps } = lab(t);
  const was = readSysctl(ns, 'net.ipv4.tcp_fastopen');
  const child = spawnIn({ argv: ['sleep', '60'], stdio: ['ignore', 'ignore', 'ignore'] });
  const pid = child.pid ?? 0;
  t.after(() => child.kill('SIGKILL'));
  const holder = { name: 'cluster c', pid, startTime: startTime(pid) ?? 0 };
  await applyTuning(
    { ...deps, nodes: [{ ...node, holder }] },
    profile({ 'net.ipv4.tcp_fastopen': '3' }),
    WHOLE,
  );
  assert.deepEqual(await endDeadLeases(node, deps), []);
  assert.equal(readSysctl(ns, 'net.ipv4.tcp_fastopen'), '3');
  child.kill('SIGKILL');
  await ended(child);
  assert.equal(isAlive(pid), false);
  await endDeadLeases(node, deps);
  assert.equal(readSysctl(ns, 'net.ipv4.tcp_fastopen'), was);
  // Another process that was given the number later is not the holder.
  assert.equal(holderLives({ name: 'x', pid: process.pid, startTime: own + 1 }), false);
});

test('a bad value is refused in the kernel’s words and changes nothing', { skip }, async (t) => {
  const { ns, node, deps } = lab(t);
  const was = readSysctl(ns, 'net.ipv4.tcp_fastopen');
  const bad = profile({ 'net.ipv4.tcp_fastopen': '3', 'net.ipv4.tcp_rmem': 'many' });
  await assert.rejects(applyTuning(deps, bad, WHOLE), (error: Error & { code: string; hint?: string }) => {
    assert.equal(error.code, 'TuningRefused');
    assert.match(error.message, /net\.ipv4\.tcp_rmem = many/);
    assert.match(String(error.cause), /EINVAL/);
    return true;
  });
  assert.equal(readSysctl(ns, 'net.ipv4.tcp_fastopen'), was);
  assert.equal(existsSync(node.ledgerPath), false);
});

test('what the kernel rounds or writes in other words is still ours to take back', { skip }, async (t) => {
  const { ns, deps } = lab(t);
  const key = 'net.ipv4.tcp_wmem';
  const was = readSysctl(ns, key);
  await applyTuning(deps, profile({ [key]: ' 4096   65536 4194305 ' }), WHOLE);
  assert.equal(sameForm(readSysctl(ns, key)), '4096 65536 4194305');
  const [row] = await resetTuning(deps, WHOLE);
  assert.equal(row?.action, 'restore');
  assert.equal(readSysctl(ns, key), was);
});

test('a ledger of an earlier boot is void, a damaged one is said to be', { skip }, async (t) => {
  const { folder } = lab(t);
  const path = join(folder, 'x', 'sysctls.json');
  mkdirSync(dirname(path));
  const leased = { 'net.a.b': { original: '1', ours: ['2'], leases: [] } };
  await fileLedger(path, 'before').write(leased);
  assert.deepEqual(fileLedger(path, 'now').read(), {});
  assert.deepEqual(fileLedger(path, 'before').read(), leased);
  for (const text of ['', '{', '[]', '{"version":1,"keys":{"a":1},"boot":"now"}', '{"version":2}']) {
    writeFileSync(path, text);
    assert.throws(() => fileLedger(path, 'now').read(), { code: 'BadLedger' });
  }
});

const ended = (child: ChildProcess): Promise<void> =>
  new Promise((resolve) =>
    (child.exitCode ?? child.signalCode) === null ? child.once('exit', () => resolve()) : resolve(),
  );

/** A process that applies in `ns` and is killed by itself at its n-th change of ledger or kernel. */
const KILLED = `
import { openNetns } from '${new URL('../kernel/netns.ts', import.meta.url).href}';
import { fileLedger } from '${new URL('ledger.ts', import.meta.url).href}';
import { createLeases } from '${new URL('leases.ts', import.meta.url).href}';
import { sysctlsOf } from '${new URL('sysctls.ts', import.meta.url).href}';
const [path, ledgerPath, at, profile] = process.argv.slice(1);
let left = Number(at);
const step = () => { if (left-- === 0) process.kill(process.pid, 'SIGKILL'); };
const sysctls = sysctlsOf(openNetns(path));
const ledger = fileLedger(ledgerPath);
await createLeases({
  ledger: { read: ledger.read, write: (leases) => (step(), ledger.write(leases)) },
  sysctls: { ...sysctls, write: (key, value) => (step(), sysctls.write(key, value)) },
  isAlive: () => true,
  now: Date.now,
}).apply({ name: 'killed', pid: process.pid, startTime: 1 }, JSON.parse(profile));
`;

test('killed before any of its steps, the next one to look restores every setting', { skip }, async (t) => {
  const { ns, node, deps } = lab(t);
  mkdirSync(dirname(node.ledgerPath));
  const values = {
    'net.ipv4.tcp_fastopen': '3',
    'net.ipv4.tcp_rmem': '4096 87380 6291456',
    'net.ipv4.tcp_tw_reuse': '1',
  };
  const read = () => Object.keys(values).map((key) => readSysctl(ns, key));
  const before = read();
  let killed = 0;
  for (let at = 0; at <= 5; at++) {
    const argv = [
      process.execPath,
      '--input-type=module',
      '-e',
      KILLED,
      '--',
      ns.path,
      node.ledgerPath,
      String(at),
      JSON.stringify(profile(values)),
    ];
    const child = spawnIn({ argv, stdio: ['ignore', 'ignore', 'inherit'] });
    await ended(child);
    if (child.signalCode === 'SIGKILL') killed++;
    else assert.equal(child.exitCode, 0);
    if (at > 1) assert.ok(existsSync(node.ledgerPath), 'the old values are on disk before the first change');
    await endDeadLeases(node, deps);
    assert.deepEqual(read(), before, `killed before step ${at}`);
    mkdirSync(dirname(node.ledgerPath), { recursive: true });
  }
  assert.equal(killed, 5, 'one ledger write, three settings, one ledger write');
});

test('where /proc/sys is read-only that is what the error says', { skip }, async (t) => {
  const { ns, folder } = lab(t);
  const script = `mount -o bind,ro /proc/sys /proc/sys && exec "$@"`;
  const code = KILLED.replace(
    /await createLeases[\s\S]*$/,
    `
await createLeases({ ledger, sysctls, isAlive: () => true, now: Date.now })
  .apply({ name: 'x' }, JSON.parse(profile))
  .then(() => console.log('applied'), (error) => console.log(error.code + ' ' + error.hint));
`,
  );
  mkdirSync(join(folder, 'l'));
  const out = join(folder, 'out');
  const argv = [
    'unshare',
    '-m',
    'sh',
    '-c',
    `(${script}) > ${out}`,
    'sh',
    process.execPath,
    '--input-type=module',
    '-e',
    code,
    '--',
    ns.path,
    join(folder, 'l', 'x.json'),
    '0',
    JSON.stringify(profile({ 'net.ipv4.tcp_fastopen': '3' })),
  ];
  await ended(spawnIn({ argv, stdio: ['ignore', 'ignore', 'inherit'] }));
  assert.match(readFileSync(out, 'utf8'), /^TuningRefused \/proc\/sys is read-only here/);
  assert.equal(existsSync(join(folder, 'l', 'x.json')), false);
});

test('somebody else’s change survives a reset', { skip }, async (t) => {
  const { ns, deps } = lab(t);
  await applyTuning(deps, profile({ 'net.ipv4.tcp_fastopen': '3' }), WHOLE);
  writeSysctl(ns, 'net.ipv4.tcp_fastopen', '2');
  const [row] = await resetTuning(deps, WHOLE);
  assert.equal(row?.action, 'leave');
  assert.equal(readSysctl(ns, 'net.ipv4.tcp_fastopen'), '2');
});

test('a setting whose module is not loaded is left out where that was said, else refused before anything', {
  skip,
}, async (t) => {
  const { ns, deps } = lab(t);
  const was = readSysctl(ns, 'net.ipv4.tcp_fastopen');
  const missing = profile({ 'net.ipv4.tcp_fastopen': '3', 'net.netfilter.nf_no_such_module': '1' });
  await assert.rejects(applyTuning(deps, missing, WHOLE), {
    code: 'TuningRefused',
    message: /nf_no_such_module = 1 .*no such setting/,
    hint: /load the module/,
  });
  assert.equal(readSysctl(ns, 'net.ipv4.tcp_fastopen'), was);
  const optional = { ...missing, keys: missing.keys.map((key) => ({ ...key, optional: true })) };
  const rows = await applyTuning(deps, optional, WHOLE);
  assert.deepEqual(
    rows.map(({ key, scope, now, action }) => [key, scope, now, action]),
    [
      ['net.ipv4.tcp_fastopen', 'namespace', '3', 'write'],
      ['net.netfilter.nf_no_such_module', 'missing', null, 'skip'],
    ],
  );
});

/** A process that applies to the machine of a test as one of many, says so, and waits to be killed. */
const ONE_OF_MANY = `
import { openNetns } from '${new URL('../kernel/netns.ts', import.meta.url).href}';
import { startTime } from '${new URL('../kernel/process.ts', import.meta.url).href}';
import { holderLives } from '${new URL('places.ts', import.meta.url).href}';
import { sysctlsOf } from '${new URL('sysctls.ts', import.meta.url).href}';
import { applyTuning } from '${new URL('tune.ts', import.meta.url).href}';
const [path, ledgerPath, profile] = process.argv.slice(1);
const holder = { name: 'cluster ' + process.pid, pid: process.pid, startTime: startTime(process.pid) };
const place = { name: 'node', sysctls: sysctlsOf(openNetns(path)), ledgerPath, holder };
await applyTuning({ nodes: [place], host: place, isAlive: holderLives, now: Date.now }, JSON.parse(profile), {
  dryRun: false,
  host: false,
});
process.stdout.write('held');
setInterval(() => {}, 1000);
`;

test('many at once take turns at the ledger; when all were killed everything is as it was', {
  skip,
}, async (t) => {
  const { ns, node, deps } = lab(t);
  const key = 'net.ipv4.tcp_fastopen';
  const was = readSysctl(ns, key);
  const values = ['0', '2', '3', '513', '515'];
  const children = values.map((value) => {
    const rest = [ns.path, node.ledgerPath, JSON.stringify(profile({ [key]: value }))];
    const argv = [process.execPath, '--input-type=module', '-e', ONE_OF_MANY, '--', ...rest];
    return spawnIn({ argv, stdio: ['ignore', 'pipe', 'inherit'] });
  });
  t.after(() => children.forEach((child) => child.kill('SIGKILL')));
  await Promise.all(children.map((child) => new Promise((held) => child.stdout?.once('data', held))));
  const leases = fileLedger(node.ledgerPath).read()[key];
  assert.equal(leases?.original, was);
  assert.deepEqual(leases.leases.map(({ value }) => value).toSorted(), values.toSorted());
  assert.equal(readSysctl(ns, key), leases.leases.at(-1)?.value);
  for (const child of children) {
    child.kill('SIGKILL');
    await ended(child);
  }
  await endDeadLeases(node, deps);
  assert.equal(readSysctl(ns, key), was);
  assert.equal(existsSync(dirname(node.ledgerPath)), false);
});
