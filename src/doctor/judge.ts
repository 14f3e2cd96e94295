/** From what an agent knows of its node to what is wrong there. Pure. */
import type { AddressFill, Finding, NodeFacts, TableFill, User } from './facts.ts';

/** From so much of a table on, the next burst may find no room. */
const NEARLY_FULL = 0.8;
/** Addresses come back slowly, and pods come in numbers. */
const NEARLY_TAKEN = 0.9;

export function judgeNode(facts: NodeFacts): Finding[] {
  return [
    ...differences(facts),
    ...orphans(facts),
    ...strays(facts),
    ...facts.tables.filter(({ entries, max }) => max > 0 && entries >= max * NEARLY_FULL).map(fullTable),
    ...beyondShare(facts),
    ...blackHoles(facts),
    ...facts.addresses.filter(({ taken, size }) => taken >= size * NEARLY_TAKEN).map(scarce),
  ];
}

function* differences({ differences: all }: NodeFacts): Generator<Finding> {
  if (all.length === 0) return;
  yield {
    check: 'data-path',
    severity: 'error',
    what: `the kernel is not what the plan says in ${count(all.length, 'place')}`,
    items: all.map(({ kind, what }) => `${kind}: ${what}`),
    hint: 'somebody changed it beside the agent; --fix writes the plan again, without a gap',
    fixable: true,
  };
}

function* orphans({ orphans: all }: NodeFacts): Generator<Finding> {
  if (all.length === 0) return;
  yield {
    check: 'leases',
    severity: 'error',
    what: `${count(all.length, 'link or address has', 'links and addresses have')} no pod`,
    items: all,
    hint: '--fix gives them back',
    fixable: true,
  };
}

function* strays({ strays: all }: NodeFacts): Generator<Finding> {
  if (all.length === 0) return;
  yield {
    check: 'leases',
    severity: 'error',
    what: `the address book and the kernel differ in ${count(all.length, 'place')}`,
    items: all,
    hint: 'the book was lost, or somebody wrote routes; --fix books what pods have, and leads each address to who has it',
    fixable: true,
  };
}

const fullTable = ({ name, entries, max, users }: TableFill): Finding => ({
  check: 'tables',
  severity: entries >= max ? 'error' : 'warning',
  what: `${name} has ${entries} of at most ${max} entries (${percent(entries, max)})`,
  items: users.map(userText),
  hint:
    users.length > 0
      ? 'the heaviest users are named: fewer connections of theirs, or more room (--map-memory, heddle tune)'
      : 'more room: --map-memory of "heddle up", or "heddle tune"',
  fixable: false,
});

function* beyondShare({ beyondShare: all }: NodeFacts): Generator<Finding> {
  if (all.length === 0) return;
  yield {
    check: 'connections',
    severity: 'warning',
    what: `${count(all.length, 'pod wants', 'pods want')} more connections than a share of the node`,
    items: all.map(
      ({ pod, begun, crowded, gaveWay, refused }) =>
        `${pod}: ${begun} begun, ${crowded} beyond its share, ${gaveWay} gave way, ${refused} refused`,
    ),
    hint: 'such a pod pushes out its own connections; others go on',
    fixable: false,
  };
}

function* blackHoles({ blackHoles: all }: NodeFacts): Generator<Finding> {
  if (all.length === 0) return;
  yield {
    check: 'paths',
    severity: 'error',
    what: `${count(all.length, 'path', 'paths')} to other nodes ${all.length === 1 ? 'swallows' : 'swallow'} large packets in silence`,
    items: all,
    hint: 'connections begin and then hang: mend the link, or give the underlay the MTU that passes (spec.mtu of the cluster file)',
    fixable: false,
  };
}

const scarce = ({ cidr, taken, size, users }: AddressFill): Finding => ({
  check: 'addresses',
  severity: taken >= size ? 'error' : 'warning',
  what: `${taken} of ${size} addresses of ${cidr} are taken (${percent(taken, size)})`,
  items: users.map(userText),
  hint: 'the namespaces with most are named: fewer pods on this node, or a wider --pod-cidr',
  fixable: false,
});

const userText = ({ name, entries }: User): string => `${name}: ${entries}`;
const percent = (part: number, whole: number): string => `${Math.round((part / whole) * 100)} %`;
const count = (n: number, one: string, more = `${one}s`): string => `${n} ${n === 1 ? one : more}`;

/** The heaviest first; as many as a reader looks at. */
export function heaviest(names: Iterable<string>, most = 5): User[] {
  const counts = new Map<string, number>();
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
  return [...counts]
    .map(([name, entries]) => ({ name, entries }))
    .sort((a, b) => b.entries - a.entries || (a.name < b.name ? -1 : 1))
    .slice(0, most);
}
