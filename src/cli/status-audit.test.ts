import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { AuditCount } from '../observe/audit-count.ts';
import { askAudit, auditLine, sumAudit } from './status-audit.ts';

const count = (
  enforced: 'allow' | 'deny',
  audit: 'allow' | 'deny',
  packets: number,
  rule = 7,
): AuditCount => ({
  direction: 'ingress',
  enforced: { verdict: enforced, rule: 1 },
  audit: { verdict: audit, rule },
  packets,
  bytes: packets * 100,
});

test('packets that audited policies would decide otherwise are summed up', () => {
  const counts = [count('allow', 'deny', 3), count('allow', 'deny', 4), count('deny', 'allow', 1, 8)];
  assert.deepEqual(sumAudit([...counts, count('allow', 'allow', 9, 9)]), {
    rules: 3,
    wouldDeny: 7,
    wouldAllow: 1,
  });
  assert.match(
    auditLine(sumAudit(counts)) ?? '',
    /: 7 packets would be denied, 1 packet would be allowed; "heddle policy audit"/,
  );
});

test('there is no line where nothing is audited, and one where nothing would be otherwise', () => {
  assert.equal(auditLine(null), undefined);
  assert.equal(auditLine(sumAudit([])), undefined);
  assert.match(
    auditLine(sumAudit([count('allow', 'allow', 9)])) ?? '',
    /nothing seen would be decided otherwise/,
  );
});

test('nodes that do not answer are left out', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'heddle-test-audit-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const server = createServer((request, response) => {
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify(request.url === '/policy/audit' ? [count('allow', 'deny', 5)] : {}));
  });
  t.after(() => server.close());
  await new Promise<void>((resolve) => server.listen(join(folder, 'one'), resolve));
  const paths = { node: (name: string) => ({ agentSocket: join(folder, name) }) } as never;
  assert.deepEqual(await askAudit(paths, ['one', 'two']), { rules: 1, wouldDeny: 5, wouldAllow: 0 });
  assert.equal(await askAudit(paths, ['two']), null);
});
