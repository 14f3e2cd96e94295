/** Where a cluster's keys lie. Every file is 0600 and belongs to root; `dir` is `ClusterPaths.pki`. */
import { join } from 'node:path';

export interface KeyFiles {
  /** PEM certificate. */
  readonly cert: string;
  /** PEM private key, PKCS #8. */
  readonly key: string;
}

export interface ClientFiles extends KeyFiles {
  /** A kubeconfig with the three of them inside, for the API server's underlay address. */
  readonly kubeconfig: string;
}

export interface PkiFiles {
  readonly ca: KeyFiles;
  readonly apiServer: KeyFiles;
  /** PEM, PKCS #8: signs the tokens of service accounts. */
  readonly accountKey: string;
  /** What the API server shows when it calls agents, and people through the kubeconfig: system:masters. */
  readonly admin: ClientFiles;
  readonly controllers: ClientFiles;
  node(name: string): ClientFiles;
}

export function pkiFiles(dir: string): PkiFiles {
  const pair = (name: string): KeyFiles => ({
    cert: join(dir, `${name}.crt`),
    key: join(dir, `${name}.key`),
  });
  const client = (name: string): ClientFiles => ({
    ...pair(name),
    kubeconfig: join(dir, `${name}.kubeconfig`),
  });
  return {
    ca: pair('ca'),
    apiServer: pair('apiserver'),
    accountKey: join(dir, 'service-accounts.key'),
    admin: client('admin'),
    controllers: client('controllers'),
    node: (name) => client(`agent-${name}`),
  };
}
