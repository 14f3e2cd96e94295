/** Classes of the ranges that rules tell apart, as what rules ask of addresses comes and goes. */
import { type Address, bits, type Cidr, firstOf, formatAddress, formatCidr, lastOf } from '../lib/ip.ts';
import type { Block } from './blocks.ts';
import type { Draft, Drafts } from './drafts.ts';
import type { NamedPorts } from './named-ports.ts';
import { createNestedRanges, type Mark, NO_TERMS, type RangeChange, type Span } from './nested-ranges.ts';

export interface RangeClasses {
  /** Texts of the terms that hold for an address, whosoever it is; the very same list within a range. */
  termsAt(address: Address): readonly string[];
  /** Identity of the narrowest range around it. */
  around(address: Address): number;
  /** Of a range that is of another class than what is around it. */
  identity(prefix: string): number | undefined;
  rangesOf(term: string): readonly Span[];
  change(gone: Iterable<string>, come: Iterable<readonly [string, Block]>): RangeChange;
  /** To be called when all classes are known. */
  number(change: RangeChange): Numbered;
}

export interface Numbered {
  /** Identities of wider ranges than addresses; undefined: there is none any more. */
  readonly prefixes: ReadonlyMap<string, number | undefined>;
  /** Ranges of one address: a pod may have it. */
  readonly addresses: readonly string[];
}

const NO_NAMES: NamedPorts = new Map();

export function createRangeClasses(drafts: Drafts): RangeClasses {
  const nested = createNestedRanges();
  const held = new Map<Mark, Draft>();
  const base = new Map<string, number>();
  const identityOf = (mark: Mark | undefined): number => {
    const draft = mark && held.get(mark);
    return draft ? drafts.identity(draft) : 0;
  };

  return {
    termsAt: (address) => nested.match(address)?.terms ?? NO_TERMS,
    around: (address) => identityOf(nested.match(address, bits(address.family) - 1)),
    identity: (prefix) => base.get(prefix),
    rangesOf: (term) => nested.rangesOf(term).map(spanOf),
    change(gone, come) {
      const change = nested.change(gone, come);
      for (const { mark } of change.touched) {
        const was = held.get(mark);
        // First what comes: a class that stays is never gone in between.
        held.set(mark, drafts.hold(drafts.of(mark.terms, NO_NAMES)));
        if (was) drafts.drop(was);
      }
      for (const mark of change.gone) {
        const was = held.get(mark);
        if (was) drafts.drop(was);
        held.delete(mark);
      }
      return change;
    },
    number({ touched, gone }) {
      const prefixes = new Map<string, number | undefined>();
      const addresses: string[] = [];
      const note = (mark: Mark, identity: number | undefined) => {
        const prefix = formatCidr(mark.cidr);
        if (identity === undefined) base.delete(prefix);
        else base.set(prefix, identity);
        if (mark.cidr.length < bits(mark.cidr.family)) prefixes.set(prefix, identity);
        else addresses.push(formatAddress(firstOf(mark.cidr)));
      };
      for (const mark of gone) note(mark, undefined);
      for (const { mark, around } of touched) {
        const identity = identityOf(mark);
        note(mark, identity === identityOf(around) ? undefined : identity);
      }
      return { prefixes, addresses };
    },
  };
}

const spanOf = (cidr: Cidr): Span => ({
  family: cidr.family,
  first: cidr.value,
  last: lastOf(cidr).value,
});
