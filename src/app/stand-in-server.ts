/** Serves all stand-in pods of a node: `stand-in-server.ts <data-dir> <node>`. Started by stand-in.ts. */
import { join } from 'node:path';
import { clusterPaths } from '../cluster/paths.ts';
import { systemClock } from '../lib/clock.ts';
import { errorText } from '../lib/errors.ts';
import { createLog } from '../lib/log.ts';
import { shutdownSignal } from '../lib/tasks.ts';
import { runStandInServer } from '../podhost/stand-in/server.ts';
import { readEnv } from './env.ts';

const [dataDir, node] = process.argv.slice(2);
if (!dataDir || !node) {
  process.stderr.write('usage: stand-in-server.ts <data-dir> <node>\n');
  process.exit(2);
}
const log = createLog({ level: readEnv().logLevel, fields: { process: 'stand-in-server', node } });
// One client's broken connection must not end everybody's server.
process.on('uncaughtException', (error) =>
  log.error('a fault was survived', { error: errorText(error), stack: error.stack }),
);

const { state, standInSocket } = clusterPaths(dataDir).node(node);
await runStandInServer(
  { socketPath: standInSocket, statePath: join(state, 'stand-in.json'), clock: systemClock, log },
  shutdownSignal(),
);
process.exit(0);
