/**
 * Carries frames between the zones of a cluster: `lines.ts DATA-DIR`, in the namespace of the underlay. On its socket
 * it tells what it carried, and takes other links.
 */
import { readFileSync } from 'node:fs';
import type { ClusterConfig } from '../cluster/config.ts';
import { runLines } from '../cluster/lines/run.ts';
import { clusterPaths } from '../cluster/paths.ts';
import { runPunctually } from '../kernel/punctual.ts';
import { createLog } from '../lib/log.ts';
import { shutdownSignal } from '../lib/tasks.ts';
import { readEnv } from './env.ts';

const [dataDir] = process.argv.slice(2);
if (!dataDir) {
  process.stderr.write('usage: lines.ts <data-dir>\n');
  process.exit(2);
}
const paths = clusterPaths(dataDir);
const log = createLog({ level: readEnv().logLevel, fields: { process: 'lines' } });
const config = JSON.parse(readFileSync(paths.config, 'utf8')) as ClusterConfig;
// Frames that wait for a processor are late.
if (!runPunctually())
  log.info('frames are late where processors are short: this process may not be preferred');
await runLines({ config, paths, log }, shutdownSignal());
process.exit(0);
