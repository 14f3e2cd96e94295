/** Masquerade and link addresses of single attachments, by nftables: elements of the sets of table.ts. */
import type { Nft } from '../../kernel/nft.ts';
import { formatCidr, parseCidr } from '../../lib/ip.ts';
import type { LinkRules, RulesKeeper } from '../links.ts';
import { createElements, type Element, idOf } from './elements.ts';
import { BRIDGE_TABLE, bridgeTableCommands, FAMILIES, TABLE } from './table.ts';

const containers = FAMILIES.flatMap((family) => [
  { kind: 'set', name: `masquerade${family}` } as const,
  { kind: 'set', name: `local${family}` } as const,
]);
const MACS = [{ kind: 'set', name: 'senders' } as const, { kind: 'set', name: 'checked' } as const];

/** Takes over what the kernel holds already. @throws HeddleError `Nft` */
export function createLinkRules(nft: Nft): RulesKeeper {
  const sources = createElements({ nft, table: TABLE, containers });
  const found = nft.run('list tables').includes(`table ${BRIDGE_TABLE}`);
  let senders = found ? createElements({ nft, table: BRIDGE_TABLE, containers: MACS }) : undefined;

  /** Made when somebody asks for it: not every kernel has rules for bridges. */
  function ensureSenders() {
    if (senders) return senders;
    nft.run(bridgeTableCommands());
    senders = createElements({ nft, table: BRIDGE_TABLE, containers: MACS });
    return senders;
  }

  function clear(link: string): void {
    sources.remove(link);
    senders?.remove(link);
  }

  return {
    set(rules) {
      clear(rules.link);
      sources.put(rules.link, masqueradeElements(rules));
      if (rules.mac !== undefined) ensureSenders().put(rules.link, senderElements(rules.link, rules.mac));
    },
    clear,
    missing(rules) {
      const there = new Set(sources.read(rules.link).map(idOf));
      const faults = masqueradeElements(rules).some((element) => !there.has(idOf(element)))
        ? ['what the container sends is not masqueraded any more']
        : [];
      if (rules.mac === undefined) return faults;
      const macs = new Set(senders?.read(rules.link).map(idOf));
      const lacking = senderElements(rules.link, rules.mac).some((element) => !macs.has(idOf(element)));
      return lacking ? [...faults, 'the container may send with any link address'] : faults;
    },
    held(link) {
      const masquerade = (sources.of(link) ?? []).flatMap(({ map, key }) => {
        const [address = '', network = ''] = key.split(' . ');
        return map.startsWith('local') ? [`${address}/${network.split('/')[1]}`] : [];
      });
      const sender = senders?.of(link)?.find(({ map }) => map === 'senders');
      const mac = sender?.key.split(' . ')[1];
      return {
        link,
        ...(masquerade.length > 0 ? { masquerade } : {}),
        ...(mac === undefined ? {} : { mac }),
      };
    },
    holders: () => [...new Set([...sources.links(), ...(senders?.links() ?? [])])],
  };
}

function masqueradeElements({ masquerade = [] }: LinkRules): Element[] {
  return masquerade.flatMap((text) => {
    const address = text.slice(0, text.indexOf('/'));
    const family = text.includes(':') ? 6 : 4;
    return [
      { map: `masquerade${family}`, key: address },
      { map: `local${family}`, key: `${address} . ${formatCidr(parseCidr(text))}` },
    ];
  });
}

const senderElements = (link: string, mac: string): Element[] => [
  { map: 'senders', key: `${link} . ${mac}` },
  { map: 'checked', key: link },
];
