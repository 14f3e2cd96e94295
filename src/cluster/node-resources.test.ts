import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseNodeResources } from './node-resources.ts';

test('resources of nodes are a list of names and quantities, or none', () => {
  assert.deepEqual(parseNodeResources('memory=32Gi, cpu=500m,pods=250,example.com/gpu=2,hugepages-2Mi=1Gi'), {
    cpu: '500m',
    'example.com/gpu': '2',
    'hugepages-2Mi': '1Gi',
    memory: '32Gi',
    pods: '250',
  });
  assert.deepEqual(parseNodeResources('none'), {});
  assert.deepEqual(parseNodeResources('cpu=0'), { cpu: '0' });
});

test('what is no resource, or no quantity of it, is refused by name', () => {
  for (const [text, problem] of [
    ['', /"": expected NAME=QUANTITY/],
    ['cpu', /"cpu": expected NAME=QUANTITY/],
    ['cpu=1=2', /"cpu=1=2": expected NAME/],
    ['cpu=8,', /"": expected NAME/],
    ['cpus=8', /"cpus": expected cpu, memory, ephemeral-storage, pods/],
    ['a/b/c=1', /"a\/b\/c": /],
    ['cpu=1,cpu=2', /"cpu": given twice/],
    ['cpu=-1', /cpu "-1": expected 0 or more/],
    ['cpu=lots', /cpu "lots": expected a quantity/],
    ['memory=32GB', /memory "32GB": expected a quantity/],
    ['memory=1e999', /memory "1e999": expected/],
    ['memory=9999Ei', /memory "9999Ei": expected less/],
    ['pods=1.5', /pods "1.5": expected a whole number/],
    ['cpu=', /cpu "": expected a quantity/],
    ['__proto__=1', /"__proto__": expected cpu/],
  ] as const) {
    const result = parseNodeResources(text);
    assert.match(typeof result === 'string' ? result : 'accepted', problem, text);
  }
});
