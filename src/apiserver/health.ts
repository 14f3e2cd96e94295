/** /livez, /readyz, /healthz, with `?verbose` and single checks as Kubernetes serves them. */
import type { Answer } from './deps.ts';

export interface Health {
  /** Name to what is wrong, or undefined when nothing is. */
  checks(): Readonly<Record<string, string | undefined>>;
}

const PATHS = ['/livez', '/readyz', '/healthz'];
/** A server that shuts down is alive, and not ready. */
const READY_ONLY = new Set(['shutdown', 'started']);

export function healthAnswer(health: Health, path: string): Answer | undefined {
  const root = PATHS.find((one) => path === one || path.startsWith(`${one}/`));
  if (!root) return undefined;
  const name = path.slice(root.length + 1);
  const checks = Object.entries(health.checks()).filter(
    ([check]) => (root === '/readyz' || !READY_ONLY.has(check)) && (name === '' || name === check),
  );
  if (name !== '' && checks.length === 0)
    return { code: 404, body: `no check ${name}\n`, contentType: 'text/plain' };
  const wrong = checks.some(([, problem]) => problem !== undefined);
  if (!wrong) return { code: 200, body: 'ok', contentType: 'text/plain; charset=utf-8' };
  const lines = checks.map(([check, problem]) =>
    problem === undefined ? `[+]${check} ok` : `[-]${check} failed: ${problem}`,
  );
  return {
    code: 500,
    body: `${lines.join('\n')}\n${root.slice(1)} check failed\n`,
    contentType: 'text/plain; charset=utf-8',
  };
}
