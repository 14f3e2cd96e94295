import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  anyCase,
  endsWith,
  exactly,
  fullMatch,
  matchesRequest,
  present,
  type Request,
  type RequestMatch,
  startsWith,
} from './request.ts';

const get: Request = {
  type: 'http',
  method: 'GET',
  path: '/pay/7?id=1',
  host: 'shop.example:80',
  headers: { 'X-Team': 'blue' },
};
const call: Request = { type: 'grpc', service: 'pay.v1.Ledger', method: 'Write', host: 'ledger' };
const name: Request = { type: 'dns', name: 'API.Example.com.' };
const produce: Request = { type: 'kafka', apiKey: 'Produce', apiVersion: 2, topic: 'orders' };

const cases: [what: string, match: RequestMatch, request: Request, expected: boolean][] = [
  ['nothing asked of HTTP matches all of it', { type: 'http' }, get, true],
  ['HTTP is not asked of names', { type: 'http' }, name, false],
  ['a method is exact', { type: 'http', method: exactly('GET') }, get, true],
  ['a method is of one case', { type: 'http', method: exactly('get') }, get, false],
  ['a path has no query', { type: 'http', path: exactly('/pay/7') }, get, true],
  ['a path by its start', { type: 'http', path: startsWith('/pay/') }, get, true],
  ['a path by its end', { type: 'http', path: endsWith('/8') }, get, false],
  ['a whole path by an expression', { type: 'http', path: fullMatch('/pay/[0-9]+') }, get, true],
  ['a part of a path is not the whole', { type: 'http', path: fullMatch('pay') }, get, false],
  ['a host in any case', { type: 'http', host: anyCase(startsWith('shop.')) }, get, true],
  [
    'a header in any case of its name',
    { type: 'http', headers: [{ name: 'x-team', value: exactly('blue') }] },
    get,
    true,
  ],
  [
    'every header',
    {
      type: 'http',
      headers: [
        { name: 'x-team', value: present },
        { name: 'y', value: present },
      ],
    },
    get,
    false,
  ],
  [
    'HTTP rules match gRPC as HTTP carries it',
    { type: 'http', method: exactly('POST'), path: exactly('/pay.v1.Ledger/Write') },
    call,
    true,
  ],
  [
    'gRPC by service and method',
    { type: 'grpc', service: startsWith('pay.'), method: exactly('Write') },
    call,
    true,
  ],
  ['gRPC rules do not match HTTP', { type: 'grpc' }, get, false],
  ['a name in lower case without its dot', { type: 'dns', names: [exactly('api.example.com')] }, name, true],
  ['no name of none', { type: 'dns', names: [] }, name, false],
  [
    'Kafka by key, version, topic',
    { type: 'kafka', apiKeys: ['produce'], apiVersion: 2, topic: 'orders' },
    produce,
    true,
  ],
  ['a client that did not say who it is', { type: 'kafka', clientId: 'a' }, produce, false],
];

for (const [what, match, request, expected] of cases)
  test(what, () => assert.equal(matchesRequest(match, request), expected));
