/** A reporter of node:test that lists skipped tests with their reasons, and nothing else. */
import { relative } from 'node:path';
import type { TestEvent } from 'node:test/reporters';

export default async function* skipped(source: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  for await (const { type, data } of source) {
    if (type !== 'test:pass' || data.skip === undefined || data.skip === false) continue;
    const file = data.file === undefined ? '' : `${relative(process.cwd(), data.file)}: `;
    yield `  ${file}${data.name}: ${typeof data.skip === 'string' ? data.skip : 'no reason given'}\n`;
  }
}
