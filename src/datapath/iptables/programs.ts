/** iptables' programs, in the network namespace of a node. */
import type { run as runProgram } from '../../kernel/spawn.ts';
import type { Netns } from '../../kernel/netns.ts';
import { errnoCode, HeddleError } from '../../lib/errors.ts';
import type { Family } from './objects.ts';

export interface Programs {
  /** The tables nat and filter, as iptables-save prints them. @throws HeddleError `Iptables`, `IptablesMissing` */
  save(family: Family): Promise<string>;
  /** Each table of `input` is one transaction. @throws HeddleError `Iptables`, `IptablesMissing` */
  restore(family: Family, input: string): Promise<void>;
}

export interface ProgramsOptions {
  readonly run: typeof runProgram;
  /** Default: this process's. */
  readonly netns?: Netns;
  /** Which of the two kinds; default: whatever the system's `iptables` is. Both work beside each other. */
  readonly variant?: 'nft' | 'legacy';
}

/** Bytes; 10,000 services of three endpoints are 25 MB. */
const MOST_OUTPUT = 256 << 20;
const TIMEOUT_MS = 120_000;
/** A batch of thousands of rules may be quoted in its error. */
const MOST_WORDS = 600;

export function createPrograms({ run, netns, variant }: ProgramsOptions): Programs {
  const program = (family: Family, what: 'save' | 'restore'): string =>
    `${family === 4 ? 'iptables' : 'ip6tables'}${variant ? `-${variant}` : ''}-${what}`;

  async function start(argv: readonly string[], input = ''): Promise<string> {
    const options = { input, timeoutMs: TIMEOUT_MS, maxOutput: MOST_OUTPUT, ...(netns ? { netns } : {}) };
    const result = await run(argv, options).catch((cause: unknown) => {
      throw errnoCode(cause) === 'ProgramMissing' ? missing(argv[0] ?? '', cause) : cause;
    });
    if (result.code === 0) return result.stdout;
    const words = result.stderr.trim().slice(0, MOST_WORDS);
    throw new HeddleError(
      'Iptables',
      `${argv[0]} did not accept the rules: ${words || `code ${result.code}`}`,
      {
        hint: hintFor(words),
      },
    );
  }

  return {
    async save(family) {
      const tables = ['nat', 'filter'] as const;
      const texts = [];
      for (const table of tables) texts.push(await start([program(family, 'save'), '-t', table]));
      return texts.join('');
    },
    async restore(family, input) {
      await start([program(family, 'restore'), '--noflush', '--wait', '30'], input);
    },
  };
}

const missing = (name: string, cause: unknown): HeddleError =>
  new HeddleError('IptablesMissing', `the iptables data path needs ${name}, which is not installed`, {
    hint: 'install iptables, or choose the data path nftables or ebpf',
    cause,
  });

function hintFor(words: string): string | undefined {
  if (/permission denied/i.test(words)) return 'this needs root with CAP_NET_ADMIN';
  const lacking = /Couldn't load match `?([\w-]+)|No chain\/target\/match|table does not exist/i.exec(words);
  return lacking ? 'the kernel or iptables lacks a match or target that the rules use' : undefined;
}
