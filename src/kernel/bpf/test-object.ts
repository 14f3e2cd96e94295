/** For tests: small programs compiled on the spot. */
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from '../spawn.ts';
import { needsRoot } from '../test-netns.ts';

/** A reason to skip, for tests that compile programs and load them. */
export const needsBpf: string | false = needsRoot || (existsSync('/usr/bin/clang') ? false : 'needs clang');

const HEAD = `#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>
char _license[] SEC("license") = "GPL";
`;

/** `<folder>/<name>.bpf.o` from C source without its usual first lines; returns its path. */
export async function compileObject(folder: string, name: string, source: string): Promise<string> {
  const path = join(folder, `${name}.bpf.o`);
  const input = join(folder, `${name}.bpf.c`);
  writeFileSync(input, HEAD + source);
  const include = `-I/usr/include/${process.arch === 'arm64' ? 'aarch64' : 'x86_64'}-linux-gnu`;
  const result = await run(
    [
      'clang',
      '-O2',
      '-g',
      '-target',
      'bpf',
      '-mcpu=v3',
      include,
      '-Wall',
      '-Werror',
      '-Wno-unused-function',
      '-c',
      input,
      '-o',
      path,
    ],
    { timeoutMs: 60_000 },
  );
  if (result.code !== 0) throw new Error(`clang: ${result.stderr}`);
  return path;
}
