/** Classes of peers while they are put together: each is there as long as some range or address is of it. */
import type { PeerClass } from './identities.ts';
import { type NamedPorts, namedPortsText } from './named-ports.ts';
import { createNumberer, shortened } from './numbers.ts';

export interface Draft {
  readonly text: string;
  readonly terms: ReadonlySet<string>;
  readonly named: NamedPorts;
  /** How many ranges and addresses are of it. */
  uses: number;
}

export interface Drafts {
  of(terms: readonly string[], named: NamedPorts): Draft;
  /** Returns the one that counts, should the class have gone in between. */
  hold(draft: Draft): Draft;
  drop(draft: Draft): void;
  /** Of one that is held; 0 if it is of nobody that rules tell apart. */
  identity(draft: Draft): number;
  /** Grows when an identity that was given may be another one now. */
  epoch(): number;
  /** By identity; the very same list, and the same classes in it, as long as there are no others. */
  classes(): readonly PeerClass[];
  /** The same by text. */
  readonly byText: ReadonlyMap<string, PeerClass>;
}

/** @param former classes of before, by text: those that come again are the same objects */
export function createDrafts(former: ReadonlyMap<string, PeerClass>): Drafts {
  const live = new Map<string, Draft>();
  const numberer = createNumberer();
  const known = new Map(former);
  let classes: readonly PeerClass[] = [];
  let isSame = false;
  /** A selector with thousands of values is in the text of every class that it selects. */
  const shorts = new Map<string, string>();
  function short(term: string): string {
    const known = shorts.get(term) ?? shortened(term);
    if (known !== term) shorts.set(term, known);
    return known;
  }

  function classOf({ text, terms, named }: Draft): PeerClass {
    const identity = numberer.number(text);
    const before = known.get(text);
    if (before?.identity === identity) return before;
    const made = { identity, terms, named };
    known.set(text, made);
    return made;
  }

  return {
    byText: known,
    of(terms, named) {
      const text = `${terms.map(short).join(' | ')} # ${namedPortsText(named)}`;
      return live.get(text) ?? { text, terms: new Set(terms), named, uses: 0 };
    },
    hold(draft) {
      const own = live.get(draft.text) ?? draft;
      if (own.uses++ > 0) return own;
      live.set(own.text, own);
      if (!isNobody(own)) numberer.retain(own.text);
      isSame = false;
      return own;
    },
    drop(draft) {
      if (--draft.uses > 0) return;
      live.delete(draft.text);
      if (!isNobody(draft)) numberer.release(draft.text);
      isSame = false;
    },
    identity: (draft) => (isNobody(draft) ? 0 : numberer.number(draft.text)),
    epoch: numberer.epoch,
    classes() {
      if (isSame) return classes;
      isSame = true;
      const next = [...live.values()]
        .filter((draft) => !isNobody(draft))
        .map(classOf)
        .sort((a, b) => a.identity - b.identity);
      for (const text of known.keys()) if (!live.has(text)) known.delete(text);
      if (next.length !== classes.length || next.some((each, i) => each !== classes[i])) classes = next;
      return classes;
    },
  };
}

const isNobody = ({ terms, named }: Draft): boolean => terms.size === 0 && named.size === 0;
