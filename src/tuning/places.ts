/** The places of a local cluster: its nodes' namespaces, and the machine that all clusters on it share. */
import { join } from 'node:path';
import { type Netns, openNetns } from '../kernel/netns.ts';
import { isAlive, startTime } from '../kernel/process.ts';
import type { Holder } from './ledger.ts';
import { sysctlsOf } from './sysctls.ts';
import type { Place } from './tune.ts';

export const HOST = 'host';

/** Beside the clusters' run directories: settings and /run are both new after a boot. */
const HOST_LEDGER = '/run/heddle/host/sysctls.json';

/** With a process that has the number and began then. A holder without one lives as long as its ledger. */
export const holderLives = ({ pid, startTime: began }: Holder): boolean =>
  pid === undefined || (isAlive(pid) && startTime(pid) === began);

/** @param supervisor pid of the process that the cluster lives by; without one nothing can be held */
export function hostPlace(clusterId: string, supervisor?: number, ledgerPath = HOST_LEDGER): Place {
  const began = supervisor === undefined ? undefined : startTime(supervisor);
  const alive = supervisor !== undefined && began !== undefined;
  return {
    name: HOST,
    sysctls: sysctlsOf(undefined),
    ledgerPath,
    holder: { name: `cluster ${clusterId}`, ...(alive ? { pid: supervisor, startTime: began } : {}) },
  };
}

export interface NodePlaces {
  readonly places: readonly Place[];
  readonly netns: readonly Netns[];
}

/** A node's ledger goes with its namespace: both are below the cluster's run directory. @throws HeddleError `NetnsMissing` */
export function nodePlaces(
  nodes: readonly string[],
  paths: { readonly id: string; readonly runDir: string; netns(name: string): string },
): NodePlaces {
  const opened = nodes.map((name) => ({ name, ns: openNetns(paths.netns(name)) }));
  return {
    netns: opened.map(({ ns }) => ns),
    places: opened.map(({ name, ns }) => ({
      name,
      sysctls: sysctlsOf(ns),
      ledgerPath: join(paths.runDir, 'tuning', name, 'sysctls.json'),
      holder: { name: `cluster ${paths.id}` },
    })),
  };
}
