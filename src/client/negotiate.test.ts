/*
 * VERSION: the bytes we send, and every answer that QEMU's client would refuse.
 */
import { describe, expect, test } from 'vitest';
import { concat, read, text, u16 } from '../../test/support/bytes.ts';
import { infoReply, RawServer, versionReply } from '../../test/support/raw-server.ts';
import { openSys } from '../sys/index.ts';
import { type ClientOffer, encodeVersion, readVersion } from './negotiate.ts';

const OFFER: ClientOffer = {
  minor: 0,
  maxMessageFds: 16,
  maxTransferBytes: 1048576,
  maxDmaMaps: 65535,
  pageSizes: 4096,
  twinSocket: false,
  writeMultiple: true,
  migrationPageSize: null,
};
const WITH_TWIN: ClientOffer = { ...OFFER, minor: 2, twinSocket: true };

function json(value: unknown): string {
  return JSON.stringify({ capabilities: value });
}

describe('our VERSION', () => {
  test('names every capability of the protocol that we have, with a final NUL', () => {
    const payload = encodeVersion({ ...WITH_TWIN, migrationPageSize: 4096 });
    expect([read(payload, 0, 2), read(payload, 2, 2)]).toEqual([0, 2]);
    expect(payload.at(-1)).toBe(0);
    const parsed = JSON.parse(new TextDecoder().decode(payload.subarray(4, -1)));
    expect(parsed).toEqual({
      capabilities: {
        max_msg_fds: 16,
        max_data_xfer_size: 1048576,
        max_dma_maps: 65535,
        pgsizes: 4096,
        write_multiple: true,
        twin_socket: { supported: true },
        migration: { pgsize: 4096 },
      },
    });
  });

  test('leaves out what is not offered', () => {
    const text = new TextDecoder().decode(encodeVersion({ ...OFFER, writeMultiple: false }));
    for (const key of ['write_multiple', 'twin_socket', 'migration']) expect(text).not.toContain(key);
  });

  test('is the first message, major 0 minor 0 without a twin socket', async () => {
    const { device, server } = RawServer.begin();
    const first = await server.next(1);
    expect([first.flags, first.errno]).toEqual([0, 0]);
    expect([...first.body.subarray(0, 4)]).toEqual([0, 0, 0, 0]);
    server.reply(first, versionReply(null));
    server.reply(await server.next(4), infoReply());
    await (await device).close();
    server.close();
  });
});

