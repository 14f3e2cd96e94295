/** By nftables: rules first in every chain of others that sees what is forwarded. Their comment is the attachment's mark. */
import type { Nft } from '../../kernel/nft.ts';
import { isObject } from '../../lib/json.ts';
import type { FirewallBackend } from './firewall.ts';

interface Chain {
  readonly family: string;
  readonly table: string;
  readonly name: string;
}

interface Rule extends Chain {
  readonly handle: number;
  readonly comment: string;
}

const COMMENT = 'heddle-cni';
const startOf = (mark: string): string => `${COMMENT} ${mark} `;

export function createNftFirewall(nft: Nft): FirewallBackend {
  function parts(kind: 'chain' | 'rule', command: string): Record<string, unknown>[] {
    const listed = nft.json(command);
    const all: unknown[] = isObject(listed) && Array.isArray(listed['nftables']) ? listed['nftables'] : [];
    return all.flatMap((part) => {
      const one = isObject(part) ? part[kind] : undefined;
      return isObject(one) ? [one] : [];
    });
  }

  /** What is filtered there is ours to pass; translation is not. */
  const chains = (): Chain[] =>
    parts('chain', 'list chains')
      .filter(
        ({ hook, type, table }) =>
          hook === 'forward' && type === 'filter' && !String(table).startsWith('heddle'),
      )
      .map(({ family, table, name }) => ({
        family: String(family),
        table: String(table),
        name: String(name),
      }))
      .filter(({ family }) => ['ip', 'ip6', 'inet'].includes(family));

  const rulesOf = (start: string): Rule[] =>
    chains().flatMap((chain) =>
      parts('rule', `list chain ${chain.family} ${chain.table} ${chain.name}`)
        .filter(({ comment }) => typeof comment === 'string' && comment.startsWith(start))
        .map(({ handle, comment }) => ({ ...chain, handle: Number(handle), comment: String(comment) })),
    );

  const removal = ({ family, table, name, handle }: Rule): string =>
    `delete rule ${family} ${table} ${name} handle ${handle}`;

  function remove(rules: readonly Rule[]): number {
    if (rules.length > 0) nft.run(rules.map(removal).join('\n'));
    return rules.length;
  }

  return {
    async allow(mark, { addresses }) {
      const commands = [
        ...rulesOf(startOf(mark)).map(removal),
        ...chains().flatMap((chain) => addresses.flatMap((address) => insertions(chain, address, mark))),
      ];
      if (commands.length > 0) nft.run(commands.join('\n'));
    },
    async revoke(mark) {
      remove(rulesOf(startOf(mark)));
    },
    async sweep() {
      return remove(rulesOf(`${COMMENT} `));
    },
    async lacking(mark, { addresses }) {
      const there = rulesOf(startOf(mark));
      return addresses.filter((address) =>
        chains()
          .filter((chain) => speaks(chain, address))
          .some(
            (chain) =>
              !there.some(
                (rule) =>
                  rule.table === chain.table &&
                  rule.family === chain.family &&
                  rule.name === chain.name &&
                  rule.comment === `${COMMENT} ${mark} ${address}`,
              ),
          ),
      );
    },
  };
}

const speaks = ({ family }: Chain, address: string): boolean =>
  family === 'inet' || (family === 'ip6') === address.includes(':');

function insertions(chain: Chain, address: string, mark: string): string[] {
  if (!speaks(chain, address)) return [];
  const ip = address.includes(':') ? 'ip6' : 'ip';
  const head = `insert rule ${chain.family} ${chain.table} ${chain.name}`;
  const tail = `accept comment "${COMMENT} ${mark} ${address}"`;
  return [
    `${head} ${ip} daddr ${address} ct state established,related ${tail}`,
    `${head} ${ip} daddr ${address} ct status dnat ${tail}`,
    `${head} ${ip} saddr ${address} ${tail}`,
  ];
}
