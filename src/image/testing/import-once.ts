/** For tests that kill it: imports the archive at the second argument into the store at the first. */
import { importImages } from '../import.ts';
import { machineArchitecture } from '../platform.ts';
import { openStore } from '../store.ts';

const [root = '', path = ''] = process.argv.slice(2);
await importImages({
  path,
  store: openStore(root),
  architecture: machineArchitecture(),
  maxBytes: 1 << 30,
  maxEntries: 10_000,
  now: () => new Date(),
});
