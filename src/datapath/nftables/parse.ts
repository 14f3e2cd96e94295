/** `nft list table …` → objects that compare with those of a plan. */
import { canonicalText } from './lower.ts';
import { PROTOCOL_NUMBERS } from './protocol-names.ts';
import { type KernelObject, stateOf } from './objects.ts';

/** Undefined: there is no such table. */
export function parseTable(listing: string): Map<string, KernelObject> {
  const lines = listing.split('\n');
  const objects: KernelObject[] = [];
  for (let i = 1; i < lines.length; i++) {
    const line = (lines[i] ?? '').trim();
    if (line === '' || line === '}' || line.startsWith('comment ')) continue;
    const header = /^(\w+(?: \w+)?) ([\w./-]+) \{$/.exec(line);
    if (!header) {
      objects.push({ type: 'foreign', word: '', name: line });
      continue;
    }
    const body: string[] = [];
    let depth = 1;
    while (depth > 0 && ++i < lines.length) {
      const inner = (lines[i] ?? '').trim();
      depth += balance(inner);
      if (depth > 0 && inner !== '') body.push(inner);
    }
    objects.push(...parseBlock(header[1] ?? '', header[2] ?? '', body));
  }
  return stateOf(objects);
}

/** Braces that a line opens and does not close, those in strings left out. */
function balance(line: string): number {
  const bare = line.replaceAll(/"[^"]*"/g, '');
  return bare.split('{').length - bare.split('}').length;
}

function parseBlock(word: string, name: string, body: readonly string[]): KernelObject[] {
  const lines = body.filter((line) => !line.startsWith('comment "'));
  if (word === 'counter') return [{ type: 'counter', name }];
  if (word === 'chain') return [parseChain(name, lines)];
  if (word === 'set' || word === 'map') return parseSet(word === 'map', name, lines);
  return [{ type: 'foreign', word, name }];
}

function parseChain(name: string, lines: readonly string[]): KernelObject {
  const [first = ''] = lines;
  const hook = /^type \w+ hook /.test(first) ? first : '';
  return { type: 'chain', name, hook, rules: hook === '' ? lines : lines.slice(1) };
}

function parseSet(isMap: boolean, name: string, lines: readonly string[]): KernelObject[] {
  const start = lines.findIndex((line) => line.startsWith('elements = '));
  const spec = (start < 0 ? lines : lines.slice(0, start)).join('; ');
  // What the kernel puts in by itself is no part of what was written.
  const text = start < 0 || /flags .*dynamic/.test(spec) ? '' : lines.slice(start).join(' ');
  return [
    { type: 'set', name, map: isMap, spec },
    ...splitElements(text.replace(/^elements = \{/, '').replace(/\}$/, '')).map((item): KernelObject => {
      const [key = '', value = ''] = isMap ? item.split(' : ') : [item];
      return { type: 'element', set: name, key: canonicalKey(key), value: canonicalKey(value) };
    }),
  ];
}

/** By commas outside of strings. */
function splitElements(text: string): string[] {
  const pieces = text.includes('"') ? (text.match(/(?:"[^"]*"|[^",])+/g) ?? []) : text.split(',');
  return pieces.map((item) => item.trim()).filter((item) => item !== '');
}

/** Time-outs, counters and comments that somebody gave an element are no part of what it is. */
const extras = / (?:timeout|expires|counter|comment|limit|quota) .*$/;

/** inet_ntop writes IPv6 as we do, but for `::ffff:10.0.0.1` and `::10.0.0.1`. */
const embedsIpv4 = /:\d+\.\d/;

function canonicalKey(text: string): string {
  return text
    .replace(extras, '')
    .trim()
    .split(' . ')
    .map((part) => (embedsIpv4.test(part) ? part.split('-').map(canonicalPrefix).join('-') : part))
    .map((part, i, { length }) => (i === 1 && length === 3 ? protocolOf(part) : part))
    .join(' . ');
}

/** Between who and which port. */
const protocolOf = (text: string): string =>
  Object.hasOwn(PROTOCOL_NUMBERS, text) ? String(PROTOCOL_NUMBERS[text]) : text;

function canonicalPrefix(text: string): string {
  const slash = text.indexOf('/');
  return slash < 0 ? canonicalText(text) : canonicalText(text.slice(0, slash)) + text.slice(slash);
}
