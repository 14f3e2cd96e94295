/** Holds structured output to its committed schema. */
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Ajv2020 } from 'ajv/dist/2020.js';

const root = resolve(fileURLToPath(import.meta.url), '../..');

/** What `value` has against docs/schemas/`name`.json, in words; empty if nothing. */
export function schemaViolations(name: string, value: unknown): string[] {
  const schema = JSON.parse(readFileSync(join(root, `docs/schemas/${name}.json`), 'utf8')) as object;
  const validate = new Ajv2020({ allErrors: true, strict: true, allowUnionTypes: true }).compile(schema);
  if (validate(value)) return [];
  return (validate.errors ?? []).map((error) => `${error.instancePath} ${error.message ?? ''}`);
}
