/**
 * Removing a link without waiting for what comes after. The kernel takes the link, its routes, addresses and neighbours
 * out of the namespace in a millisecond or so, and only then waits, 20 ms and more, until nobody on any processor can
 * still hold it. The call returns after that; here a thread waits for it, and the caller goes on when the link is gone.
 */
import fs from 'node:fs';
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import { errnoName, errnoNumbers, lastErrno, libc, sendLater, systemError } from './ffi.ts';
import {
  type Acknowledgement,
  encodeMessage,
  NLM_F_ACK,
  NLMSG_ERROR,
  parseAcknowledgement,
  parseMessages,
  type Request,
} from './netlink.ts';
import { netlinkError, openNetlinkFd } from './netlink-socket.ts';
import type { Netns } from './netns.ts';

/** Threads that wait at once: Node's pool has four, and files need some. */
const WAITERS = 2;
/** Looks at the link without a pause, which take the time of the kernel's own lock. */
const EAGER_LOOKS = 4;

let waiting = 0;
const queue: (() => void)[] = [];

/** Resolves when `isThere` says no. @throws HeddleError `Netlink` where the kernel refuses. */
export async function removeLater(
  request: Request,
  protocol: number,
  ns: Netns | undefined,
  isThere: () => boolean,
): Promise<boolean> {
  await slot();
  const told: { answer?: Acknowledgement } = {};
  const sent = send(request, protocol, ns).then((given) => {
    told.answer = given;
  });
  void sent.catch(() => {}).finally(release);
  for (let looks = 0; told.answer === undefined && isThere(); looks++)
    await Promise.race([looks < EAGER_LOOKS ? nextTurn() : sleep(1), sent]);
  const { answer } = told;
  if (answer === undefined || answer.errno === 0) return true;
  if (errnoName(answer.errno) === 'ENODEV') return false;
  throw netlinkError(request, answer);
}

async function slot(): Promise<void> {
  if (waiting < WAITERS) waiting++;
  else await new Promise<void>((resolve) => queue.push(resolve));
}

/** The next one takes the place over. */
function release(): void {
  const next = queue.shift();
  if (next) next();
  else waiting--;
}

async function send(request: Request, protocol: number, ns: Netns | undefined): Promise<Acknowledgement> {
  const fd = openNetlinkFd(protocol, ns);
  try {
    const message = encodeMessage(request, 1, NLM_F_ACK);
    const result = await sendLater(fd, message);
    if (result < 0) throw systemError(request.what, -result);
    return receive(fd, request.what);
  } finally {
    fs.closeSync(fd);
  }
}

/** What was sent is answered by the time it is sent. */
function receive(fd: number, what: string): Acknowledgement {
  const buffer = Buffer.alloc(8192);
  for (;;) {
    const length = libc.recv(fd, buffer, buffer.length, 0);
    if (length < 0) {
      if (lastErrno() === errnoNumbers['EINTR']) continue;
      throw systemError(what);
    }
    const answer = parseMessages(buffer.subarray(0, length)).find(({ type }) => type === NLMSG_ERROR);
    if (answer) return parseAcknowledgement(answer);
  }
}
