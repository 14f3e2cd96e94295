/** The verbs, in the order of --help. A module is imported only when its verb is used: the CLI starts fast. */
import type { VerbModule } from './deps.ts';

export interface Verb {
  readonly name: string;
  readonly summary: string;
  /** What it exits with if it fails, where 1 is an answer. */
  readonly failed?: number;
  load(): Promise<VerbModule>;
}

export const verbs: readonly Verb[] = [
  { name: 'up', summary: 'start a local cluster', load: () => import('./up.ts') },
  {
    name: 'demo',
    summary: 'show who can reach whom, and why, on a real cluster',
    load: () => import('./demo.ts'),
  },
  { name: 'down', summary: 'stop a local cluster and remove it', load: () => import('./down.ts') },
  { name: 'status', summary: 'show what runs and how it fares', load: () => import('./status.ts') },
  { name: 'apply', summary: 'make or change objects from manifests', load: () => import('./apply.ts') },
  { name: 'get', summary: 'show objects', load: () => import('./get.ts') },
  { name: 'delete', summary: 'delete objects', load: () => import('./delete.ts') },
  { name: 'exec', summary: 'run a command in a pod', load: () => import('./exec.ts') },
  {
    name: 'attach',
    summary: 'connect to a program that runs in a pod',
    load: () => import('./attach.ts'),
  },
  {
    name: 'port-forward',
    summary: 'lead ports of this machine into a pod',
    load: () => import('./port-forward.ts'),
  },
  { name: 'logs', summary: 'print the log of a pod', load: () => import('./logs.ts') },
  {
    name: 'image',
    summary: 'import, list and remove the images of pods',
    load: () => import('./image.ts'),
  },
  {
    name: 'topology',
    summary: 'links between zones: show, measure and change them',
    load: () => import('./topology.ts'),
  },
  {
    name: 'datapath',
    summary: 'look into the data path of nodes',
    load: () => import('./datapath.ts'),
  },
  {
    name: 'ipam',
    summary: 'show whose the addresses of pods are, and how full pools are',
    load: () => import('./ipam.ts'),
  },
  { name: 'bgp', summary: 'look into the BGP sessions of nodes', load: () => import('./bgp.ts') },
  {
    name: 'doctor',
    summary: 'find what is wrong with nodes and clusters, and mend it',
    load: () => import('./doctor.ts'),
  },
  {
    name: 'agent',
    summary: 'serve CNI to container runtimes of this machine',
    load: () => import('./agent.ts'),
  },
  {
    name: 'cni',
    summary: 'put the CNI plugin where container runtimes look for it',
    load: () => import('./cni.ts'),
  },
  {
    name: 'policy',
    summary: 'ask and prove what network policies let pass',
    failed: 2,
    load: () => import('./policy/command.ts'),
  },
  {
    name: 'tune',
    summary: 'show and set the kernel’s network settings',
    load: () => import('./tune.ts'),
  },
  { name: 'kubeconfig', summary: 'print the path of the kubeconfig', load: () => import('./kubeconfig.ts') },
  {
    name: 'completion',
    summary: 'print a completion script for a shell',
    load: () => import('./completion.ts'),
  },
];
