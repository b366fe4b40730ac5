/*
 * Sessions as a whole: attach, detach, refuse, come back.
 */
import { afterEach, describe, expect, test } from 'vitest';
import { read, u32 } from '../../test/support/bytes.ts';
import { access, RawClient, version } from '../../test/support/raw-client.ts';
import { type Served, serve } from '../../test/support/served-device.ts';
import type { TestDevice } from '../../test/support/test-device.ts';

let served: Served<TestDevice>;
afterEach(() => served.close());

describe('a session', () => {
  test('reads and writes registers', async () => {
    served = await serve();
    const client = await served.open();
    await client.request(10, access(0, 0x10, 4, u32(0x12345678)));
    const reply = await client.request(9, access(0, 0x10, 4));
    expect(read(reply.body, 16, 4)).toBe(0x12345678);
    expect(served.told).toEqual(['session']);
    client.close();
  });
});
