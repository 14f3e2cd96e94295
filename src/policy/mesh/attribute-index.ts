/** Values that conditions ask for, by attribute: which of them a connection or a request has. */
import type { Address } from '../../lib/ip.ts';
import { claimTexts, type Facts, type HttpFacts } from './facts.ts';
import type { Condition, RequestPrincipal } from './model.ts';
import { matchesText } from './patterns.ts';
import {
  createKeyIndex,
  createRangeIndex,
  createTextIndex,
  type Hit,
  type TextIndex,
} from './value-index.ts';

export interface AttributeIndex {
  /** What it excludes is left aside. */
  add(condition: Condition, test: number): void;
  find(facts: Facts, hit: Hit): void;
}

type OfAttribute<A extends Condition['attribute']> = Extract<Condition, { attribute: A }>;

export function createAttributeIndex(): AttributeIndex {
  const texts = new Map<
    string,
    { readonly read: (facts: Facts) => readonly string[]; readonly index: TextIndex }
  >();
  const ranges = {
    'source-ip': createRangeIndex(),
    'remote-ip': createRangeIndex(),
    'destination-ip': createRangeIndex(),
  };
  const ports = createKeyIndex<number>();
  const accounts = createKeyIndex<string>();
  const principals: { readonly principal: RequestPrincipal; readonly test: number }[] = [];
  const headers = new Map<string, { readonly present: number[]; readonly index: TextIndex }>();
  const indexOf = (condition: TextCondition): TextIndex => {
    const key = condition.attribute === 'claim' ? `claim ${condition.names.join('\n')}` : condition.attribute;
    const known = texts.get(key) ?? { read: readerOf(condition), index: createTextIndex() };
    texts.set(key, known);
    return known.index;
  };
  function addHeader({ name, values }: OfAttribute<'header'>, test: number): void {
    const known = headers.get(name) ?? { present: [], index: createTextIndex() };
    headers.set(name, known);
    // A header that is there may be empty.
    for (const pattern of values)
      if (pattern.how === 'present') known.present.push(test);
      else known.index.add(pattern, test);
  }
  return {
    add(condition, test) {
      switch (condition.attribute) {
        case 'source-ip':
        case 'remote-ip':
        case 'destination-ip':
          for (const range of condition.values) ranges[condition.attribute].add(range, test);
          return;
        case 'destination-port':
          for (const port of condition.values) ports.add(port, test);
          return;
        case 'account':
          for (const { namespace, name } of condition.values) accounts.add(`${namespace}/${name}`, test);
          return;
        case 'request-principal':
          for (const principal of condition.values) principals.push({ principal, test });
          return;
        case 'header':
          addHeader(condition, test);
          return;
        default: {
          const index = indexOf(condition);
          for (const pattern of condition.values) index.add(pattern, test);
        }
      }
    },
    find(facts, hit) {
      const { account, request, remote } = facts;
      for (const { read, index } of texts.values()) for (const text of read(facts)) index.find(text, hit);
      const within = (name: keyof typeof ranges, address: Address | null | undefined) => {
        if (address) ranges[name].within(address, hit);
      };
      within('source-ip', facts.source);
      within('remote-ip', remote);
      within('destination-ip', facts.destination);
      ports.find(facts.port, hit);
      if (account) accounts.find(`${account.namespace}/${account.name}`, hit);
      if (typeof request === 'string') return;
      for (const [name, { present, index }] of headers) {
        const value = request.header(name);
        if (value === undefined) continue;
        for (const test of present) hit(test);
        index.find(value, hit);
      }
      for (const { principal, test } of principals) if (isToken(principal, request)) hit(test);
    },
  };
}

type TextCondition =
  | OfAttribute<'principal' | 'namespace' | 'sni' | 'method' | 'host' | 'path'>
  | OfAttribute<'claim'>;

/** The texts that an attribute has, none if it is not there. */
function readerOf(condition: TextCondition): (facts: Facts) => readonly string[] {
  const one = (text: string | null | undefined): readonly string[] =>
    typeof text === 'string' ? [text] : [];
  const http = (read: (request: HttpFacts) => readonly string[]) => (facts: Facts) =>
    typeof facts.request === 'string' ? [] : read(facts.request);
  switch (condition.attribute) {
    case 'principal':
      return ({ principal }) => one(principal);
    case 'namespace':
      return ({ account }) => one(account?.namespace);
    case 'sni':
      return ({ sni }) => one(sni);
    case 'method':
      return http(({ method }) => one(method));
    case 'host':
      return http(({ host }) => one(host?.toLowerCase()));
    case 'path':
      return http(({ path }) => one(path));
    default: {
      const { names } = condition;
      return http(({ claims }) => claimTexts(claims, names));
    }
  }
}

function isToken({ issuer, subject }: RequestPrincipal, { claims }: HttpFacts): boolean {
  const [iss] = claimText(claims, 'iss');
  const [sub] = claimText(claims, 'sub');
  return iss !== undefined && sub !== undefined && matchesText(issuer, iss) && matchesText(subject, sub);
}

/** None if it is a list, whatever is in it. */
const claimText = (claims: HttpFacts['claims'], name: string): readonly string[] =>
  Array.isArray(claims?.[name]) ? [] : claimTexts(claims, [name]);
