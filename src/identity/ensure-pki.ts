/** Makes, keeps or renews every key of a local cluster. Idempotent: what is still good is left alone. */
import { generateKeyPairSync } from 'node:crypto';
import { chownSync, existsSync, mkdirSync, readFileSync } from 'node:fs';
import { errnoCode } from '../lib/errors.ts';
import { type ReplaceOptions, replaceFile } from '../lib/files.ts';
import { formatHostPort } from '../lib/ip.ts';
import {
  type CertificateAuthority,
  type IssueRequest,
  type KeyPair,
  createAuthority,
  isCurrent,
  loadAuthority,
} from './ca.ts';
import { kubeconfigText } from './kubeconfig.ts';
import { type ClientFiles, type KeyFiles, pkiFiles } from './pki.ts';

/** Certificates with less time than this left are replaced when the cluster comes up. */
const SPARE_DAYS = 60;
/** The authority outlives what it issues. */
const CA_SPARE_DAYS = 400;
/** Keys are their owner's only, and kept through a power cut. */
const KEPT: ReplaceOptions = { mode: 0o600, synced: true };

export interface PkiInput {
  readonly dir: string;
  readonly clusterId: string;
  readonly nodes: readonly string[];
  /** Where processes of the cluster reach the API server; the first address goes into their kubeconfigs. */
  readonly apiServer: { readonly addresses: readonly string[]; readonly port: number };
  /** Names and addresses, beside those above, that the API server's certificate is valid for. */
  readonly serverNames: readonly string[];
  /** For the people's kubeconfig: its path, the port on 127.0.0.1, and who shall own it. */
  readonly people: {
    readonly path: string;
    readonly port: number;
    readonly owner?: { readonly uid: number; readonly gid: number };
  };
  readonly now: () => number;
}

const ADMIN: IssueRequest = {
  commonName: 'kubernetes-admin',
  organizations: ['system:masters'],
  usage: 'client',
};
export const CONTROLLERS: IssueRequest = {
  commonName: 'system:heddle-controllers',
  organizations: ['heddle:components'],
  usage: 'client',
};
export const agentRequest = (node: string): IssueRequest => ({
  commonName: `system:node:${node}`,
  organizations: ['system:nodes', 'heddle:components'],
  usage: 'client',
});

export async function ensurePki(input: PkiInput): Promise<void> {
  mkdirSync(input.dir, { recursive: true, mode: 0o700 });
  const files = pkiFiles(input.dir);
  const ca = await ensureAuthority(files.ca, input);
  const host = input.apiServer.addresses[0] ?? '127.0.0.1';
  const server = `https://${formatHostPort(host, input.apiServer.port)}`;
  await ensureLeaf(files.apiServer, ca, input, {
    commonName: 'kube-apiserver',
    usage: 'server',
    names: [...new Set([...input.serverNames, ...input.apiServer.addresses])],
  });
  if (!existsSync(files.accountKey)) await replaceFile(files.accountKey, newAccountKey(), KEPT);
  const client = (target: ClientFiles, request: IssueRequest) =>
    ensureClient(target, ca, input, request, server);
  const admin = await client(files.admin, ADMIN);
  await client(files.controllers, CONTROLLERS);
  for (const node of input.nodes) await client(files.node(node), agentRequest(node));
  await writePeoplesKubeconfig(input, ca, admin);
}

const newAccountKey = (): string =>
  generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({
    type: 'pkcs8',
    format: 'pem',
  });

/** What the API server of a local cluster is called by those in it. */
export function serverNames(clusterDomain: string, serviceAddresses: readonly string[]): string[] {
  const service = 'kubernetes.default';
  return [
    'localhost',
    '127.0.0.1',
    '::1',
    'kubernetes',
    service,
    `${service}.svc`,
    `${service}.svc.${clusterDomain}`,
    ...serviceAddresses,
  ];
}

async function ensureAuthority(files: KeyFiles, input: PkiInput): Promise<CertificateAuthority> {
  const name = `heddle-${input.clusterId}`;
  const kept = readPair(files);
  const wanted: IssueRequest = { commonName: name, usage: 'client' };
  if (kept && isCurrent(kept, wanted, kept, input.now(), CA_SPARE_DAYS))
    return loadAuthority(kept, input.now);
  const ca = await createAuthority(name, input.now());
  await writePair(files, ca.pair);
  return ca;
}

async function ensureLeaf(
  files: KeyFiles,
  ca: CertificateAuthority,
  input: PkiInput,
  request: IssueRequest,
): Promise<KeyPair> {
  const kept = readPair(files);
  if (kept && isCurrent(kept, request, ca.pair, input.now(), SPARE_DAYS)) return kept;
  const pair = await ca.issue(request);
  await writePair(files, pair);
  return pair;
}

async function ensureClient(
  files: ClientFiles,
  ca: CertificateAuthority,
  input: PkiInput,
  request: IssueRequest,
  server: string,
): Promise<KeyPair> {
  const pair = await ensureLeaf(files, ca, input, request);
  const text = kubeconfigText({
    server,
    cluster: clusterName(input),
    user: request.commonName,
    ca: ca.pair.cert,
    ...pair,
  });
  await replaceFile(files.kubeconfig, text, KEPT);
  return pair;
}

const clusterName = (input: PkiInput): string => `heddle-${input.clusterId}`;

async function writePeoplesKubeconfig(
  input: PkiInput,
  ca: CertificateAuthority,
  admin: KeyPair,
): Promise<void> {
  const { path, port, owner } = input.people;
  const text = kubeconfigText({
    server: `https://127.0.0.1:${port}`,
    cluster: clusterName(input),
    user: `${clusterName(input)}-admin`,
    ca: ca.pair.cert,
    ...admin,
  });
  await replaceFile(path, text, KEPT);
  if (owner) chownSync(path, owner.uid, owner.gid);
}

function readPair(files: KeyFiles): KeyPair | undefined {
  try {
    return { cert: readFileSync(files.cert, 'utf8'), key: readFileSync(files.key, 'utf8') };
  } catch (error) {
    if (errnoCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/** The key first: a certificate without its key would look complete after a crash in between. */
async function writePair(files: KeyFiles, pair: KeyPair): Promise<void> {
  await replaceFile(files.key, pair.key, KEPT);
  await replaceFile(files.cert, pair.cert, KEPT);
}
