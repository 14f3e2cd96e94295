/** `node scripts/generate-schemas.ts`: makes build/schemas.json. Set-up runs it; any process does when needed. */
import { makeSchemas, SCHEMAS_FILE } from '../src/api/schema/load.ts';

const schemas = makeSchemas(SCHEMAS_FILE);
process.stdout.write(`${Object.keys(schemas.definitions).length} definitions in ${SCHEMAS_FILE}\n`);
