/**
 * Reads one machine-written declaration file of kubernetes-models: an interface with a comment and a type per
 * field, or an alias. It understands what those files contain, not TypeScript.
 */
import type { Definition, FieldType } from './model.ts';

export interface TypeFile {
  /** Absent for an alias such as `ITime`. */
  readonly definition?: Definition;
  /** Local name in the file → where it is imported from. */
  readonly imports: ReadonlyMap<string, string>;
}

const IMPORT = /^import \{ (\w+) \} from "([^"]+)";$/gm;
const INTERFACE =
  /((?:^\/\*\*[\s\S]*?\*\/\n)?)^export interface I\w+(?: extends [\w, ]+)? \{\n([\s\S]*?)^\}/m;
const FIELD =
  /(?:^ {4}\/\*\*\n([\s\S]*?) {4} \*\/\n)?^ {4}"([^"]+)"(\??): ([\s\S]*?);\n(?= {4}["/]|$(?![\s\S]))/gm;

/** `resolve` turns a name of the file's imports into the name of a definition. */
export function readTypeFile(source: string, resolve: (name: string) => FieldType): TypeFile {
  const imports = new Map<string, string>();
  for (const [, name = '', from = ''] of source.matchAll(IMPORT)) imports.set(name, from);
  const match = INTERFACE.exec(source);
  if (!match) return { imports };
  const fields: Record<string, Definition['p'][string]> = {};
  for (const [, comment = '', name = '', optional, type = ''] of (match[2] ?? '').matchAll(FIELD)) {
    const parsed = readType(type, resolve);
    fields[name] = optional === '?' ? [parsed, commentText(comment)] : [parsed, commentText(comment), 1];
  }
  return { imports, definition: { d: commentText(match[1] ?? ''), p: fields } };
}

function commentText(comment: string): string {
  return comment
    .replace(/^\s*\/\*\*|\*\/\s*$/g, '')
    .split('\n')
    .map((line) => line.replace(/^\s*\* ?/, '').trimEnd())
    .join('\n')
    .trim();
}

/** @throws Error on a type it does not know: better at set-up than a field that nobody checks */
export function readType(source: string, resolve: (name: string) => FieldType): FieldType {
  const tokens = source.match(/"(?:[^"\\]|\\.)*"|[A-Za-z_]\w*|[^\s]/g) ?? [];
  let at = 0;
  const expect = (text: string): void => {
    if (tokens[at++] !== text)
      throw new Error(`type ${source}: expected "${text}", found "${tokens[at - 1]}"`);
  };
  const one = (): FieldType | null => {
    const token = tokens[at++] ?? '';
    if (token.startsWith('"')) return { e: [JSON.parse(token) as string] };
    if (token === '{') {
      expect('[');
      at += 3; // key: string
      expect(']');
      expect(':');
      const value = union();
      if (tokens[at] === ';') at++;
      expect('}');
      return { m: value };
    }
    if (token === 'Array') {
      expect('<');
      const item = union();
      expect('>');
      return { a: item };
    }
    if (token === 'null') return null;
    const basic = { string: 's', number: 'i', boolean: 'b', unknown: 'o', any: 'o', object: 'o' } as const;
    if (Object.hasOwn(basic, token)) return basic[token as keyof typeof basic];
    if (/^\w+$/.test(token)) return resolve(token);
    throw new Error(`type ${source}: unexpected "${token}"`);
  };
  const union = (): FieldType => {
    const parts = [one()];
    while (tokens[at] === '|') {
      at++;
      parts.push(one());
    }
    const types = parts.filter((t) => t !== null);
    const texts = types.flatMap((t) => (typeof t === 'object' && 'e' in t ? t.e : []));
    if (texts.length === types.length && texts.length > 0) return { e: texts };
    if (types.length === 2 && types.includes('s') && types.includes('i')) return 'x';
    const [first] = types;
    if (types.length === 1 && first !== undefined) return first;
    throw new Error(`type ${source}: a union that is neither of texts nor IntOrString`);
  };
  const type = union();
  if (at !== tokens.length) throw new Error(`type ${source}: unexpected "${tokens[at]}"`);
  return type;
}
