import { createFakeBackend, type FakeBackend } from './fake.ts';
import { type Opened, stateContract } from './testing/contract.ts';

const opened = (backend: FakeBackend): Opened => {
  const self: Opened = { backend, sent: () => backend.sent.length, reopen: () => self };
  return self;
};

stateContract('fake', () => opened(createFakeBackend()));
