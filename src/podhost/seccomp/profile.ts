/**
 * Profiles of system calls as pods name them (`seccompProfile` of type Localhost): the JSON of the OCI runtime-spec
 * (config-linux.md, Seccomp), and what Docker's profiles have above it (`archMap`, `includes`, `excludes`). Pure.
 */

/** One condition of a rule, on argument `index` of the call. */
export interface Condition {
  index: number;
  value: bigint;
  /** Of SCMP_CMP_MASKED_EQ: what `value` leaves of the argument. */
  valueTwo: bigint;
  op: string;
}

export interface Rule {
  names: string[];
  action: string;
  errno: number | undefined;
  /** All of them hold. */
  args: Condition[];
}

export interface Profile {
  action: string;
  errno: number | undefined;
  /** Empty: this machine's own. */
  architectures: string[];
  flags: string[];
  rules: Rule[];
}

export interface Machine {
  /** As node names it. */
  arch: string;
  /** `uname -r` */
  kernel: string;
  /** Of the container, as `CAP_CHOWN`. */
  capabilities: readonly string[];
}

const EPERM = 1;
/** A call with its conditions is an instruction at least, and a filter has no more (BPF_MAXINSNS). */
const MAX_LINES = 4096;
const ACTIONS: Readonly<Record<string, number>> = {
  SCMP_ACT_KILL: 0,
  SCMP_ACT_KILL_THREAD: 0,
  SCMP_ACT_KILL_PROCESS: 0x8000_0000,
  SCMP_ACT_TRAP: 0x0003_0000,
  SCMP_ACT_ERRNO: 0x0005_0000,
  SCMP_ACT_TRACE: 0x7ff0_0000,
  SCMP_ACT_LOG: 0x7ffc_0000,
  SCMP_ACT_ALLOW: 0x7fff_0000,
};
const OPERATORS = ['NE', 'LT', 'LE', 'EQ', 'GE', 'GT', 'MASKED_EQ'].map((name) => `SCMP_CMP_${name}`);
/** SECCOMP_FILTER_FLAG_… (linux/seccomp.h). TSYNC is for programs of several threads: none has any yet. */
const FLAGS: Readonly<Record<string, number>> = {
  SECCOMP_FILTER_FLAG_TSYNC: 0,
  SECCOMP_FILTER_FLAG_LOG: 2,
  SECCOMP_FILTER_FLAG_SPEC_ALLOW: 4,
};
const NATIVE: Readonly<Record<string, { scmp: string; go: string }>> = {
  x64: { scmp: 'SCMP_ARCH_X86_64', go: 'amd64' },
  arm64: { scmp: 'SCMP_ARCH_AARCH64', go: 'arm64' },
};

type Json = Record<string, unknown>;

/** @throws Error that says what of it is not as it should be */
export function parseProfile(text: string, machine: Machine): Profile {
  const json = objectOf(JSON.parse(text), 'the profile');
  if (json['listenerPath'] !== undefined && json['listenerPath'] !== '')
    throw new Error('listenerPath: nobody is there to listen');
  const action = actionOf(json['defaultAction'], 'defaultAction');
  return {
    action,
    errno: errnoOf(json['defaultErrnoRet'], 'defaultErrnoRet'),
    architectures: architecturesOf(json, machine),
    flags: textsOf(json['flags'], 'flags').map((flag) => oneOf(flag, Object.keys(FLAGS), 'flags')),
    rules: boundedRules(json, machine),
  };
}

function boundedRules(json: Json, machine: Machine): Rule[] {
  let lines = 0;
  return listOf(json['syscalls'], 'syscalls').flatMap((one, i) => {
    const rules = rulesOf(objectOf(one, `syscalls[${i}]`), `syscalls[${i}]`, machine);
    lines += rules.reduce((sum, { names }) => sum + names.length, 0);
    if (lines > MAX_LINES)
      throw new Error(
        `syscalls[${i}]: more than ${MAX_LINES} calls and conditions, which is more than a filter has`,
      );
    return rules;
  });
}

