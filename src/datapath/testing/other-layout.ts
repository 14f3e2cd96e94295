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

const ADDED = { from: '{\n', to: '{\n\t__u64 added;\n' };

const wider = (field: string, type: string, than: string): Pick<Edit, 'from' | 'to'> => ({
  from: `${than} ${field};`,
  to: `${type} ${field};`,
});

/** The first of fields that follow each other, behind the others. */
function last(first: string, ...others: readonly string[]): Pick<Edit, 'from' | 'to'> {
  const text = (fields: readonly string[]) => fields.map((field) => `${field};`).join('\n\t');
  return { from: text([first, ...others]), to: text([...others, first]) };
}

/** Fields that are new, wider, or elsewhere; of keys, values, and what is only in programs' hands. */
const EDITS: readonly Edit[] = [
  { file: 'flow-maps.h', struct: 'flow', ...ADDED },
  { file: 'flow-maps.h', struct: 'flow', ...wider('idle', '__u64', '__u32') },
  { file: 'flow-maps.h', struct: 'flow_way', ...last('__u64 packets', '__u64 bytes') },
  { file: 'pod-maps.h', struct: 'pod', ...ADDED },
  { file: 'pod-maps.h', struct: 'pod_range', ...wider('kind', '__u32', '__u16') },
  { file: 'nat-maps.h', struct: 'nat_key', ...last('__u8 leaving', '__u8 zeroes[2]') },
  { file: 'nat-maps.h', struct: 'nat_value', ...ADDED },
  { file: 'service-maps.h', struct: 'frontend_key', ...last('__be16 port', '__u8 protocol', '__u8 zero') },
  { file: 'service-maps.h', struct: 'frontend', from: '{\n', to: '{\n\t__u32 added;\n' },
  { file: 'service-maps.h', struct: 'backend', ...wider('weight', '__u32', '__u16') },
  { file: 'policy-maps.h', struct: 'policy_key', ...last('__u32 table', '__u32 identity') },
  { file: 'policy-maps.h', struct: 'policy_entry', ...wider('verdict', '__u32', '__u16') },
  { file: 'sockets.h', struct: 'socket_service', ...ADDED },
  { file: 'sockets.h', struct: 'udp_session', ...ADDED },
];

/** The maps whose layout is another one. */
export const OTHER_MAPS = [
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
  'socket_slots',
  'udp_sessions',
];

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
