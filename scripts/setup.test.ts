/** Set-up on a machine that has less than this one: `dpkg-query` is real, what would change the machine is not. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';

const needsRoot = process.geteuid?.() === 0 ? false : 'needs root';

/** A checkout with these packages, and an `apt-get` and an `npm` that write down how they were called. */
function checkout(t: TestContext, packages: string, ping = { code: 0, output: 'PONG' }) {
  const root = mkdtempSync(join(tmpdir(), 'heddle-setup-'));
  t.after(() => rmSync(root, { recursive: true }));
  for (const folder of ['scripts', 'bin']) mkdirSync(join(root, folder));
  for (const file of ['setup', 'lib.sh'])
    copyFileSync(join(import.meta.dirname, file), join(root, 'scripts', file));
  writeFileSync(join(root, 'scripts/debian-packages.txt'), packages);
  writeFileSync(join(root, 'package-lock.json'), '{}');
  const calls = join(root, 'calls');
  writeFileSync(calls, '');
  writeFileSync(join(root, 'bin/apt-get'), `#!/bin/sh\necho "apt-get $*" >>${calls}\n`, { mode: 0o755 });
  writeFileSync(
    join(root, 'bin/npm'),
    `#!/bin/sh
echo "npm $*" >>${calls}
[ "$1" = ping ] && echo "${ping.output}" && exit ${ping.code}
exit 1
`,
    { mode: 0o755 },
  );
  return (...args: string[]) => {
    const env = { ...process.env, PATH: `${join(root, 'bin')}:${process.env['PATH']}` };
    const { stderr } = spawnSync(join(root, 'scripts/setup'), args, { env, encoding: 'utf8' });
    const lines = readFileSync(calls, 'utf8').split('\n');
    return { stderr, installs: lines.filter((line) => /^apt-get .* install /.test(line)), lines };
  };
}

test('packages that Debian does not know or has not installed are installed, and no others', {
  skip: needsRoot,
}, (t) => {
  const setUp = checkout(t, '# names\ndpkg run\nheddle-none run\nheddle-only-for-tests test\n');
  const { stderr, installs } = setUp();
  assert.match(stderr, /installing 1 Debian packages: heddle-none$/m);
  assert.equal(installs.length, 1);
  assert.match(installs[0] ?? '', / heddle-none$/);
});

test('where nothing is installed yet, everything is, and for tests more', { skip: needsRoot }, (t) => {
  const setUp = checkout(t, 'heddle-one run\nheddle-two test\n');
  assert.match(setUp('--test').installs[0] ?? '', / heddle-one heddle-two$/);
});

test('where everything is installed, apt is not called', { skip: needsRoot }, (t) => {
  assert.deepEqual(checkout(t, 'dpkg run\n')('--test').installs, []);
});

const npmInstalls = (lines: string[]) => lines.filter((line) => line.startsWith('npm install '));

test('a registry that does not answer is told at once, with the reason; npm is asked for what it has kept only', {
  skip: needsRoot,
}, (t) => {
  const output =
    'npm error code EAI_AGAIN\nnpm error request to https://r/-/ping failed, reason: getaddrinfo EAI_AGAIN r';
  const { stderr, lines } = checkout(t, 'dpkg run\n', { code: 1, output })();
  assert.match(stderr, /^error: the npm registry .* does not answer \(getaddrinfo EAI_AGAIN r\)/m);
  assert.match(stderr, /^ {2}hint: .*https-proxy/m);
  assert.equal(npmInstalls(lines).length, 1);
  assert.match(npmInstalls(lines)[0] ?? '', / --offline\b/);
});

test('a registry that answers with an HTTP error is asked for packages', { skip: needsRoot }, (t) => {
  const output = 'npm error code E404\nnpm error 404 Not Found - GET https://r/-/ping';
  const { stderr, lines } = checkout(t, 'dpkg run\n', { code: 1, output })();
  assert.match(stderr, /^error: npm install did not succeed$/m);
  assert.doesNotMatch(npmInstalls(lines)[0] ?? '--offline', /--offline/);
});
