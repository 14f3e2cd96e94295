/** The programs of `bpf/`, compiled with other layouts of the maps that an upgrade keeps. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { run } from '../../kernel/spawn.ts';
import { testFolder } from '../../kernel/test-netns.ts';

const SOURCES = join(import.meta.dirname, '../../../bpf');

interface Edit {
  readonly file: string;
  readonly struct: string;
  readonly from: string;
  readonly to: string;
}

/** Fields that are new, wider, or elsewhere; of keys, values, and what is only in programs' hands. */
const EDITS: readonly Edit[] = [
  { file: 'flow-maps.h', struct: 'flow', from: '{\n', to: '{\n\t__u64 added;\n' },
  { file: 'flow-maps.h', struct: 'flow', from: '__u32 idle;', to: '__u64 idle;' },
  {
    file: 'flow-maps.h',
    struct: 'flow_way',
    from: '__u64 packets;\n\t__u64 bytes;',
    to: '__u64 bytes;\n\t__u64 packets;',
  },
  { file: 'pod-maps.h', struct: 'pod', from: '{\n', to: '{\n\t__u64 added;\n' },
  { file: 'pod-maps.h', struct: 'pod_range', from: '__u16 kind;', to: '__u32 kind;' },
  {
    file: 'nat-maps.h',
    struct: 'nat_key',
    from: '__u8 protocol;\n\t__u8 zeroes[3];',
    to: '__u8 zeroes[3];\n\t__u8 protocol;',
  },
  { file: 'nat-maps.h', struct: 'nat_value', from: '{\n', to: '{\n\t__u64 added;\n' },
  {
    file: 'service-maps.h',
    struct: 'frontend_key',
    from: '__be16 port;\n\t__u8 protocol;\n\t__u8 zero;',
    to: '__u8 protocol;\n\t__u8 zero;\n\t__be16 port;',
  },
  { file: 'service-maps.h', struct: 'frontend', from: '{\n', to: '{\n\t__u32 added;\n' },
  { file: 'service-maps.h', struct: 'backend', from: '__u16 weight;', to: '__u32 weight;' },
  {
    file: 'policy-maps.h',
    struct: 'policy_key',
    from: '__u32 table;\n\t__u32 identity;',
    to: '__u32 identity;\n\t__u32 table;',
  },
  { file: 'policy-maps.h', struct: 'policy_entry', from: '__u16 verdict;', to: '__u32 verdict;' },
  { file: 'sockets.h', struct: 'socket_service', from: '{\n', to: '{\n\t__u64 added;\n' },
  { file: 'sockets.h', struct: 'udp_session', from: '{\n', to: '{\n\t__u64 added;\n' },
];

/** The maps whose layout is another one. */
export const OTHER_MAPS = [
  'affinities',
  'backends',
  'flows4',
  'flows6',
  'frontends',
  'nat4',
  'nat6',
  'pod_ranges',
  'pods',
  'policy_entries',
  'policy_ranges',
  'socket_services',
  'udp_sessions',
].filter((name) => name !== 'affinities');

/** Returns the folder of the objects. */
export async function buildOtherLayout(t: Pick<TestContext, 'after'>): Promise<string> {
  const folder = testFolder(t);
  const sources = join(folder, 'bpf');
  fs.cpSync(SOURCES, sources, { recursive: true });
  for (const { file, struct, from, to } of EDITS) {
    const path = join(sources, 'include', file);
    const text = fs.readFileSync(path, 'utf8');
    const start = text.indexOf(`struct ${struct} {\n`);
    const at = text.indexOf(from, start);
    const end = text.indexOf('\n}', start);
    assert.ok(start >= 0 && at >= 0 && at < end, `${file}: struct ${struct} has no ${from}`);
    fs.writeFileSync(path, text.slice(0, at) + to + text.slice(at + from.length));
  }
  const out = join(folder, 'out');
  const made = await run(['make', '-j2', '-C', sources, `OUT=${out}`], { timeoutMs: 180_000 });
  assert.equal(made.code, 0, made.stderr);
  return out;
}
