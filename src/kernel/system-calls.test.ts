import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { errnoName, lastErrno, libc } from './ffi.ts';
import { run } from './spawn.ts';
import { type SystemCall, systemCallsOf } from './system-calls.ts';
import { testFolder } from './test-netns.ts';

const assembly = {
  x64: {
    target: 'x86_64-linux-gnu',
    text: `mov %rdi, %rax
           mov %rsi, %rdi
           mov %rdx, %rsi
           mov %rcx, %rdx
           mov %r8, %r10
           mov %r9, %r8
           mov 8(%rsp), %r9
           syscall
           ret`,
    header: ['/usr/include/x86_64-linux-gnu/asm/unistd_64.h', '/usr/include/asm/unistd_64.h'],
  },
  arm64: {
    target: 'aarch64-linux-gnu',
    text: `mov x8, x0
           mov x0, x1
           mov x1, x2
           mov x2, x3
           mov x3, x4
           mov x4, x5
           mov x5, x6
           svc #0
           ret`,
    header: ['/usr/include/asm-generic/unistd.h'],
  },
} as const;

async function assembled(folder: string, target: string, text: string): Promise<Buffer> {
  const [source, object, bytes] = ['s', 'o', 'bin'].map((kind) => path.join(folder, `code.${kind}`));
  assert.ok(source && object && bytes);
  fs.writeFileSync(source, `.text\n${text}\n`);
  for (const argv of [
    ['clang', `--target=${target}`, '-c', source, '-o', object],
    ['llvm-objcopy', '-O', 'binary', '--only-section=.text', object, bytes],
  ]) {
    const { code, stderr } = await run(argv);
    assert.equal(code, 0, stderr);
  }
  return fs.readFileSync(bytes);
}

for (const [name, { target, text, header }] of Object.entries(assembly)) {
  test(`the machine code for ${name} is what an assembler makes of its text`, async (t) => {
    const { code } = systemCallsOf(name);
    assert.deepEqual(Buffer.from(code), await assembled(testFolder(t), target, text));
  });

  test(`the numbers of system calls for ${name} are the kernel's`, () => {
    const file = header.find((candidate) => fs.existsSync(candidate));
    const text = file === undefined ? '' : fs.readFileSync(file, 'utf8');
    const { numbers } = systemCallsOf(name);
    for (const call of Object.keys(numbers) as SystemCall[]) {
      // asm-generic/unistd.h gives calls with an offset of 64 bits a name of their own.
      const [, number] = new RegExp(`^#define __NR(?:3264)?_${call}\\s+(\\d+)`, 'm').exec(text) ?? [];
      assert.equal(numbers[call], Number(number), call);
    }
  });
}

test('a processor that is not known is refused by name', () => {
  assert.throws(() => systemCallsOf('ia64'), /the system calls of ia64 are not known here/);
});

test('a failed call keeps its reason, whatever is called and collected before it is asked', () => {
  assert.equal(libc.flock(-1, 2), -1);
  fs.existsSync('/nowhere');
  for (let i = 0; i < 1000; i++) Buffer.alloc(100_000).fill(i);
  assert.equal(errnoName(lastErrno()), 'EBADF');
});

test('all six arguments arrive', () => {
  const page = libc.sysconf(30);
  const [READ, PRIVATE] = [1, 2];
  const fd = fs.openSync(import.meta.filename, 'r');
  try {
    const negative = BigInt.asIntN(64, libc.mmap(null, page, READ, PRIVATE, fd, 1));
    assert.equal(errnoName(Number(-negative)), 'EINVAL', 'an offset that is not of pages');
    const at = libc.mmap(null, page, READ, PRIVATE, fd, 0);
    assert.ok(BigInt.asIntN(64, at) > 0n);
    assert.equal(libc.munmap(at, page), 0);
  } finally {
    fs.closeSync(fd);
  }
});
