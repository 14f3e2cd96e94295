/** How the supervisor answers `heddle status`: HTTP on a Unix socket in the run directory, 0600. */
import { chmodSync } from 'node:fs';
import { createServer } from 'node:http';
import type { SupervisorStatus } from './supervisor-protocol.ts';

export interface StatusServer {
  close(): void;
}

export function serveStatus(socketPath: string, status: () => SupervisorStatus): Promise<StatusServer> {
  const server = createServer((req, res) => {
    const known = req.method === 'GET' && req.url === '/status';
    res.writeHead(known ? 200 : 404, { 'content-type': 'application/json' });
    res.end(JSON.stringify(known ? status() : { error: `${req.method} ${req.url} is not served here` }));
  });
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(socketPath, () => {
      chmodSync(socketPath, 0o600);
      resolve({ close: () => server.close() });
    });
  });
}
