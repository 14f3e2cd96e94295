import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { CniError } from './error.ts';
import { decodeRequest, encodeReply, encodeRequest, frameLength } from './frame.ts';
import { hostInterfaceName, macAddresses, ownerAlias, parseOwnerAlias } from './names.ts';
import { formatArgs, parseArgs, parseRequest } from './request.ts';
import { resultAs, SUPPORTED_VERSIONS } from './version.ts';

const env = {
  CNI_COMMAND: 'ADD',
  CNI_CONTAINERID: 'c1',
  CNI_NETNS: '/run/netns/a',
  CNI_IFNAME: 'eth0',
  CNI_ARGS: 'IgnoreUnknown=1;K8S_POD_NAME=web',
};
const stdin = Buffer.from('{"cniVersion":"1.0.0","name":"n","type":"heddle"}');

test('a request survives the frame, whatever its input', () => {
  const key = fc.stringMatching(/^CNI_[A-Z_]{1,10}$/);
  const value = fc.string().map((text) => text.replaceAll('\0', ''));
  fc.assert(
    fc.property(fc.dictionary(key, value), fc.uint8Array(), (some, bytes) => {
      const frame = encodeRequest({ env: some, stdin: Buffer.from(bytes) });
      const size = frameLength(frame)!;
      assert.equal(size.head + size.body, frame.length);
      const decoded = decodeRequest(frame.subarray(size.head));
      assert.deepEqual({ ...decoded.env }, { ...some });
      assert.deepEqual([...decoded.stdin], [...bytes]);
    }),
  );
});

test('any bytes are a frame, not yet a frame, or an error of the protocol', () => {
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 80 }),
    fc.string().map((text) => Buffer.from(`HCNI1 ${text}`)),
  );
  fc.assert(
    fc.property(bytes, (some) => {
      try {
        frameLength(Buffer.from(some));
        decodeRequest(Buffer.from(some));
      } catch (error) {
        assert.ok(error instanceof CniError, String(error));
      }
    }),
  );
});

test('a reply tells exit code and length', () => {
  assert.equal(encodeReply(1, 'é').toString('utf8'), 'HCNI1 1 2\né');
});

test('a request is read as the specification names its parts', () => {
  const request = parseRequest({ env, stdin });
  assert.equal(request.command, 'ADD');
  assert.equal(request.cniVersion, '1.0.0');
  assert.deepEqual(request.args, { IgnoreUnknown: '1', K8S_POD_NAME: 'web' });
  assert.equal(formatArgs(request.args), env.CNI_ARGS);
});

for (const [what, change, input, code] of [
  ['no command', { CNI_COMMAND: '' }, stdin, 4],
  ['an unknown command', { CNI_COMMAND: 'DESTROY' }, stdin, 4],
  ['no container id', { CNI_CONTAINERID: '' }, stdin, 4],
  ['a container id that is a path', { CNI_CONTAINERID: '../x' }, stdin, 4],
  ['ADD without namespace', { CNI_NETNS: '' }, stdin, 4],
  ['an interface name that is too long', { CNI_IFNAME: 'abcdefghijklmnop' }, stdin, 4],
  ['an interface name with a slash', { CNI_IFNAME: 'a/b' }, stdin, 4],
  ['arguments without =', { CNI_ARGS: 'x' }, stdin, 4],
  ['a configuration that is no JSON', {}, Buffer.from('{'), 6],
  ['a configuration that is no object', {}, Buffer.from('[]'), 6],
  ['a version not spoken', {}, Buffer.from('{"cniVersion":"0.2.0"}'), 1],
  ['no version', {}, Buffer.from('{}'), 1],
] as const)
  test(`${what} is error ${code}`, () => {
    assert.throws(
      () => parseRequest({ env: { ...env, ...change }, stdin: input }),
      (error) => error instanceof CniError && error.code === code,
    );
  });

for (const [what, change, config, code] of [
  ['a network without a name', {}, { name: undefined }, 7],
  ['a network whose name is a path', {}, { name: '../x' }, 7],
  ['a network whose name is no text', {}, { name: 5 }, 7],
  ['CHECK of 0.3.1', { CNI_COMMAND: 'CHECK' }, { cniVersion: '0.3.1' }, 1],
  ['STATUS of 1.0.0', { CNI_COMMAND: 'STATUS' }, { cniVersion: '1.0.0' }, 1],
  ['GC of 1.0.0', { CNI_COMMAND: 'GC' }, { cniVersion: '1.0.0' }, 1],
  ['a version that is no text', {}, { cniVersion: 1 }, 1],
  ['CHECK without a namespace', { CNI_COMMAND: 'CHECK', CNI_NETNS: '' }, {}, 4],
  ['DEL without an interface', { CNI_COMMAND: 'DEL', CNI_IFNAME: '' }, {}, 4],
  ['the interface ..', { CNI_IFNAME: '..' }, {}, 4],
  ['an interface with a blank', { CNI_IFNAME: 'a b' }, {}, 4],
  ['an interface with a colon', { CNI_IFNAME: 'a:b' }, {}, 4],
  ['a container id that begins with a dot', { CNI_CONTAINERID: '.a' }, {}, 4],
  ['a container id with a slash', { CNI_CONTAINERID: 'a/b' }, {}, 4],
] as const)
  test(`${what} is error ${code}, as the specification's tables say`, () => {
    const text = JSON.stringify({ cniVersion: '1.1.0', name: 'n', type: 'heddle-cni', ...config });
    assert.throws(
      () => parseRequest({ env: { ...env, ...change }, stdin: Buffer.from(text) }),
      (error) => error instanceof CniError && error.code === code,
    );
  });

