/**
 * Loaded programs that go from test to test of a process: judging them takes the kernel half a second for each node
 * of a lab, and an agent that starts again finds them by their pins anyhow. Between two tests goes all that the first
 * one left: attachments, and what is in maps, variables and the ring.
 */
import fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { type BpfMap, MAP_TYPE, openMap } from '../../kernel/bpf/map.ts';
import { openRing } from '../../kernel/bpf/ring.ts';
import { getPinned } from '../../kernel/bpf/syscall.ts';
import { mountBpffs, unmountLazy } from '../../kernel/mount.ts';

export interface KeptPins {
  /** For `pinDir` of `openPrograms`. */
  readonly folder: string;
  /** What decides what is loaded. */
  readonly key: string;
  /** To be called whenever programs were opened here, before anybody uses them; returns what to call once they closed. */
  opened(): () => void;
  /** This test changes what is pinned: no other shall have it. */
  spoil(): void;
}

interface Entry extends KeptPins {
  /** Nobody has it, and the programs of whoever had it are closed. */
  isFree(): boolean;
  /** To the test that takes it next. */
  lend(): void;
  release(): void;
}

const entries = new Set<Entry>();

/** Pins in a bpffs that is this test's until it ends. */
export function takePins(t: Pick<TestContext, 'after'>, key: string): KeptPins {
  const free = [...entries].find((each) => each.key === key && each.isFree());
  const entry = free ?? newEntry(key);
  entry.lend();
  t.after(() => entry.release());
  return entry;
}

function newEntry(key: string): Entry {
  const folder = fs.mkdtempSync(join(tmpdir(), `heddle-test-${process.pid}-`));
  mountBpffs(folder);
  const variables = new Map<string, Uint8Array>();
  let isLent = false;
  let openings = 0;

  const remove = () => {
    entries.delete(entry);
    process.off('exit', remove);
    unmountLazy(folder);
    fs.rmSync(folder, { recursive: true, force: true });
  };
  let isSpoiled = false;
  const entry: Entry = {
    folder,
    key,
    isFree: () => !isLent && openings === 0,
    lend() {
      isLent = true;
      if (variables.size > 0) clear(folder, variables);
    },
    release() {
      isLent = false;
      if (isSpoiled) remove();
      // The attachments.
      else fs.rmSync(join(folder, 'links'), { recursive: true, force: true });
    },
    spoil: () => void (isSpoiled = true),
    opened() {
      openings++;
      if (variables.size === 0)
        for (const path of pinnedVariables(folder)) variables.set(path, firstValue(path));
      return () => void openings--;
    },
  };
  entries.add(entry);
  process.once('exit', remove);
  return entry;
}

const pinnedVariables = (folder: string): string[] => fs.globSync(join(folder, 'programs', '*', '=*'));

function withPinned<T>(path: string, use: (map: BpfMap) => T): T {
  const fd = getPinned(path);
  if (fd === undefined) throw new Error(`nothing is pinned at ${path}`);
  const map = openMap(fd);
  try {
    return use(map);
  } finally {
    map.close();
  }
}

/** Of an array with one entry, as sections of variables are. */
const FIRST = new Uint8Array(4);

const firstValue = (path: string): Uint8Array =>
  withPinned(path, (map) => map.lookup(FIRST) ?? new Uint8Array());

function clear(folder: string, variables: ReadonlyMap<string, Uint8Array>): void {
  for (const name of fs.readdirSync(join(folder, 'maps'))) withPinned(join(folder, 'maps', name), empty);
  for (const [path, value] of variables) withPinned(path, (map) => map.update(FIRST, value));
}

/** What programs keep with a socket goes with it, and cannot be listed. */
const SK_STORAGE = 24;

function empty(map: BpfMap): void {
  if (map.type === SK_STORAGE) return;
  if (map.type === MAP_TYPE.RINGBUF) return readAll(map);
  if (map.type === MAP_TYPE.ARRAY) return fillWithZeros(map);
  if (map.type === MAP_TYPE.PERCPU_ARRAY) {
    const zeros = new Uint8Array(map.valueSize);
    for (const [key, value] of map.entries()) if (value.some((byte) => byte !== 0)) map.update(key, zeros);
    return;
  }
  const keys = Array.from(map.entries(), ([key]) => key);
  for (const key of keys) map.delete(key);
}

/** In one call: some have tens of thousands of entries. */
function fillWithZeros(map: BpfMap): void {
  const keys = Uint32Array.from({ length: map.maxEntries }, (_, index) => index);
  const zeros = new Uint8Array(map.valueSize * map.maxEntries);
  map.updateBatch(new Uint8Array(keys.buffer), zeros, map.maxEntries);
}

function readAll(map: BpfMap): void {
  const ring = openRing({ map, onRecord() {} });
  while (ring.drain() > 0);
  ring.close();
}
