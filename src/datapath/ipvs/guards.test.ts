import { test } from 'node:test';
import { guardsContract } from '../testing/guards.ts';
import { needsIpvs, openIpvsBackend } from '../testing/ipvs.ts';

const skip = needsIpvs();
if (skip) test('ipvs: what every backend keeps from pods', { skip }, () => {});
else guardsContract('ipvs', openIpvsBackend);
