/** Files of questions (assertions, cases, call graphs): YAML or JSON whose every part knows its line. */
import { type Document, isMap, isSeq, LineCounter, type Node, parseAllDocuments } from 'yaml';
import { readSources } from '../../api/manifest/files.ts';
import { manifestError } from '../../api/manifest/problem.ts';
import { errorText, HeddleError } from '../../lib/errors.ts';
import { isObject } from '../../lib/json.ts';
import type { CliDeps } from '../deps.ts';

/** A part of a file. */
export interface Part {
  readonly value: unknown;
  readonly file: string;
  readonly line: number;
  /** Of an object; undefined where it has none of this name. */
  get(key: string): Part | undefined;
  keys(): readonly string[];
  /** Of a list; undefined for anything else. */
  items(): readonly Part[] | undefined;
}

/** Every document of the file. @throws HeddleError `BadManifest` */
export async function readParts(path: string, deps: Pick<CliDeps, 'stdin'>): Promise<Part[]> {
  const { sources, problems } = await readSources([path], {
    stdin: deps.stdin as AsyncIterable<Uint8Array | string>,
  });
  const unread = manifestError(problems);
  if (unread) throw unread;
  return sources.flatMap(({ file, text }) => partsOf(file, text));
}

export function partsOf(file: string, text: string): Part[] {
  const lines = new LineCounter();
  let documents: readonly Document[];
  try {
    const parsed = parseAllDocuments(text, { lineCounter: lines, prettyErrors: false });
    documents = 'empty' in parsed ? [] : parsed;
  } catch (error) {
    throw refused({ file, line: 1 }, `it cannot be read as YAML: ${errorText(error)}`);
  }
  return documents.flatMap((document) => {
    const [error] = document.errors;
    if (error) {
      const { line } = lines.linePos(error.pos[0]);
      throw refused({ file, line }, `broken YAML: ${error.message}`);
    }
    let value: unknown;
    try {
      value = document.toJS({ maxAliasCount: 200 });
    } catch (cause) {
      throw refused({ file, line: 1 }, `it cannot be read: ${errorText(cause)}`);
    }
    return value === null || value === undefined
      ? []
      : [partOf(value, document.contents, { file, line: 1 }, lines)];
  });
}

function partOf(
  value: unknown,
  node: Node | null,
  at: Pick<Part, 'file' | 'line'>,
  lines: LineCounter,
): Part {
  const { file } = at;
  const line = node?.range ? lines.linePos(node.range[0]).line : at.line;
  return {
    value,
    file,
    line,
    get(key) {
      if (!isObject(value) || !Object.hasOwn(value, key)) return undefined;
      const child = isMap(node) ? (node.get(key, true) as Node | undefined) : undefined;
      return partOf(value[key], child ?? null, { file, line }, lines);
    },
    keys: () => (isObject(value) ? Object.keys(value) : []),
    items: () =>
      Array.isArray(value)
        ? value.map((item, i) =>
            partOf(
              item,
              isSeq(node) ? ((node.items[i] as Node | undefined) ?? null) : null,
              { file, line },
              lines,
            ),
          )
        : undefined,
  };
}

/** `cases.yaml:3: …` */
export const refused = ({ file, line }: Pick<Part, 'file' | 'line'>, message: string): HeddleError =>
  new HeddleError('BadManifest', `${file}:${line}: ${message}`);

/** @throws HeddleError `BadManifest` for a key that is none of these: a misspelt word must not be ignored */
export function onlyKeys(part: Part, known: readonly string[]): void {
  if (!isObject(part.value)) throw refused(part, `expected an object with ${known.join(', ')}`);
  const unknown = part.keys().find((key) => !known.includes(key));
  if (unknown !== undefined)
    throw refused(part.get(unknown) ?? part, `unknown field "${unknown}"; expected ${known.join(', ')}`);
}

/** @throws HeddleError `BadManifest` */
export function textOf(part: Part, key: string): string {
  const child = part.get(key);
  if (typeof child?.value === 'string' || typeof child?.value === 'number') return String(child.value);
  throw refused(child ?? part, child ? `${key}: expected a text` : `${key} is missing`);
}

/**
 * The items of a file: its root is a list, or has them under `field`, or each document is one.
 * @throws HeddleError `BadManifest`
 */
export function itemsOf(parts: readonly Part[], field: string): Part[] {
  return parts.flatMap((part) => {
    const list = part.items();
    if (list) return [...list];
    const child = part.get(field);
    if (!child) return [part];
    onlyKeys(part, ['apiVersion', 'kind', 'metadata', field]);
    const items = child.items();
    if (items) return [...items];
    throw refused(child, `${field}: expected a list`);
  });
}