function architecturesOf(json: Json, { arch }: Machine): string[] {
  const plain = textsOf(json['architectures'], 'architectures');
  const map = listOf(json['archMap'], 'archMap');
  if (plain.length > 0 && map.length > 0) throw new Error('architectures and archMap: expected one of them');
  for (const one of plain)
    if (!/^SCMP_ARCH_[A-Z0-9_]+$/.test(one)) throw new Error(`architectures: ${JSON.stringify(one)} is none`);
  for (const [i, one] of map.entries()) {
    const { architecture, subArchitectures } = objectOf(one, `archMap[${i}]`);
    if (architecture === NATIVE[arch]?.scmp)
      return [String(architecture), ...textsOf(subArchitectures, `archMap[${i}].subArchitectures`)];
  }
  return plain;
}

function rulesOf(json: Json, at: string, machine: Machine): Rule[] {
  const names = textsOf(json['names'], `${at}.names`);
  const { name } = json;
  if (name !== undefined && name !== '' && names.length > 0)
    throw new Error(`${at}: name and names: expected one of them`);
  if (typeof name === 'string' && name !== '') names.push(name);
  if (names.length === 0) throw new Error(`${at}: it names no system call`);
  for (const one of names)
    if (!/^[a-zA-Z0-9_]+$/.test(one)) throw new Error(`${at}.names: ${JSON.stringify(one)} is no name`);
  const action = actionOf(json['action'], `${at}.action`);
  const errno = errnoOf(json['errnoRet'], `${at}.errnoRet`);
  const args = listOf(json['args'], `${at}.args`).map((one, i) =>
    conditionOf(objectOf(one, `${at}.args[${i}]`), `${at}.args[${i}]`),
  );
  if (!applies(json, at, machine)) return [];
  // Two conditions on one argument: either of them will do, as runc has it.
  const isDouble = new Set(args.map(({ index }) => index)).size < args.length;
  return isDouble
    ? args.map((one) => ({ names, action, errno, args: [one] }))
    : [{ names, action, errno, args }];
}

function conditionOf(json: Json, at: string): Condition {
  const index = numberOf(json['index'], `${at}.index`, 5);
  return {
    index: Number(index),
    value: numberOf(json['value'], `${at}.value`),
    valueTwo: numberOf(json['valueTwo'], `${at}.valueTwo`),
    op: oneOf(json['op'], OPERATORS, `${at}.op`),
  };
}

/** Docker's conditions on the machine and the container. */
function applies(json: Json, at: string, machine: Machine): boolean {
  const native = NATIVE[machine.arch]?.go ?? machine.arch;
  const has = (what: 'includes' | 'excludes') => {
    const { arches, caps, minKernel } = objectOf(json[what] ?? {}, `${at}.${what}`);
    return {
      arches: textsOf(arches, `${at}.${what}.arches`),
      caps: textsOf(caps, `${at}.${what}.caps`),
      kernel:
        minKernel === undefined ? undefined : isAtLeast(machine.kernel, minKernel, `${at}.${what}.minKernel`),
    };
  };
  const [wanted, unwanted] = [has('includes'), has('excludes')];
  const holds = (name: string) => machine.capabilities.includes(name);
  return (
    !unwanted.arches.includes(native) &&
    !unwanted.caps.some(holds) &&
    unwanted.kernel !== true &&
    (wanted.arches.length === 0 || wanted.arches.includes(native)) &&
    wanted.caps.every(holds) &&
    wanted.kernel !== false
  );
}

function isAtLeast(kernel: string, wanted: unknown, at: string): boolean {
  const [, major, minor] = /^(\d+)\.(\d+)$/.exec(String(wanted)) ?? [];
  if (major === undefined) throw new Error(`${at}: expected a version such as "4.8"`);
  const [own = 0, ownMinor = 0] = kernel.split(/[.-]/).map(Number);
  return own > Number(major) || (own === Number(major) && ownMinor >= Number(minor));
}

