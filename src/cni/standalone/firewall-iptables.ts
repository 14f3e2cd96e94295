/**
 * By iptables and ip6tables: a chain of ours, first in FORWARD, with the administrator's chain first in it. Rules carry
 * the attachment's mark as comment.
 */
import type { FirewallBackend } from './firewall.ts';
import { firewallError } from './firewall.ts';

/** Runs a program in the machine's namespace. */
export type Argv = (
  argv: readonly string[],
  input?: string,
) => Promise<{ code: number; stdout: string; stderr: string }>;

const CHAIN = 'HEDDLE-FORWARD';
const PROGRAMS = { 4: 'iptables', 6: 'ip6tables' } as const;
type Family = keyof typeof PROGRAMS;
const FAMILIES = [4, 6] as const;

export async function hasIptables(run: Argv): Promise<boolean> {
  const answers = FAMILIES.map((family) =>
    run([`${PROGRAMS[family]}-restore`, '--version']).then(
      ({ code }) => code === 0,
      () => false,
    ),
  );
  return (await Promise.all(answers)).every(Boolean);
}

export function createIptablesFirewall(run: Argv): FirewallBackend {
  async function list(family: Family): Promise<string[]> {
    const { code, stdout, stderr } = await run([PROGRAMS[family], '-w', '10', '-S']);
    if (code !== 0) throw firewallError(stderr.trim());
    return stdout.split('\n');
  }

  async function commit(family: Family, lines: readonly string[]): Promise<void> {
    if (lines.length === 0) return;
    const input = ['*filter', ...lines, 'COMMIT', ''].join('\n');
    const { code, stderr } = await run([`${PROGRAMS[family]}-restore`, '-w', '10', '--noflush'], input);
    if (code !== 0) throw firewallError(stderr.trim());
  }

  return {
    async allow(mark, rules) {
      for (const family of FAMILIES) {
        const own = rules.addresses.filter((address) => address.includes(':') === (family === 6));
        if (own.length === 0) continue;
        const there = await list(family);
        await commit(family, [
          ...frame(there, rules.adminChain),
          ...removals(there, mark),
          ...own.flatMap((address) => rulesFor(address, mark)).map((rule) => `-A ${CHAIN} ${rule}`),
        ]);
      }
    },
    async revoke(mark) {
      for (const family of FAMILIES) {
        const there = await list(family);
        const gone = removals(there, mark);
        if (gone.length === 0) continue;
        await commit(family, [...gone, ...lastRites(there, gone.length)]);
      }
    },
    async sweep() {
      let swept = 0;
      for (const family of FAMILIES) {
        const there = await list(family);
        if (!there.includes(`-N ${CHAIN}`)) continue;
        const gone = there
          .filter((line) => line.startsWith(`-A ${CHAIN} `) && line.includes(' --comment '))
          .map((line) => line.replace(/^-A/, '-D'));
        await commit(family, [...gone, ...lastRites(there, gone.length)]);
        swept += gone.length;
      }
      return swept;
    },
    async lacking(mark, rules) {
      const there = (await Promise.all(FAMILIES.map(list))).flat();
      const jump = (lines: readonly string[]) => lines.some((line) => isJump(line));
      if (!jump(there)) return [...rules.addresses];
      return rules.addresses.filter(
        (address) => !there.some((line) => isOf(line, mark) && line.includes(` -s ${hostOf(address)} `)),
      );
    },
  };
}

const hostOf = (address: string): string => `${address}/${address.includes(':') ? 128 : 32}`;
const isJump = (line: string): boolean => line.startsWith('-A FORWARD ') && line.endsWith(` -j ${CHAIN}`);
const isOf = (line: string, mark: string): boolean =>
  line.startsWith(`-A ${CHAIN} `) && new RegExp(` --comment "?${mark}"? `).test(line);

function rulesFor(address: string, mark: string): string[] {
  const ours = `-m comment --comment ${mark} -j ACCEPT`;
  const host = hostOf(address);
  return [`-s ${host} ${ours}`, `-d ${host} -m conntrack --ctstate RELATED,ESTABLISHED,DNAT ${ours}`];
}

/** The chains and the ways to them, as far as they are not there. */
function frame(there: readonly string[], admin: string): string[] {
  const has = (chain: string) => there.includes(`-N ${chain}`);
  const lines = [CHAIN, admin].flatMap((chain) => (has(chain) ? [] : [`:${chain} - [0:0]`]));
  if (!there.some(isJump)) lines.push(`-I FORWARD 1 -m comment --comment "Heddle: containers" -j ${CHAIN}`);
  if (!there.includes(`-A ${CHAIN} -j ${admin}`)) lines.push(`-I ${CHAIN} 1 -j ${admin}`);
  return lines;
}

const removals = (there: readonly string[], mark: string): string[] =>
  there.filter((line) => isOf(line, mark)).map((line) => line.replace(/^-A/, '-D'));

/** With the last rule of ours goes our chain, and an administrator's chain that nobody uses. */
function lastRites(there: readonly string[], going: number): string[] {
  const own = there.filter((line) => line.startsWith(`-A ${CHAIN} `));
  const jumps = own.filter((line) => !line.includes(' --comment '));
  if (own.length - jumps.length > going) return [];
  const admins = jumps.map((line) => line.split(' -j ')[1] ?? '');
  const unused = admins.filter(
    (admin) =>
      !there.some((line) => line.startsWith(`-A ${admin} `)) &&
      there.filter((line) => line.endsWith(` -j ${admin}`)).length === 1,
  );
  return [
    ...there.filter(isJump).map((line) => line.replace(/^-A/, '-D')),
    ...jumps.map((line) => line.replace(/^-A/, '-D')),
    `-X ${CHAIN}`,
    ...unused.map((admin) => `-X ${admin}`),
  ];
}
