/** A node with pods whose sockets go by the loaded programs: this test's process, in a cgroup of its own. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import {
  createCgroup,
  findCgroup2Mount,
  killCgroup,
  moveToCgroup,
  removeCgroup,
} from '../../../../kernel/cgroup.ts';
import { mountBpffs, unmountLazy } from '../../../../kernel/mount.ts';
import { testFolder } from '../../../../kernel/test-netns.ts';
import { silentLog } from '../../../../lib/log.ts';
import {
  applyChanges,
  type BackendAddress,
  type Change,
  emptyState,
  frontendKey,
  SETTINGS_KEY,
  type ServiceFrontend,
} from '../../../plan/tables.ts';
import { createLab, type LabNode, type LabPod } from '../../../testing/lab.ts';
import { openPrograms, type Programs } from '../../loader.ts';
import { socketGlobals, socketHooks } from '../attach.ts';
import { createServicesPart, type ServicesPart } from '../part.ts';

type After = Pick<TestContext, 'after'>;

/** Built by `make -C bpf`. */
const OBJECTS = join(import.meta.dirname, '../../../../../build/bpf');

export interface Rig {
  readonly node: LabNode;
  readonly pods: readonly LabPod[];
  readonly programs: Programs;
  readonly part: ServicesPart;
  readonly state: ReturnType<typeof emptyState>;
  /** Where this process is, and where it was. */
  readonly cgroup: string;
  readonly homeCgroup: string;
  /** Applies the changes to the kernel and to `state`. */
  apply(...changes: Change[]): void;
  /** Puts these frontends beside the others. */
  serve(...frontends: ServiceFrontend[]): void;
  remove(...frontends: ServiceFrontend[]): void;
  /** Another start of the agent: programs and maps from their pins. */
  restart(): Rig;
}

export interface RigOptions {
  readonly pods?: number;
  readonly globals?: Readonly<Record<string, number>>;
}

/** Hooks run in the order of their registration: the mount goes before its folder. */
function testBpffs(t: After): string {
  let folder: string | undefined;
  t.after(() => void (folder && unmountLazy(folder)));
  folder = testFolder(t);
  mountBpffs(folder);
  return folder;
}

/** Where this process was at first. */
const homeCgroup = (() => {
  let home: string | undefined;
  return (): string => (home ??= readCgroup());
})();

function readCgroup(): string {
  const mount = findCgroup2Mount();
  assert.ok(mount, 'cgroup2 is mounted');
  return join(mount, fs.readFileSync('/proc/self/cgroup', 'utf8').match(/^0::(.*)$/m)?.[1] ?? '/');
}

/** Sockets made from now on belong to a new cgroup, until the test ends. */
export function ownCgroup(t: After): string {
  const home = homeCgroup();
  const cgroup = newCgroup();
  moveToCgroup(cgroup, process.pid);
  t.after(async () => {
    moveToCgroup(home, process.pid);
    // Of a test that failed, its processes may be there: hooks that would end them come later.
    killCgroup(cgroup);
    await removeCgroup(cgroup);
  });
  return cgroup;
}

/** Nobody is in it. */
export function emptyCgroup(t: After): string {
  const cgroup = newCgroup();
  t.after(() => removeCgroup(cgroup));
  return cgroup;
}

function newCgroup(): string {
  const cgroup = join(findCgroup2Mount() ?? '', `heddle-test-${process.pid}-${counter++}`);
  createCgroup(cgroup);
  return cgroup;
}
let counter = 0;

export function createRig(t: After, options: RigOptions = {}): Rig {
  const lab = createLab(t, 1);
  const [node] = lab.nodes;
  assert.ok(node);
  const pods = Array.from({ length: options.pods ?? 3 }, (_, i) => node.addPod(`pod-${i}`));
  const folder = testBpffs(t);
  const cgroup = ownCgroup(t);
  const state = emptyState();
  const initial: Change[] = [
    { table: 'settings', key: SETTINGS_KEY, value: { ...node.settings, nodeLocal: ['10.96.0.10'] } },
    ...node.pods().map((pod): Change => ({ table: 'pods', key: `${pod.namespace}/${pod.name}`, value: pod })),
  ];
  applyChanges(state, initial);
  return start();

  function start(): Rig {
    assert.ok(node);
    const programs = openPrograms({
      objectDir: OBJECTS,
      objects: socketHooks.map(({ object }) => object),
      pinDir: join(folder, 'node'),
      log: silentLog,
      globals: { ...socketGlobals(), ...options.globals },
    });
    t.after(() => programs.close());
    const part = createServicesPart({ programs, cgroup, ns: node.ns, log: silentLog });
    part.prune(state);
    programs.settle();
    const apply = (...changes: Change[]) => {
      part.apply(changes);
      applyChanges(state, changes);
    };
    return {
      node,
      pods,
      programs,
      part,
      state,
      cgroup,
      homeCgroup: homeCgroup(),
      apply,
      serve: (...frontends) => apply(...frontends.map((value) => change(value, value))),
      remove: (...frontends) => apply(...frontends.map((value) => change(value, undefined))),
      restart() {
        programs.close();
        return start();
      },
    };
  }
}

const change = (frontend: ServiceFrontend, value: ServiceFrontend | undefined): Change => ({
  table: 'services',
  key: frontendKey(frontend),
  value,
});

export const frontend = (
  address: string,
  backends: readonly BackendAddress[],
  more: Partial<ServiceFrontend> = {},
): ServiceFrontend => ({
  service: 'default/echo',
  kind: 'ClusterIP',
  address,
  protocol: 'TCP',
  port: 80,
  backends,
  whenEmpty: 'refuse',
  algorithm: 'random',
  forwarding: 'snat',
  ...more,
});

/** One backend for each pod, of family 4 or 6. */
export const backendsOf = (pods: readonly LabPod[], port: number, family: 4 | 6 = 4): BackendAddress[] =>
  pods.map((pod) => ({ address: pod.addresses[family === 4 ? 0 : 1], port, local: true }));
