/** For tests: an agent whose books are on a disk that is full, at every page that its work could still need. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { mountTmpfs, unmountLazy } from '../../kernel/mount.ts';
import { CniCode } from '../error.ts';
import { testHost } from './host.ts';

const PAGE = 4096;
const MOST_PAGES = 16;
const ROOM = 1 << 18;

const CONFIGS = [
  { type: 'heddle-cni', runtimeConfig: { portMappings: [{ hostPort: 8080, containerPort: 80 }] } },
  {
    type: 'heddle-ptp',
    ipMasq: true,
    ipam: { type: 'static', addresses: [{ address: '10.30.0.5/24' }] },
    firewall: {},
  },
];

/** How often what was done on a full disk was refused. */
export async function fillDisk(t: TestContext): Promise<{ refused: number; done: number }> {
  const host = await testHost(t);
  const state = join(host.folder, 'state');
  fs.mkdirSync(state);
  mountTmpfs(state, { size: String(ROOM) });
  host.atEnd(async () => {
    await host.stopAgent('SIGKILL');
    unmountLazy(state);
  });
  const ballast = join(state, 'ballast');
  const leave = (pages: number): void => {
    fs.rmSync(ballast, { force: true });
    try {
      fs.writeFileSync(ballast, Buffer.alloc(ROOM));
    } catch {
      // As much as there was room for.
    }
    fs.truncateSync(ballast, fs.statSync(ballast).size - pages * PAGE);
  };
  const empty = (): void => fs.rmSync(ballast, { force: true });
  const outcome = { refused: 0, done: 0 };
  const said = (code: number, allowed: readonly number[]): void => {
    assert.ok(allowed.includes(code), String(code));
    outcome[code === 0 ? 'done' : 'refused']++;
  };
  await host.startAgent();
  host.container('one');
  const call = async (command: string, config: object): Promise<number> => {
    const { code, out } = await host.cni(command, 'one', config);
    return code === 0 ? 0 : (out?.code ?? code);
  };
  for (const config of CONFIGS) {
    for (let warm = 0; warm < 2; warm++)
      for (const command of ['ADD', 'DEL']) assert.equal(await call(command, config), 0);
    const before = host.inventory();
    const files = () => fs.readdirSync(state).filter((name) => name !== 'ballast');
    const names = files();
    for (let pages = 0; pages < MOST_PAGES; pages++) {
      leave(pages);
      const added = await call('ADD', config);
      said(added, [0, CniCode.io]);
      if (added !== 0) assert.deepEqual(host.inventory(), before, `${pages} pages: ADD left`);
      else {
        leave(0);
        said(await call('DEL', config), [0, CniCode.io]);
      }
      await host.stopAgent('SIGKILL');
      await host.startAgent();
      empty();
      assert.equal(await call('DEL', config), 0);
      assert.deepEqual(host.inventory(), before, `${pages} pages: left`);
      assert.deepEqual(files(), names, `${pages} pages: files left`);
    }
  }
  return outcome;
}
