/** What parts of an object must be, where they are there: for kinds of which no whole schema is here. */
import { isObject } from '../../lib/json.ts';

export type Shape =
  | 'text'
  | 'number'
  | 'flag'
  | 'port'
  /** A number, or a name. */
  | 'port-or-name'
  | 'texts'
  | readonly [Shape]
  | { readonly [field: string]: Shape };

export interface ShapeProblem {
  readonly path: string;
  readonly message: string;
}

export function* shapeProblems(value: unknown, shape: Shape, path: string): Generator<ShapeProblem> {
  if (value === undefined || value === null) return;
  if (typeof shape === 'string') {
    if (!tests[shape](value))
      yield { path, message: `expected ${words[shape]}, not ${JSON.stringify(value).slice(0, 60)}` };
  } else if (Array.isArray(shape)) {
    if (!Array.isArray(value)) yield { path, message: 'expected a list' };
    else
      for (const [i, item] of value.entries()) yield* itemProblems(item, shape[0] as Shape, `${path}[${i}]`);
  } else if (!isObject(value)) yield { path, message: 'expected an object' };
  else
    for (const [field, inner] of Object.entries(shape as { readonly [field: string]: Shape }))
      yield* shapeProblems(value[field], inner, path === '' ? field : `${path}.${field}`);
}

function* itemProblems(item: unknown, shape: Shape, path: string): Generator<ShapeProblem> {
  if (item === undefined || item === null) yield { path, message: 'is empty' };
  else yield* shapeProblems(item, shape, path);
}

const isPort = (value: unknown): boolean =>
  Number.isInteger(value) && Number(value) >= 1 && Number(value) <= 65535;

const tests: Readonly<Record<Extract<Shape, string>, (value: unknown) => boolean>> = {
  text: (value) => typeof value === 'string',
  number: (value) => typeof value === 'number',
  flag: (value) => typeof value === 'boolean',
  port: isPort,
  'port-or-name': (value) => isPort(value) || (typeof value === 'string' && value !== ''),
  texts: (value) => isObject(value) && Object.values(value).every((each) => typeof each === 'string'),
};

const words: Readonly<Record<Extract<Shape, string>, string>> = {
  text: 'a text',
  number: 'a number',
  flag: 'true or false',
  port: 'a port from 1 to 65535',
  'port-or-name': 'a port from 1 to 65535, or the name of one',
  texts: 'texts by name',
};
