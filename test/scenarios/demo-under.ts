/** The demo on a cluster that gets further policies before it probes. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import type { Report } from '../../src/demo/report.ts';
import { localCluster, root } from './local-cluster.ts';

interface Further {
  readonly datapath: string;
  /** Folder of test/manifests. */
  readonly manifests: string;
  /** Policies that the data path must know before it is probed. */
  readonly named: readonly string[];
}

/** Says that an attempt between two workloads was observed so: `denied: AdminNetworkPolicy guard …`. */
export type Includes = (from: string, to: string, wanted: RegExp) => void;

/** Every verdict was what the policies say. */
export async function demoUnder(t: TestContext, { datapath, manifests, named }: Further): Promise<Includes> {
  const cluster = await localCluster(t);
  const heddle = (words: string) => {
    const [verb, ...rest] = words.split(' ');
    return `${join(root, 'heddle')} ${verb} --data-dir ${cluster.dataDir} ${rest.join(' ')}`;
  };
  const applied = [
    heddle(`apply -f ${join(root, 'test/manifests', manifests)}`),
    ...named.map((name) => `until ${heddle('datapath counters')} | grep -q '${name}'; do sleep 0.1; done`),
  ].join(' && ');
  const args = ['--once', '--api-port', String(cluster.apiPort), '--datapath', datapath, '-o', 'json'];
  const { code, stdout, stderr } = await cluster.heddle('demo', ...args, '--before-probes', applied);
  assert.equal(code, 0, stderr);
  const { attempts, mismatches } = JSON.parse(stdout) as Report;
  assert.equal(mismatches, 0);
  return (from, to, wanted) => {
    const seen = attempts
      .filter((attempt) => attempt.from === from && attempt.to === to)
      .map(({ observed, by }) => `${observed}: ${by}`);
    assert.ok(
      seen.some((text) => wanted.test(text)),
      `${from} → ${to}: ${[...new Set(seen)].join('\n')}`,
    );
  };
}
