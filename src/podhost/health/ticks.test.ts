import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ticks } from './ticks.ts';

test('a probe comes once a period, on a whole second, and what took too long is left out', () => {
  const durations = fc.array(fc.nat(25_000), { minLength: 1, maxLength: 20 });
  fc.assert(
    fc.property(fc.nat(10_000_000), fc.integer({ min: 1, max: 20 }), durations, (start, period, list) => {
      const clock = { at: start / 7, monotonic: () => clock.at };
      const next = ticks(clock, period * 1000);
      let last: number | undefined;
      for (const duration of list) {
        const wait = next();
        assert.ok(wait >= 0 && wait <= (period + 1) * 1000, `${wait}`);
        clock.at += wait;
        assert.ok(Math.abs(clock.at - Math.round(clock.at / 1000) * 1000) < 1e-3, `${clock.at}`);
        if (last !== undefined) {
          const periods = (clock.at - last) / (period * 1000);
          assert.ok(Math.abs(periods - Math.round(periods)) < 1e-6 && periods > 0.5, `${periods}`);
        }
        last = clock.at;
        clock.at += duration;
      }
    }),
  );
});
