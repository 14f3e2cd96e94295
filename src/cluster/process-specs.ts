/** Which processes a cluster is made of: program, arguments, namespace, cgroup, descriptors. */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { ClusterConfig } from './config.ts';
import type { ClusterPaths } from './paths.ts';
import type { PublishedPort } from './publish.ts';

export interface ProgramSpec {
  readonly name: string;
  /** Absolute path of its TypeScript file. */
  readonly file: string;
  readonly args: readonly string[];
  /** Name of the namespace it lives in. */
  readonly netns: string;
  /** Folder below the cluster's cgroup. */
  readonly cgroup: string;
  /** Descriptors that it inherits as 3, 4, …: listening sockets of the first namespace. */
  readonly fds: readonly number[];
}

const program = (name: string): string => fileURLToPath(new URL(`../app/${name}.ts`, import.meta.url));

export function apiServerSpec(paths: ClusterPaths, listenFd: number): ProgramSpec {
  return {
    name: 'api-server',
    file: program('api-server'),
    args: [paths.dataDir, '--listen-fd', '3'],
    netns: 'control-plane',
    cgroup: 'control-plane/api-server',
    fds: [listenFd],
  };
}

export function controllersSpec(paths: ClusterPaths): ProgramSpec {
  return {
    name: 'controllers',
    file: program('controllers'),
    args: [paths.dataDir],
    netns: 'control-plane',
    cgroup: 'control-plane/controllers',
    fds: [],
  };
}

/** Carries frames between zones; nothing where there is one bridge only. */
export function linesSpec(paths: ClusterPaths, config: ClusterConfig): ProgramSpec | undefined {
  if (!config.topology) return undefined;
  return {
    name: 'lines',
    file: program('lines'),
    args: [paths.dataDir],
    netns: 'underlay',
    cgroup: 'lines',
    fds: [],
  };
}

export function nodeSpecs(paths: ClusterPaths, config: ClusterConfig): ProgramSpec[] {
  return config.nodes.flatMap((node) =>
    ['agent', 'stand-in'].map((role) => ({
      name: `${role}-${node.name}`,
      file: program(role),
      args: [paths.dataDir, node.name],
      netns: node.name,
      cgroup: `${node.name}/${role}`,
      fds: [],
    })),
  );
}

/**
 * Carries published ports into the cluster. It lives in the first node's namespace, because services are
 * translated there.
 */
export function forwarderSpec(
  paths: ClusterPaths,
  config: ClusterConfig,
  published: readonly (PublishedPort & { fd: number })[],
): ProgramSpec | undefined {
  const [first] = config.nodes;
  if (published.length === 0 || !first) return undefined;
  const targets = published.map(({ namespace, service, port }) => `${namespace}/${service}:${port}`);
  return {
    name: 'forwarder',
    file: program('forwarder'),
    args: [paths.dataDir, ...targets],
    netns: first.name,
    cgroup: `${first.name}/forwarder`,
    fds: published.map(({ fd }) => fd),
  };
}

/** Every cgroup folder below the cluster's that must exist before the first process starts. */
export function cgroupFolders(config: ClusterConfig): string[] {
  return [
    'supervisor',
    'control-plane/api-server',
    'control-plane/controllers',
    ...(config.topology ? ['lines'] : []),
    ...config.nodes.flatMap(({ name }) => [`${name}/agent`, `${name}/stand-in`, `${name}/forwarder`]),
  ];
}

export const isInstalled = (spec: ProgramSpec): boolean => existsSync(spec.file);
