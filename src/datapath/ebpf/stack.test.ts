/**
 * What a program and the functions that it calls take of the stack, counted as Linux 6.1 does: each function's rounded
 * up to 32 bytes, 512 at most for a chain of calls. Later kernels, which round up to 16, take what it refuses.
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { needsRoot, testBpffs } from '../../kernel/test-netns.ts';
import { silentLog } from '../../lib/log.ts';
import { openPrograms } from './loader.ts';
import { socketGlobals } from './services/attach.ts';

const objectDir = join(import.meta.dirname, '../../../build/bpf');

/** The kernel's are 512 bytes (256 for who calls something that tail calls) and 8 frames. */
const mostStack = 480;
const mostBeforeTailCall = 256;
const mostFrames = 8;

type Section = { name: string; type: number; link: number; info: number; bytes: Buffer };
type Symbol = { name: string; value: number; size: number; kind: number; section: number };
type Code = { name: string; stack: number; calls: string[]; tailCalls: boolean };
type Chain = { stack: number; names: string[] };

const text = (bytes: Buffer, at: number) => bytes.toString('latin1', at, bytes.indexOf(0, at));

function sectionsOf(file: Buffer): Section[] {
  const [start, size, count] = [
    Number(file.readBigUInt64LE(0x28)),
    file.readUInt16LE(0x3a),
    file.readUInt16LE(0x3c),
  ];
  const sections = Array.from({ length: count }, (_, index) => {
    const at = start + index * size;
    const offset = Number(file.readBigUInt64LE(at + 24));
    const type = file.readUInt32LE(at + 4);
    const bytes = file.subarray(offset, offset + Number(file.readBigUInt64LE(at + 32)));
    const [link, info] = [file.readUInt32LE(at + 40), file.readUInt32LE(at + 44)];
    return { name: '', nameAt: file.readUInt32LE(at), type, link, info, bytes };
  });
  const names = sections[file.readUInt16LE(0x3e)]?.bytes ?? Buffer.alloc(0);
  return sections.map(({ nameAt, ...section }) => ({ ...section, name: text(names, nameAt) }));
}

function symbolsOf(sections: readonly Section[]): Symbol[] {
  const table = sections.find((section) => section.type === 2);
  const names = table && sections[table.link]?.bytes;
  assert.ok(table && names);
  return Array.from({ length: table.bytes.length / 24 }, (_, index) => {
    const at = table.bytes.subarray(index * 24);
    const [value, size] = [Number(at.readBigUInt64LE(8)), Number(at.readBigUInt64LE(16))];
    return {
      name: text(names, at.readUInt32LE(0)),
      value,
      size,
      kind: at.readUInt8(4) & 15,
      section: at.readUInt16LE(6),
    };
  });
}

type Instruction = { at: number; op: number; to: number; from: number; offset: number; number: number };

function instructionsOf(bytes: Buffer, { value, size }: Symbol): Instruction[] {
  const found: Instruction[] = [];
  for (let at = value; at < value + size; at += 8) {
    const [op, registers] = [bytes.readUInt8(at), bytes.readUInt8(at + 1)];
    const [offset, number] = [bytes.readInt16LE(at + 2), bytes.readInt32LE(at + 4)];
    found.push({ at, op, to: registers & 15, from: registers >> 4, offset, number });
    // 64 bits of a constant are two.
    if (op === 0x18) at += 8;
  }
  return found;
}

/** By instruction, the symbol that its number is relative to, where that is not the instruction itself. */
function targetsOf(
  sections: readonly Section[],
  symbols: readonly Symbol[],
  section: number,
): Map<number, Symbol> {
  const bytes = sections.find((each) => each.type === 9 && each.info === section)?.bytes ?? Buffer.alloc(0);
  return new Map(
    Array.from({ length: bytes.length / 16 }, (_, index) => {
      const target = symbols[bytes.readUInt32LE(index * 16 + 12)];
      assert.ok(target);
      return [Number(bytes.readBigUInt64LE(index * 16)), target];
    }),
  );
}