test('each command is taken in the versions that have it', () => {
  const first = { ADD: 0, DEL: 0, CHECK: 1, STATUS: 3, GC: 3 };
  for (const [command, floor] of Object.entries(first))
    for (const cniVersion of SUPPORTED_VERSIONS.slice(floor)) {
      const input = Buffer.from(JSON.stringify({ cniVersion, name: 'n' }));
      assert.equal(
        parseRequest({ env: { ...env, CNI_COMMAND: command }, stdin: input }).cniVersion,
        cniVersion,
      );
    }
});

test('VERSION asks nothing of the configuration: who asks may speak versions that are not there yet', () => {
  const asked = (text: string) =>
    parseRequest({ env: { CNI_COMMAND: 'VERSION' }, stdin: Buffer.from(text) }).cniVersion;
  assert.equal(asked('{"cniVersion":"9.0.0"}'), '9.0.0');
  assert.equal(asked('{}'), '1.1.0');
});

test('DEL needs no namespace', () => {
  assert.equal(parseRequest({ env: { ...env, CNI_COMMAND: 'DEL', CNI_NETNS: '' }, stdin }).netns, '');
});

test('CNI_ARGS may be empty', () => assert.deepEqual(parseArgs(''), {}));

test('results say only what the version asked for knows', () => {
  const result = {
    cniVersion: '1.1.0',
    interfaces: [{ name: 'eth0', mac: 'f6:00:00:00:00:01', mtu: 1450, sandbox: '/x' }],
    ips: [
      { address: '10.0.0.2/32', interface: 0 },
      { address: 'fd00::2/128', interface: 0 },
    ],
  };
  assert.equal(resultAs(result, '1.1.0').interfaces![0]!.mtu, 1450);
  assert.equal(resultAs(result, '1.0.0').interfaces![0]!.mtu, undefined);
  assert.deepEqual(
    resultAs(result, '0.4.0').ips!.map(({ version }) => version),
    ['4', '6'],
  );
  assert.equal(resultAs(result, '1.0.0').ips![0]!.version, undefined);
  // Of a plugin before ours: what only newer versions have.
  const full = {
    ...result,
    interfaces: [{ name: 'eth0', socketPath: '/s', pciID: '0000:00:1f.6' }],
    routes: [{ dst: '0.0.0.0/0', gw: '10.0.0.1', mtu: 1400, advmss: 1, priority: 1, table: 1, scope: 0 }],
  };
  for (const version of ['0.3.1', '0.4.0', '1.0.0']) {
    assert.deepEqual(resultAs(full, version).interfaces, [{ name: 'eth0' }]);
    assert.deepEqual(resultAs(full, version).routes, [{ dst: '0.0.0.0/0', gw: '10.0.0.1' }]);
  }
  assert.deepEqual(resultAs(full, '1.1.0').routes, full.routes);
  assert.deepEqual(resultAs(full, '1.1.0').interfaces, full.interfaces);
});

test('names and link addresses depend on the attachment alone and fit the kernel', () => {
  const one = { containerId: 'a', ifName: 'eth0' };
  assert.match(hostInterfaceName(one), /^hd[0-9a-f]{10}$/);
  assert.equal(hostInterfaceName(one), hostInterfaceName({ ...one }));
  assert.notEqual(hostInterfaceName(one), hostInterfaceName({ ...one, ifName: 'eth1' }));
  const { host, pod } = macAddresses(one);
  for (const mac of [host, pod]) {
    const first = Number.parseInt(mac.slice(0, 2), 16);
    assert.equal(first & 3, 2, 'unicast and locally administered');
  }
  assert.notEqual(host, pod);
});

test('the owner mark can be read back', () => {
  const pod = { namespace: 'shop', name: 'cart-1', uid: 'u-1' };
  assert.deepEqual(parseOwnerAlias(ownerAlias(pod)), pod);
  assert.equal(parseOwnerAlias('something else'), undefined);
});