describe("the server's answer", () => {
  test('without JSON means the defaults of the protocol', () => {
    expect(readVersion(versionReply(null), 0, OFFER)).toEqual({
      minor: 0,
      maxMessageFds: 1,
      maxTransferBytes: 1048576,
      maxDmaMaps: 65535,
      pageSizes: 4096,
      twinFdIndex: null,
      writeMultiple: false,
      migrationPageSize: null,
      unknown: [],
    });
  });

  test('is taken at its word', () => {
    const said = {
      max_msg_fds: 8,
      max_data_xfer_size: 65536,
      max_dma_maps: 100,
      pgsizes: 0x40201000,
      write_multiple: true,
      migration: { pgsize: 8192 },
      shiny: 1,
    };
    expect(readVersion(versionReply(json(said)), 0, OFFER)).toEqual({
      minor: 0,
      maxMessageFds: 8,
      maxTransferBytes: 65536,
      maxDmaMaps: 100,
      pageSizes: 0x40201000,
      twinFdIndex: null,
      writeMultiple: true,
      migrationPageSize: 8192,
      unknown: ['shiny'],
    });
  });

  test('may have a twin socket if we offered one', () => {
    const reply = versionReply(json({ twin_socket: { supported: true, fd_index: 1 } }), 0, 2);
    expect(readVersion(reply, 2, WITH_TWIN).twinFdIndex).toBe(1);
    const refused = versionReply(json({ twin_socket: { supported: false } }), 0, 2);
    expect(readVersion(refused, 0, WITH_TWIN).twinFdIndex).toBeNull();
  });

  const wrong: [string, Uint8Array, number, ClientOffer][] = [
    ['nothing', new Uint8Array(3), 0, OFFER],
    ['another major', versionReply(null, 1, 0), 0, OFFER],
    ['a minor above ours', versionReply(null, 0, 1), 0, OFFER],
    ['JSON without NUL', concat(u16(0), u16(0), text('{"capabilities":{}}')), 0, OFFER],
    ['broken JSON', versionReply('{"capabilities":'), 0, OFFER],
    ['bytes that are no UTF-8', concat(u16(0), u16(0), Uint8Array.of(0x22, 0xff, 0x22, 0)), 0, OFFER],
    ['JSON that is no object', versionReply('[1]'), 0, OFFER],
    ['capabilities that are no object', versionReply('{"capabilities":7}'), 0, OFFER],
    ['JSON of 17 KiB', versionReply(`{"x":"${'y'.repeat(17 << 10)}"}`), 0, OFFER],
    ['max_msg_fds 17', versionReply(json({ max_msg_fds: 17 })), 0, OFFER],
    ['max_msg_fds -1', versionReply(json({ max_msg_fds: -1 })), 0, OFFER],
    ['max_msg_fds "8"', versionReply(json({ max_msg_fds: '8' })), 0, OFFER],
    ['max_data_xfer_size 0', versionReply(json({ max_data_xfer_size: 0 })), 0, OFFER],
    ['64 MiB + 1', versionReply(json({ max_data_xfer_size: 67108865 })), 0, OFFER],
    ['max_dma_maps 65536', versionReply(json({ max_dma_maps: 65536 })), 0, OFFER],
    ['pgsizes 5000', versionReply(json({ pgsizes: 5000 })), 0, OFFER],
    ['write_multiple 1', versionReply(json({ write_multiple: 1 })), 0, OFFER],
    ['migration 1', versionReply(json({ migration: 1 })), 0, OFFER],
    ['a migration page size of 1', versionReply(json({ migration: { pgsize: 1 } })), 0, OFFER],
    ['twin_socket 1', versionReply(json({ twin_socket: 1 }), 0, 2), 1, WITH_TWIN],
    ['a twin not offered', versionReply(json({ twin_socket: { supported: true, fd_index: 0 } })), 1, OFFER],
    ['a twin without index', versionReply(json({ twin_socket: { supported: true } }), 0, 2), 1, WITH_TWIN],
    [
      'a twin without fd',
      versionReply(json({ twin_socket: { supported: true, fd_index: 0 } }), 0, 2),
      0,
      WITH_TWIN,
    ],
  ];
  test.each(wrong)('is refused: %s', (_name, payload, fdCount, offer) => {
    expect(() => readVersion(payload, fdCount, offer)).toThrow(expect.objectContaining({ code: 'EPROTO' }));
  });

  test('that is refused ends the connection, and its fds are closed', async () => {
    const sys = openSys();
    const { device, server } = RawServer.begin();
    const version = await server.next(1);
    const fd = sys.memfdCreate('unwanted');
    server.reply(version, versionReply('{"capabilities":{"max_msg_fds":99}}'), [fd]);
    sys.close(fd);
    await expect(device).rejects.toMatchObject({ code: 'EPROTO' });
    await expect.poll(() => server.ended).toBe(true);
  });

  test('that is an error is explained', async () => {
    const { device, server } = RawServer.begin();
    server.replyError(await server.next(1), 16);
    await expect(device).rejects.toMatchObject({
      code: 'EBUSY',
      message: expect.stringContaining('another client is attached'),
    });
  });

  test.each([
    ['101 regions', infoReply(2, 101, 5)],
    ['51 interrupt indexes', infoReply(2, 9, 51)],
    ['half an answer', infoReply().subarray(0, 8)],
  ])('device info with %s is refused', async (_name, info) => {
    const { device, server } = RawServer.begin();
    server.reply(await server.next(1), versionReply(null));
    server.reply(await server.next(4), info);
    await expect(device).rejects.toMatchObject({ code: 'EPROTO' });
  });
});
