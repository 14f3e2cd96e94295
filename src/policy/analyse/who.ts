/** Sets of workloads and addresses that an assertion speaks of. */
import { compileSelector, type LabelSelector } from '../../api/selector.ts';
import { type Family, firstOf, lastOf, parseCidr } from '../../lib/ip.ts';
import { type Estate, type Workload, workloadsCalled } from './estate.ts';
import { lastAddress, type Span } from './externals.ts';

export type Who =
  | { readonly type: 'anybody' }
  /** Addresses of no pod. */
  | { readonly type: 'outside' }
  | { readonly type: 'namespace'; readonly name: string }
  | { readonly type: 'workload'; readonly namespace: string; readonly name: string; readonly kind?: string }
  /** Workloads with a pod that is selected, in one namespace or in all. */
  | { readonly type: 'pods'; readonly namespace: string | undefined; readonly selector: LabelSelector }
  /** Addresses outside, and no pods. */
  | { readonly type: 'range'; readonly cidr: string }
  | { readonly type: 'not'; readonly who: Who }
  | { readonly type: 'any-of'; readonly list: readonly Who[] };

export interface Everyone {
  readonly workloads: ReadonlySet<Workload>;
  /** In order, apart. */
  readonly spans: readonly Span[];
}

/** @throws HeddleError `BadCidr` */
export function whoIs(estate: Estate, who: Who, family: Family): Everyone {
  const { workloads } = estate;
  const whole: readonly Span[] = [{ first: 0n, last: lastAddress(family) }];
  const pick = (test: (workload: Workload) => boolean): Everyone => ({
    workloads: new Set(workloads.filter(test)),
    spans: [],
  });
  const of = (each: Who): Everyone => {
    switch (each.type) {
      case 'anybody':
        return { workloads: new Set(workloads), spans: whole };
      case 'outside':
        return { workloads: new Set(), spans: whole };
      case 'namespace':
        return pick(({ namespace }) => namespace === each.name);
      case 'workload':
        return { workloads: new Set(workloadsCalled(estate, each)), spans: [] };
      case 'pods': {
        const selects = compileSelector(each.selector);
        const here = (namespace: string) => each.namespace === undefined || each.namespace === namespace;
        return pick(({ namespace, pods }) => here(namespace) && pods.some(({ labels }) => selects(labels)));
      }
      case 'range': {
        const cidr = parseCidr(each.cidr);
        const span = { first: firstOf(cidr).value, last: lastOf(cidr).value };
        return { workloads: new Set(), spans: cidr.family === family ? [span] : [] };
      }
      case 'not': {
        const inner = of(each.who);
        return {
          workloads: new Set(workloads.filter((workload) => !inner.workloads.has(workload))),
          spans: cutSpans(whole, inner.spans),
        };
      }
      default: {
        const parts = each.list.map(of);
        const all = parts.flatMap(({ spans }) => spans);
        return {
          workloads: new Set(parts.flatMap((part) => [...part.workloads])),
          spans: cutSpans(whole, cutSpans(whole, all)),
        };
      }
    }
  };
  return of(who);
}

/** What of `spans` none of `cuts` holds. */
function cutSpans(spans: readonly Span[], cuts: readonly Span[]): Span[] {
  const ordered = [...cuts].sort((a, b) => (a.first < b.first ? -1 : 1));
  return spans.flatMap(({ first, last }) => {
    const kept: Span[] = [];
    let from = first;
    for (const cut of ordered) {
      if (cut.last < from || cut.first > last) continue;
      if (cut.first > from) kept.push({ first: from, last: cut.first - 1n });
      from = cut.last + 1n;
    }
    if (from <= last) kept.push({ first: from, last });
    return kept;
  });
}

/** Where both are. */
export const meet = (span: Span, others: readonly Span[]): Span[] =>
  others
    .map(({ first, last }) => ({
      first: first > span.first ? first : span.first,
      last: last < span.last ? last : span.last,
    }))
    .filter(({ first, last }) => first <= last);

/** Whether a word of the assertion means nothing here: a proof about nobody proves nothing. */
export const isNobody = ({ workloads, spans }: Everyone): boolean =>
  workloads.size === 0 && spans.length === 0;