const FRAME = 10;
const [LOAD, STORE_NUMBER, STORE] = [1, 2, 3];
const [COPY, ADD_NUMBER, CALL] = [0xbf, 0x07, 0x85];

/** Bytes below the frame's address that are read, written or pointed to. */
function stackOf(instructions: readonly Instruction[]): number {
  const copies = new Set<number>();
  let stack = 0;
  for (const { op, to, from, offset, number } of instructions) {
    const kind = op & 7;
    const isStore = kind === STORE || kind === STORE_NUMBER;
    if (isStore ? to === FRAME : kind === LOAD && from === FRAME) stack = Math.max(stack, -offset);
    if (op === ADD_NUMBER && copies.has(to)) stack = Math.max(stack, -number);
    if (op === COPY && from === FRAME) copies.add(to);
    else if (!isStore) copies.delete(to);
  }
  return stack;
}

/** The functions of an object by name, and which of them are programs. */
function codeOf(path: string): { functions: Map<string, Code>; programs: string[] } {
  const sections = sectionsOf(readFileSync(path));
  const symbols = symbolsOf(sections);
  const functions = symbols.filter((symbol) => symbol.kind === 2);
  const found = new Map<string, Code>();
  for (const symbol of functions) {
    const { name, section } = symbol;
    const targets = targetsOf(sections, symbols, section);
    const instructions = instructionsOf(sections[section]?.bytes ?? Buffer.alloc(0), symbol);
    const calls = instructions
      .filter(({ op, from }) => op === CALL && from === 1)
      .map(({ at, number }) => {
        const target = targets.get(at) ?? { value: at, section };
        const place = target.value + (number + 1) * 8;
        const callee = functions.find((other) => other.section === target.section && other.value === place);
        assert.ok(callee, `${name} calls something at ${place}`);
        return callee.name;
      });
    const tailCalls = instructions.some(({ op, from, number }) => op === CALL && from === 0 && number === 12);
    found.set(name, { name, stack: stackOf(instructions), calls, tailCalls });
  }
  const programs = functions
    .filter(({ section }) => sections[section]?.name !== '.text')
    .map(({ name }) => name);
  return { functions: found, programs };
}

function* chainsFrom(functions: ReadonlyMap<string, Code>, name: string, before: Chain): Generator<Chain> {
  const code = functions.get(name);
  assert.ok(code, name);
  assert.ok(
    !code.tailCalls || before.stack < mostBeforeTailCall,
    `${[...before.names, name].join(' > ')} tail calls`,
  );
  const chain = {
    stack: before.stack + Math.max(32, Math.ceil(code.stack / 32) * 32),
    names: [...before.names, `${name} ${code.stack}`],
  };
  yield chain;
  for (const callee of new Set(code.calls)) yield* chainsFrom(functions, callee, chain);
}

const objects = readdirSync(objectDir).filter((name) => name.endsWith('.bpf.o'));

for (const object of objects) {
  test(`calls of ${object} leave room on the stack of any kernel`, (t) => {
    const { functions, programs } = codeOf(join(objectDir, object));
    assert.ok(programs.length > 0);
    for (const program of programs) {
      const chains = [...chainsFrom(functions, program, { stack: 0, names: [] })];
      const deepest = chains.reduce((most, chain) => (chain.stack > most.stack ? chain : most));
      const longest = chains.reduce((most, chain) => (chain.names.length > most.names.length ? chain : most));
      t.diagnostic(`${program}: ${deepest.stack} bytes, ${longest.names.length} frames`);
      assert.ok(deepest.stack <= mostStack, `${deepest.stack} bytes: ${deepest.names.join(' > ')}`);
      assert.ok(longest.names.length <= mostFrames, longest.names.join(' > '));
    }
  });
}

// test/deep/beds.test.ts runs it under Linux 6.1.
test('the kernel takes every program', { skip: needsRoot }, (t) => {
  const pinDir = testBpffs(t);
  const programs = openPrograms({ objectDir, pinDir, log: silentLog, globals: socketGlobals() });
  t.after(() => programs.close());
  assert.equal(new Set(programs.loaded).size, objects.length);
});
