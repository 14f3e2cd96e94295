/**
 * The import directions of the rooms, in one place. A room may import rooms of lower layers; rooms of the
 * same layer only by an edge written in `edges`, with its reason.
 */
export interface Layer {
  readonly name: string;
  readonly rooms: readonly string[];
}

/** From the ground up. A room may import any room of a lower layer. */
export const layers: readonly Layer[] = [
  { name: 'ground', rooms: ['lib'] },
  { name: 'kernel and kinds', rooms: ['kernel', 'api'] },
  { name: 'pure engines, store, client', rooms: ['policy', 'store', 'client'] },
  {
    name: 'rooms',
    rooms: [
      'datapath',
      'cluster',
      'podhost',
      'cni',
      'ipam',
      'dns',
      'identity',
      'observe',
      'demo',
      'tuning',
      'bgp',
      'image',
      'doctor',
      'cri',
    ],
  },
  { name: 'seams', rooms: ['controllers', 'apiserver'] },
  { name: 'commands', rooms: ['cli'] },
  { name: 'processes', rooms: ['app'] },
];

export interface Edge {
  readonly from: string;
  readonly to: string;
  readonly why: string;
}

/** Imports within a layer. */
export const edges: readonly Edge[] = [
  {
    from: 'podhost',
    to: 'cni',
    why: 'the pod host reaches the network only by running a CNI configuration list',
  },
  { from: 'podhost', to: 'image', why: 'containers of images are made of what was imported' },
  { from: 'podhost', to: 'cri', why: 'a container runtime of the machine runs pods for it' },
  { from: 'cluster', to: 'cri', why: 'a cluster that goes down takes its pods out of the container runtime' },
  { from: 'podhost', to: 'dns', why: 'a pod’s resolv.conf and messages of DNS have one author' },
  {
    from: 'cluster',
    to: 'tuning',
    why: 'a cluster that goes down gives back what it leased of the machine',
  },
  {
    from: 'cluster',
    to: 'datapath',
    why: 'a cluster’s configuration names the way between nodes, whose numbers are in one place',
  },
  { from: 'doctor', to: 'datapath', why: 'it judges what data paths tell of themselves' },
  { from: 'cni', to: 'ipam', why: 'ADD allocates addresses' },
  { from: 'cni', to: 'dns', why: 'a standalone agent answers for the names of its containers' },
  {
    from: 'demo',
    to: 'podhost',
    why: 'the demo asks the pod host for probes: their shape is the pod host’s',
  },
  { from: 'demo', to: 'observe', why: 'the demo reads what the agents recorded' },
];

export interface Ban {
  readonly from: string;
  readonly to: string;
  readonly why: string;
}

/** Rooms that must not be reached although the layers would allow it. */
export const bans: readonly Ban[] = ['policy', 'store', 'client', 'apiserver', 'controllers'].map((from) => ({
  from,
  to: 'kernel',
  why: 'a bad pointer ends a process: FFI stays with those that need the kernel',
}));

/** Modules that only one place may import. */
export const modules: readonly { module: string; only: readonly string[]; why: string }[] = [
  { module: 'koffi', only: ['src/kernel/ffi.ts'], why: 'one wrapper asserts sizes and keeps buffers alive' },
  {
    module: 'node:child_process',
    only: ['src/kernel/', 'src/app/stand-in.ts'],
    why: 'children start in a namespace and a cgroup, so one place starts them (the stand-in supervisor loads no FFI)',
  },
  { module: 'node:sqlite', only: ['src/store/'], why: 'the store owns its file' },
];

/** Rooms that do no I/O and read no clock. */
export const pure: readonly { room: string; why: string }[] = [
  { room: 'policy', why: 'the same engine runs offline, in shadow, as compiler and in explain' },
];

/** The only file that reads the environment. */
export const environmentReader = 'src/app/env.ts';
