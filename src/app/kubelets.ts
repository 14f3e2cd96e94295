/** The API server's way to the agents of its machine: their sockets. */
import { type IncomingMessage, request } from 'node:http';
import type { Kubelets } from '../apiserver/kubelets.ts';
import { HeddleError } from '../lib/errors.ts';
import { execOverSocket } from '../podhost/exec-protocol.ts';
import { forwardOverSocket } from '../podhost/forward-protocol.ts';

export function createKubelets(socketOf: (node: string) => string): Kubelets {
  return {
    async log({ node, namespace, pod }, query, signal) {
      const path = `/logs/${encodeURIComponent(namespace)}/${encodeURIComponent(pod)}?${query.toString()}`;
      const response = await get(socketOf(node), path, signal);
      if (response.statusCode === 200) return response;
      throw new HeddleError('LogsFailed', await words(response));
    },
    exec: ({ node, ...asked }) => execOverSocket(socketOf(node), asked),
    forward: ({ node, namespace, pod }, port, signal) =>
      forwardOverSocket(socketOf(node), { namespace, pod, port }, signal),
  };
}

function get(socketPath: string, path: string, signal: AbortSignal): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const req = request({ socketPath, path, agent: false, signal }, resolve);
    req.on('error', (cause) =>
      reject(new HeddleError('LogsFailed', 'the agent of the pod’s node does not answer', { cause })),
    );
    req.end();
  });
}

async function words(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of response as AsyncIterable<Buffer>) chunks.push(chunk);
  const text = Buffer.concat(chunks).toString('utf8');
  try {
    return (JSON.parse(text) as { error: string }).error;
  } catch {
    return text;
  }
}
