/**
 * The schemas of this installation: read from build/schemas.json, made anew when that is absent or of other
 * package versions. Read once, at first use.
 */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { HeddleError } from '../../lib/errors.ts';
import type { Kind } from '../kinds.ts';
import { currentStamp, generateSchemas, rootName } from './generate.ts';
import type { Definition, Schemas } from './model.ts';

export const SCHEMAS_FILE = join(import.meta.dirname, '..', '..', '..', 'build', 'schemas.json');

let loaded: Schemas | undefined;

/** @throws HeddleError `SchemasMissing` when neither the file nor the packages are there */
export function loadSchemas(): Schemas {
  loaded ??= readFresh(SCHEMAS_FILE) ?? makeSchemas(SCHEMAS_FILE);
  return loaded;
}

function readFresh(file: string): Schemas | undefined {
  try {
    const schemas = JSON.parse(readFileSync(file, 'utf8')) as Schemas;
    return schemas.stamp === currentStamp() ? schemas : undefined;
  } catch {
    return undefined;
  }
}

/** Makes the schemas and keeps them in `file` if it can be written. */
export function makeSchemas(file: string): Schemas {
  let schemas: Schemas;
  try {
    schemas = generateSchemas();
  } catch (error) {
    throw new HeddleError('SchemasMissing', 'making the field lists of the Kubernetes kinds failed', {
      hint: 'run npm ci in the checkout: the packages kubernetes-models and @kubernetes-models/apimachinery are needed',
      cause: error,
    });
  }
  try {
    mkdirSync(dirname(file), { recursive: true });
    // Several processes may do this at the same moment: each renames a whole file into place.
    const draft = `${file}.${process.pid}`;
    writeFileSync(draft, JSON.stringify(schemas));
    renameSync(draft, file);
  } catch {
    // A read-only installation makes them in memory each time (50 ms).
  }
  return schemas;
}

/** The definition of a kind's object. */
export function schemaOf(kind: Kind): Definition {
  const definition = definitionOf(rootName(kind));
  if (!definition)
    throw new HeddleError('SchemasMissing', `no field list for ${kind.kind}`, {
      hint: 'remove build/schemas.json',
    });
  return definition;
}

export function definitionOf(name: string): Definition | undefined {
  const { definitions } = loadSchemas();
  return Object.hasOwn(definitions, name) ? definitions[name] : undefined;
}
