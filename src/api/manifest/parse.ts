/** YAML and JSON to objects that know their lines. */
import {
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  parseAllDocuments,
  type Tags,
} from 'yaml';
import { errorText } from '../../lib/errors.ts';
import { clone, isObject } from '../../lib/json.ts';
import type { KubeObject } from '../types.ts';
import type { Source } from './files.ts';
import type { ManifestProblem } from './problem.ts';

export interface ManifestObject {
  readonly object: KubeObject;
  readonly file: string;
  /** Of its first field, from 1. */
  readonly line: number;
  /** Line of `spec.ports[0].port`, or of the nearest thing above it that is there. */
  lineOf(path: string): number;
}

export interface Parsed {
  readonly objects: ManifestObject[];
  readonly problems: ManifestProblem[];
}

/** Enough for hand-written anchors; each use beyond is refused, so that no small file grows huge. */
const ALIAS_LIMIT = 200;

/**
 * kubectl reads YAML 1.1 without its surprises: `yes` is true and 0644 is octal, but `22:22` is no number and
 * a date is a text.
 */
const customTags = (tags: Tags): Tags =>
  tags.filter(
    (tag) =>
      typeof tag === 'string' ||
      !(
        tag.tag.endsWith(':timestamp') ||
        tag.tag.endsWith(':binary') ||
        ('format' in tag && tag.format === 'TIME')
      ),
  );

/** Objects of one file, in order; those of a `kind: List` one by one. */
export function parseManifests(source: Source): Parsed {
  const objects: ManifestObject[] = [];
  const problems: ManifestProblem[] = [];
  const { file } = source;
  const lines = new LineCounter();
  let documents: Document[];
  try {
    const parsed = parseAllDocuments(source.text, {
      lineCounter: lines,
      prettyErrors: false,
      version: '1.1',
      customTags,
      merge: true,
      stringKeys: false,
    });
    documents = 'empty' in parsed ? [] : parsed;
  } catch (error) {
    return { objects, problems: [{ file, message: tooDeep(error) }] };
  }
  for (const document of documents) {
    const [error] = document.errors;
    if (error) {
      const { line, col } = lines.linePos(error.pos[0]);
      problems.push({ file, line, column: col, message: yamlMessage(error), ...templateHint(source.text) });
      // Positions after a broken document mean little: one error per file.
      break;
    }
    const found = readDocument(document, file, lines);
    objects.push(...found.objects);
    problems.push(...found.problems);
  }
  return { objects, problems };
}

const tooDeep = (error: unknown): string =>
  error instanceof RangeError
    ? 'it is nested too deeply to be read'
    : `it cannot be read as YAML: ${errorText(error)}`;

function yamlMessage(error: { code: string; message: string }): string {
  if (error.code === 'DUPLICATE_KEY')
    return 'this key is here twice in one object; only one of them can count';
  if (error.code === 'TAB_AS_INDENT') return 'broken YAML: a tab indents this line; YAML takes spaces only';
  if (error.message.includes('call stack')) return 'it is nested too deeply to be read';
  return `broken YAML: ${error.message.replace(/^./, (c) => c.toLowerCase())}`;
}

function templateHint(text: string): { hint?: string } {
  if (!/\{\{-?\s/.test(text)) return {};
  return { hint: 'it looks like a template: render it first, for example with "helm template"' };
}

function readDocument(document: Document, file: string, lines: LineCounter): Parsed {
  const root = document.contents;
  if (root === null || (isScalar(root) && root.value === null)) return { objects: [], problems: [] };
  const line = lineAt(root, lines);
  let value: unknown;
  try {
    value = clone(document.toJS({ maxAliasCount: ALIAS_LIMIT }));
  } catch (error) {
    const message =
      error instanceof ReferenceError && /alias/i.test(error.message)
        ? `more than ${ALIAS_LIMIT} uses of anchors: it would grow without bounds`
        : tooDeep(error);
    return { objects: [], problems: [{ file, line, message }] };
  }
  if (!isObject(value))
    return {
      objects: [],
      problems: [{ file, line, message: 'expected an object with apiVersion and kind' }],
    };
  const at = (prefix: (string | number)[]) => (path: string) =>
    lineOfPath(document, [...prefix, ...pathKeys(path)], lines);
  const items = listItems(value);
  if (items) {
    const objects: ManifestObject[] = [];
    const problems: ManifestProblem[] = [];
    for (const [i, item] of items.entries()) {
      const lineOf = at(['items', i]);
      if (isObject(item)) objects.push({ object: current(item), file, line: lineOf(''), lineOf });
      else
        problems.push({
          file,
          line: lineOf(''),
          message: `items[${i}]: expected an object with apiVersion and kind`,
        });
    }
    return { objects, problems };
  }
  return { objects: [{ object: current(value), file, line, lineOf: at([]) }], problems: [] };
}

/** Versions whose objects are those of the version that is served. */
const SAME_AS: Readonly<Record<string, string>> = { 'security.istio.io/v1beta1': 'security.istio.io/v1' };

function current(value: Record<string, unknown>): KubeObject {
  const { apiVersion } = value;
  if (typeof apiVersion === 'string' && Object.hasOwn(SAME_AS, apiVersion))
    value['apiVersion'] = SAME_AS[apiVersion];
  return value as unknown as KubeObject;
}

function listItems(value: Record<string, unknown>): unknown[] | undefined {
  const { kind, items } = value;
  if (typeof kind !== 'string' || !kind.endsWith('List')) return undefined;
  if (Array.isArray(items)) return items;
  return kind === 'List' ? [] : undefined;
}

/** `spec.ports[0].port`, `metadata.labels[app.kubernetes.io/name]`: its keys. */
function pathKeys(path: string): string[] {
  return [...path.matchAll(/\[([^\]]*)\]|([^.[\]]+)/g)].map((match) => match[2] ?? match[1] ?? '');
}

function lineAt(node: Node | null | undefined, lines: LineCounter): number {
  return lines.linePos(node?.range?.[0] ?? 0).line;
}

function lineOfPath(document: Document, keys: readonly (string | number)[], lines: LineCounter): number {
  let node = document.contents as Node | null | undefined;
  let line = lineAt(node, lines);
  for (const key of keys) {
    if (isAlias(node)) node = node.resolve(document) as Node | undefined;
    if (isMap(node)) {
      const pair = node.items.find((item) => isScalar(item.key) && String(item.key.value) === String(key));
      if (!pair) return line;
      line = lineAt(pair.key as Node, lines);
      node = pair.value as Node | null;
    } else if (isSeq(node)) {
      const item = node.items[Number(key)] as Node | undefined;
      if (!item) return line;
      line = lineAt(item, lines);
      node = item;
    } else return line;
  }
  return line;
}
