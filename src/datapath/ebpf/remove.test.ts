import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { ATTACH } from '../../kernel/bpf/links.ts';
import { attributes, call, COMMAND } from '../../kernel/bpf/syscall.ts';
import { inNetns } from '../../kernel/netns.ts';
import { readSysctl } from '../../kernel/sysctl.ts';
import { needsRoot, testBpffs } from '../../kernel/test-netns.ts';
import { silentLog } from '../../lib/log.ts';
import { createOverlay } from '../overlay.ts';
import { createPlan } from '../plan/plan.ts';
import { createLab, type LabNode } from '../testing/lab.ts';
import { openEbpfBackend } from './open.ts';
import { ownCgroup } from './services/testing/rig.ts';

const OBJECTS = join(import.meta.dirname, '../../../build/bpf');
const SYSCTLS = ['net/ipv4/ip_local_reserved_ports', 'net/ipv4/conf/lo/accept_local'] as const;

const output = (...command: string[]): string =>
  spawnSync(command[0] ?? '', command.slice(1), { encoding: 'utf8' }).stdout;

/** How many; 0 too where the kernel knows only clsact, which `qdiscs` shows. */
function programsAt(ns: LabNode['ns'], index: number, hook: number): number {
  const { bytes, view } = attributes(64);
  view.setUint32(0, index, true);
  view.setUint32(4, hook, true);
  return inNetns(ns, () => call(COMMAND.PROG_QUERY, bytes)) < 0 ? 0 : view.getUint32(24, true);
}

/** All that a backend may leave in a node. */
const inventory = ({ ns, route }: LabNode, cgroup: string, pinDir: string) => ({
  programs: route
    .links()
    .map(({ name, index }) => [
      name,
      ...([ATTACH.tcxIngress, ATTACH.tcxEgress] as const).map((hook) => programsAt(ns, index, hook)),
    ]),
  cgroup: output('bpftool', '-j', 'cgroup', 'show', cgroup).trim(),
  qdiscs: output('nsenter', `--net=${ns.path}`, 'tc', 'qdisc', 'show'),
  routes: output('nsenter', `--net=${ns.path}`, 'ip', '-j', 'route', 'show', 'table', 'all'),
  links: output('nsenter', `--net=${ns.path}`, 'ip', '-j', 'link', 'show'),
  sysctls: SYSCTLS.map((key) => readSysctl(ns, key)),
  pins: fs.existsSync(pinDir),
});

function setting(t: TestContext) {
  const lab = createLab(t, 2);
  const node = lab.nodes[0]!;
  node.addPod('a');
  const plan = createPlan({ node: node.name });
  plan.setSettings(node.settings);
  plan.setLocalPods(node.pods());
  plan.update();
  const { ns, route, settings } = node;
  const overlay = createOverlay(route, {
    vni: 72,
    port: 4789,
    mtu: 1450,
    nodeAddresses: settings.nodeAddresses,
  });
  // Routes between nodes are of every backend, and stay.
  overlay.prune(plan.state);
  const pinDir = join(testBpffs(t), 'node');
  const cgroup = ownCgroup(t);
  const open = () =>
    openEbpfBackend({ objectDir: OBJECTS, pinDir, cgroup, ns, route, overlay, log: silentLog });
  return { open, plan, pinDir, inventory: () => inventory(node, cgroup, pinDir) };
}

test('what is opened, pruned and removed leaves the node as it was', { skip: needsRoot }, async (t) => {
  const { open, plan, inventory } = setting(t);
  const before = inventory();
  for (let round = 0; round < 2; round++) {
    const backend = open();
    await backend.prune(plan.state);
    const among = inventory();
    for (const part of ['programs', 'cgroup', 'sysctls', 'pins'] as const)
      assert.notDeepEqual(among[part], before[part], part);
    await backend.remove?.();
    backend.close();
    assert.deepEqual(inventory(), before);
  }
});

test('what an agent left that died, whenever it died, is removed by the next', {
  skip: needsRoot,
}, async (t) => {
  const { open, plan, pinDir, inventory } = setting(t);
  const before = inventory();
  const deaths: (() => void)[] = [
    // After the start, and in the middle of removing.
    () => {},
    () => {
      for (const file of fs.readdirSync(join(pinDir, 'links')).filter((_, i) => i % 2 === 0))
        fs.rmSync(join(pinDir, 'links', file));
    },
    () => fs.rmSync(join(pinDir, 'maps'), { recursive: true }),
  ];
  for (const die of deaths) {
    const first = open();
    await first.prune(plan.state);
    first.close();
    die();
    const next = open();
    await next.remove?.();
    next.close();
    assert.deepEqual(inventory(), before);
  }
});