const words = (value: unknown): string => JSON.stringify(value) ?? 'nothing';

function objectOf(value: unknown, at: string): Json {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Json;
  throw new Error(`${at}: expected an object, found ${words(value).slice(0, 80)}`);
}

function listOf(value: unknown, at: string): unknown[] {
  if (value === undefined || value === null) return [];
  if (Array.isArray(value)) return value;
  throw new Error(`${at}: expected a list, found ${words(value).slice(0, 80)}`);
}

const textsOf = (value: unknown, at: string): string[] =>
  listOf(value, at).map((one) => {
    if (typeof one === 'string') return one;
    throw new Error(`${at}: expected texts, found ${words(one).slice(0, 80)}`);
  });

function oneOf(value: unknown, known: readonly string[], at: string): string {
  const found = known.find((one) => one === value);
  if (found !== undefined) return found;
  throw new Error(`${at}: expected one of ${known.join(', ')}, found ${words(value).slice(0, 80)}`);
}

const actionOf = (value: unknown, at: string): string => oneOf(value, Object.keys(ACTIONS), at);

/** JSON's numbers are exact up to 2^53; a mask of 64 bits is a text in no profile. */
function numberOf(value: unknown, at: string, most: number = Number.MAX_SAFE_INTEGER): bigint {
  if (value === undefined) return 0n;
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 && value <= most)
    return BigInt(value);
  throw new Error(`${at}: expected a number from 0 to ${most}, found ${words(value).slice(0, 80)}`);
}

const errnoOf = (value: unknown, at: string): number | undefined =>
  value === undefined || value === null ? undefined : Number(numberOf(value, at, 4095));

/** What runc reads. */
export const runcSeccomp = ({ action, errno, architectures, flags, rules }: Profile): object => ({
  defaultAction: action,
  ...(errno === undefined ? {} : { defaultErrnoRet: errno }),
  ...(architectures.length > 0 ? { architectures } : {}),
  ...(flags.length > 0 ? { flags } : {}),
  syscalls: rules.map(({ names, action: own, errno: number, args }) => ({
    names,
    action: own,
    ...(number === undefined ? {} : { errnoRet: number }),
    args: args.map(({ index, value, valueTwo, op }) => ({
      index,
      value: Number(value),
      valueTwo: Number(valueTwo),
      op,
    })),
  })),
});

const answer = (action: string, errno: number | undefined): string => {
  const takes = action === 'SCMP_ACT_ERRNO' || action === 'SCMP_ACT_TRACE';
  return (ACTIONS[action]! + (takes ? (errno ?? EPERM) : 0)).toString(16);
};

/**
 * What native/pause-seccomp.c reads: lines, the first of them `filter FLAGS ANSWER`, the others
 * `call NAME ANSWER [INDEX OP VALUE VALUE-TWO]…`, of which the first that fits decides. Answers are hexadecimal, as the
 * kernel has them (SECCOMP_RET_…).
 */
export function profileText({ action, errno, flags, rules: all }: Profile): string {
  const otherwise = answer(action, errno);
  // As runc: what is so without a rule too is none, and takes the place of no other.
  const rules = all.filter((rule) => answer(rule.action, rule.errno) !== otherwise);
  const plain = new Set(rules.flatMap(({ names, args }) => (args.length === 0 ? names : [])));
  const bits = flags.reduce((sum, flag) => sum | FLAGS[flag]!, 0);
  const lines = rules.flatMap((rule) =>
    rule.names
      // A rule without conditions stands for all the others of its call, as libseccomp has it.
      .filter((name) => rule.args.length === 0 || !plain.has(name))
      .map((name) =>
        ['call', name, answer(rule.action, rule.errno), ...rule.args.map(conditionText)].join(' '),
      ),
  );
  return `${[`filter ${bits} ${otherwise}`, ...lines].join('\n')}\n`;
}

const conditionText = ({ index, op, value, valueTwo }: Condition): string =>
  `${index} ${op.slice('SCMP_CMP_'.length)} ${value} ${valueTwo}`;
