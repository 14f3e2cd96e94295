import assert from 'node:assert/strict';
import { test } from 'node:test';
import { namePattern } from '../language/cilium-names.ts';
import {
  anyCase,
  anyText,
  endsWith,
  exactly,
  fullMatch,
  matchesRequest,
  oneOf,
  present,
  type Request,
  type RequestMatch,
  startsWith,
} from '../request.ts';
import { formOf, matchOf } from './forms.ts';

const texts = [
  anyText,
  present,
  exactly('/a'),
  oneOf(['/a', '/b']),
  startsWith('/a'),
  endsWith('a'),
  fullMatch('/[ab]'),
  anyCase(exactly('/a')),
  namePattern('*.example'),
  namePattern('**.example'),
  namePattern('*'),
];
const words = ['', '/a', '/A', '/b', '/ab', 'x.example', 'x.y.example'];

const matches: RequestMatch[] = [
  { type: 'http' },
  { type: 'grpc' },
  { type: 'kafka' },
  ...texts.flatMap((text): RequestMatch[] => [
    { type: 'http', method: text },
    { type: 'http', path: text },
    { type: 'http', target: text },
    { type: 'http', host: text },
    { type: 'http', headers: [{ name: 'X-A', value: text }] },
    { type: 'grpc', service: text },
    { type: 'grpc', method: text },
    { type: 'grpc', host: text, headers: [{ name: 'x-a', value: text }] },
    { type: 'dns', names: [text] },
  ]),
  { type: 'dns', names: [exactly('x.example'), exactly('/b')] },
  { type: 'kafka', apiKeys: ['produce'], topic: '/a' },
  { type: 'kafka', apiVersion: 2, clientId: '/b' },
];

const requests: Request[] = [
  { type: 'bytes' },
  ...words.flatMap((word): Request[] => [
    { type: 'http', method: word, path: word, host: word, headers: { 'x-a': word } },
    { type: 'http', method: 'GET', path: `${word}?q`, headers: {} },
    { type: 'grpc', service: word, method: word, host: word, headers: { 'X-A': word } },
    { type: 'dns', name: word },
    { type: 'kafka', apiKey: 'Produce', apiVersion: 2, topic: word, clientId: word },
  ]),
];

test('what is said of requests matches the same after it was JSON', () => {
  for (const match of matches) {
    const back = matchOf(JSON.parse(JSON.stringify(formOf(match))) as ReturnType<typeof formOf>);
    for (const request of requests)
      assert.equal(
        matchesRequest(back, request),
        matchesRequest(match, request),
        JSON.stringify([formOf(match), request]),
      );
    assert.deepEqual(formOf(back), formOf(match));
  }
});
