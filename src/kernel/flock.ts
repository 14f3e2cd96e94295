/** Whole-file locks (flock(2)): the kernel lets go of them when their holder ends, however it ends. */
import { errnoNumbers, lastErrno, libc, systemError } from './ffi.ts';

const LOCK_EX = 2;
const LOCK_NB = 4;

/** False where another open file holds the lock. It is held until `fd` is closed. */
export function tryLock(fd: number): boolean {
  if (libc.flock(fd, LOCK_EX | LOCK_NB) === 0) return true;
  const errno = lastErrno();
  if (errno === errnoNumbers['EWOULDBLOCK'] || errno === errnoNumbers['EAGAIN']) return false;
  throw systemError('lock a file', errno);
}
