/** A speaker of ours on the real kernel, in a namespace of the test's. */
import type { TestContext } from 'node:test';
import { tcpMd5Drops } from '../../kernel/tcp-options.ts';
import { createLog, type Log, silentLog } from '../../lib/log.ts';
import type { SpeakerConfig } from '../config.ts';
import { type Speaker, startSpeaker } from '../speaker.ts';
import { systemTimers } from '../timers.ts';
import { createTcpTransport } from '../transport.ts';
import type { Place } from './lab.ts';

export function speak(
  t: Pick<TestContext, 'after'>,
  { ns, route }: Place,
  config: Omit<SpeakerConfig, 'routerId'> & { routerId?: string },
  log: Log = process.argv.includes('--loud') ? createLog({ level: 'debug' }) : silentLog,
): Speaker {
  const linkIndex = (name: string) => route.link(name)?.index;
  const speaker = startSpeaker({
    config: { routerId: '10.1.1.1', scanSeconds: 1, ...config },
    transport: createTcpTransport({ netns: ns, linkIndex, log, connectTimeoutMs: 2000 }),
    route,
    md5Drops: () => tcpMd5Drops(ns),
    timers: systemTimers,
    log,
  });
  t.after(() => speaker.close());
  return speaker;
}
