/** A server of its own for a test: real store, real TLS, on a loopback port. */
import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { Agent, request as httpsRequest } from 'node:https';
import type { IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLog } from '../../lib/log.ts';
import { createStore, type StoreOptions } from '../../store/store.ts';
import type { Store } from '../../store/types.ts';
import type { Kubelets } from '../kubelets.ts';
import { type ApiServer, createApiServer } from '../server.ts';
import { createTestAuthority, type KeyPair, type TestAuthority } from './certificates.ts';

export interface Response {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly text: string;
  /** The body as JSON. */
  // oxlint-disable-next-line typescript/no-explicit-any -- tests read into answers of every shape
  readonly json: any;
}

export interface RequestOptions {
  readonly body?: unknown;
  readonly type?: string;
  readonly accept?: string;
  readonly headers?: Record<string, string>;
  /** `none` sends no certificate. Default: an administrator. */
  readonly as?: 'admin' | 'nobody' | 'none' | 'stranger';
}

export interface Watching {
  /** Parsed events so far. */
  // oxlint-disable-next-line typescript/no-explicit-any -- tests read into objects of every kind
  readonly events: any[];
  /** Resolves when there are `count` events. */
  // oxlint-disable-next-line typescript/no-explicit-any -- tests read into objects of every kind
  until(count: number): Promise<any[]>;
  readonly ended: Promise<void>;
  stop(): void;
}

export interface Harness {
  readonly dir: string;
  readonly url: string;
  readonly port: number;
  readonly store: Store;
  readonly authority: TestAuthority;
  readonly kubeconfig: string;
  request(method: string, path: string, options?: RequestOptions): Promise<Response>;
  watch(path: string, options?: RequestOptions): Watching;
  /** Stops and starts the server on the same files, at another port. */
  restart(): Promise<void>;
  close(): Promise<void>;
}

const RANGES = {
  serviceCidrs: ['10.96.0.0/16', 'fd00:10:96::/112'],
  dnsAddresses: ['10.96.0.10', 'fd00:10:96::a'],
  advertise: { addresses: ['10.240.0.2', 'fd00:10:240::2'], port: 6443 },
};

export const ISSUER = 'https://kubernetes.default.svc.cluster.local';

export async function startHarness(
  options: Partial<StoreOptions> & { serviceCidrs?: string[]; kubelets?: Kubelets } = {},
): Promise<Harness> {
  const { serviceCidrs, kubelets, ...storeOptions } = options;
  const dir = mkdtempSync(join(tmpdir(), 'heddle-apiserver-'));
  const authority = await createTestAuthority();
  const stranger = await (await createTestAuthority()).client('eve', ['system:masters']);
  const serverKeys = await authority.server();
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const accountKey = privateKey.export({ type: 'pkcs8', format: 'pem' });
  const clients: Record<string, KeyPair | undefined> = {
    admin: await authority.client('admin', ['system:masters']),
    nobody: await authority.client('bob', ['developers']),
    stranger,
  };
  const agents = Object.fromEntries(
    ['admin', 'nobody', 'none', 'stranger'].map((name) => [
      name,
      new Agent({ ca: authority.ca, keepAlive: true, maxSockets: 1000, ...clients[name] }),
    ]),
  );
  let store: Store;
  let server: ApiServer;
  let port = 0;
  const start = async () => {
    store = await createStore({ path: join(dir, 'store.db'), ...storeOptions });
    server = await createApiServer({
      store,
      log: silentLog,
      tls: { ca: authority.ca, cert: serverKeys.cert, key: serverKeys.key },
      tokens: [{ token: 'secret-token', user: { name: 'robot', groups: ['heddle:components'] } }],
      accountTokens: { key: accountKey, issuer: ISSUER },
      ...(kubelets ? { kubelets } : {}),
      ...RANGES,
      ...(serviceCidrs ? { serviceCidrs } : {}),
    });
    ({ port } = await server.listen({ host: '127.0.0.1', port: 0 }));
  };
  const stop = async () => {
    for (const agent of Object.values(agents)) agent.destroy();
    await server.close(200);
    await store.close();
  };
  await start();
  const kubeconfig = join(dir, 'kubeconfig');
  const writeKubeconfig = () =>
    writeFileSync(kubeconfig, kubeconfigText(port, authority.ca, clients['admin']!));
  writeKubeconfig();

  const open = (
    method: string,
    path: string,
    { body, type, accept, headers = {}, as = 'admin' }: RequestOptions,
  ) => {
    const text = body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body);
    const sent = httpsRequest({
      method,
      path,
      host: '127.0.0.1',
      port,
      agent: agents[as]!,
      headers: {
        ...(text === undefined
          ? {}
          : { 'content-type': type ?? 'application/json', 'content-length': Buffer.byteLength(text) }),
        ...(accept ? { accept } : {}),
        ...headers,
      },
    });
    sent.end(text);
    return sent;
  };

  return {
    dir,
    authority,
    kubeconfig,
    get url() {
      return `https://127.0.0.1:${port}`;
    },
    get port() {
      return port;
    },
    get store() {
      return store;
    },
    request: (method, path, requestOptions = {}) =>
      new Promise((resolve, reject) => {
        const sent = open(method, path, requestOptions);
        sent.on('error', reject);
        sent.on('response', (response) => {
          const chunks: Buffer[] = [];
          response.on('data', (chunk: Buffer) => chunks.push(chunk));
          response.on('error', reject);
          response.on('end', () => {
            const text = Buffer.concat(chunks).toString('utf8');
            resolve({
              status: response.statusCode ?? 0,
              headers: response.headers,
              text,
              get json() {
                return JSON.parse(text);
              },
            });
          });
        });
      }),
    watch: (path, requestOptions = {}) => watching(open('GET', path, requestOptions)),
    async restart() {
      await stop();
      await start();
      writeKubeconfig();
    },
    async close() {
      await stop();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

function watching(sent: ReturnType<typeof httpsRequest>): Watching {
  const events: unknown[] = [];
  const waiting = new Set<() => void>();
  const { promise: ended, resolve } = Promise.withResolvers<void>();
  let rest = '';
  sent.on('response', (response) => {
    response.setEncoding('utf8');
    response.on('data', (chunk: string) => {
      const lines = (rest + chunk).split('\n');
      rest = lines.pop() ?? '';
      events.push(...lines.map((line) => JSON.parse(line) as unknown));
      for (const check of waiting) check();
    });
    response.on('close', () => resolve());
    response.on('error', () => resolve());
  });
  sent.on('error', () => resolve());
  return {
    events,
    ended,
    stop: () => sent.destroy(),
    until: (count) =>
      new Promise((done) => {
        const check = () => {
          if (events.length < count) return;
          waiting.delete(check);
          done(events);
        };
        waiting.add(check);
        check();
      }),
  };
}

function kubeconfigText(port: number, ca: string, { cert, key }: KeyPair): string {
  const data = (text: string) => Buffer.from(text).toString('base64');
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [
      {
        name: 'test',
        cluster: { server: `https://127.0.0.1:${port}`, 'certificate-authority-data': data(ca) },
      },
    ],
    users: [{ name: 'admin', user: { 'client-certificate-data': data(cert), 'client-key-data': data(key) } }],
    contexts: [{ name: 'test', context: { cluster: 'test', user: 'admin' } }],
    'current-context': 'test',
  });
}
