/*
 * DEVICE_FEATURE, migration and unknown commands: refused, and the session goes on.
 */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { concat, u32 } from '../../test/support/bytes.ts';
import { access, message, type RawClient, REPLY } from '../../test/support/raw-client.ts';
import { type Served, serve } from '../../test/support/served-device.ts';
import type { TestDevice } from '../../test/support/test-device.ts';
import { ERRNO } from '../abi/index.ts';

const FEATURE = 16;
const GET = 0x10000;
const SET = 0x20000;
const PROBE = 0x40000;
const MIGRATION = 1;

let served: Served<TestDevice>;
let client: RawClient;

beforeEach(async () => {
  served = await serve();
  client = await served.open();
});
afterEach(() => served.close());

test.each([
  ['a probe for migration', u32(8), u32(MIGRATION | GET | PROBE), /not supported/],
  ['a probe for both methods', u32(8), u32(2 | GET | SET | PROBE), /not supported/],
  ['getting migration', u32(16), u32(MIGRATION | GET), /not supported/],
  ['starting dirty logging', u32(24), u32(6 | SET), /not supported/],
  ['GET and SET', u32(8), u32(MIGRATION | GET | SET), /only with PROBE/],
  ['no method', u32(8), u32(MIGRATION), /need GET or SET/],
  ['a probe of nothing', u32(8), u32(MIGRATION | PROBE), /need GET or SET/],
  ['an unknown flag', u32(8), u32(MIGRATION | GET | 0x80000), /not known/],
  ['argsz too small', u32(7), u32(MIGRATION | GET), /argsz/],
  ['too short', u32(8), new Uint8Array(0), /payload/],
])('DEVICE_FEATURE, %s: EINVAL, and the log says why', async (_name, argsz, flags, why) => {
  expect(await client.errno(FEATURE, concat(argsz, flags))).toBe(ERRNO.EINVAL);
  expect(served.log.at(-1)).toMatch(why);
  expect(await client.errno(9, access(0, 0, 4))).toBe(0);
});

test.each([0, 1, 11, 12, 14, 17, 18, 19, 20, 255, 65535])(
  'command %i is refused with EINVAL',
  async (command) => {
    expect(await client.errno(command, u32(0))).toBe(ERRNO.EINVAL);
    expect(await client.errno(9, access(0, 0, 4))).toBe(0);
  },
);

test('a message that is neither command nor reply is refused with EINVAL', async () => {
  const reply = client.reply(0x77, 9);
  client.send(message(9, 0x77, access(0, 0, 4), 2));
  expect((await reply).errno).toBe(ERRNO.EINVAL);
  expect(await client.errno(9, access(0, 0, 4))).toBe(0);
});

test('a reply that nobody asked for is dropped', async () => {
  client.send(message(11, 3, access(0, 0, 4), REPLY));
  expect(await client.errno(9, access(0, 0, 4))).toBe(0);
  expect(served.log.at(-1)).toMatch(/no request waits for/);
});
