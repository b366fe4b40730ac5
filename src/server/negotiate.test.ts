/*
 * VERSION against the protocol's table of capabilities, and what QEMU and libvfio-user clients really send.
 */
import { describe, expect, test } from 'vitest';
import { concat, hex, text, u16 } from '../../test/support/bytes.ts';
import { version } from '../../test/support/raw-client.ts';
import { encodeVersion, negotiate, parseVersion, type ServerLimits } from './negotiate.ts';

const LIMITS: ServerLimits = { maxMessageFds: 16, maxTransferBytes: 1048576, maxDmaMaps: 65535 };

function agree(json: string | null, options: { limits?: ServerLimits; major?: number; minor?: number } = {}) {
  const { limits = LIMITS, major = 0, minor = 1 } = options;
  return negotiate(parseVersion(version(json, major, minor)), limits);
}

const caps = (text: string): string => `{"capabilities":{${text}}}`;

describe('VERSION', () => {
  test("QEMU's offer: each of its keys but migration comes back", () => {
    // As QEMU 11.1 sends it.
    const { negotiated, capabilities } = agree(
      '{"capabilities": {"pgsizes": 4096, "max_msg_fds": 16, "max_dma_maps": 65535, "max_data_xfer_size": 1048576, ' +
        '"migration": {"max_bitmap_size": 268435456, "pgsize": 4096}, "write_multiple": true}}',
      { minor: 0 },
    );
    expect(capabilities).toEqual({
      max_msg_fds: 16,
      max_data_xfer_size: 1048576,
      max_dma_maps: 65535,
      pgsizes: 4096,
      write_multiple: true,
    });
    expect(negotiated).toEqual({
      minor: 0,
      clientMessageFds: 16,
      clientTransferBytes: 1048576,
      maxDmaMaps: 65535,
      pageSizes: 4096,
      twinSocket: false,
      writeMultiple: true,
    });
  });

  test('without JSON the defaults of the protocol hold and the reply has none either', () => {
    const { negotiated, capabilities } = agree(null);
    expect(capabilities).toBeNull();
    expect(negotiated).toMatchObject({
      clientMessageFds: 1,
      clientTransferBytes: 1048576,
      maxDmaMaps: 65535,
      pageSizes: 4096,
      twinSocket: false,
      writeMultiple: false,
    });
  });

  test('a limit below the default is told to a client that did not ask, others are not', () => {
    const limits: ServerLimits = { maxMessageFds: 16, maxTransferBytes: 4096, maxDmaMaps: 10 };
    expect(agree(null, { limits }).capabilities).toEqual({ max_data_xfer_size: 4096, max_dma_maps: 10 });
    expect(agree('{}').capabilities).toEqual({});
  });

  test('the smaller number of DMA maps wins', () => {
    expect(agree(caps('"max_dma_maps":7')).negotiated.maxDmaMaps).toBe(7);
    expect(agree(caps('"max_dma_maps":100000')).capabilities).toEqual({ max_dma_maps: 65535 });
  });

  test('page sizes are those that both know', () => {
    const twoSizes = agree(caps(`"pgsizes":${4096 + 2 ** 21 + 2 ** 40}`));
    expect(twoSizes.capabilities).toEqual({ pgsizes: 4096 + 2 ** 21 });
    expect(() => agree(caps('"pgsizes":65536'))).toThrow(/pgsizes/);
  });

  test('minor: the smaller of the two; twin socket: only for who can take an fd', () => {
    expect(agree('{}', { minor: 9 }).negotiated.minor).toBe(2);
    expect(agree('{}', { minor: 0 }).negotiated.minor).toBe(0);
    const twin = agree(caps('"twin_socket":{"supported":true}'));
    expect(twin.capabilities).toEqual({ twin_socket: { supported: true, fd_index: 0 } });
    expect(agree(caps('"twin_socket":{"supported":false}')).capabilities).toEqual({});
    const without = agree(caps('"twin_socket":{"supported":true},"max_msg_fds":0'));
    expect(without.negotiated.twinSocket).toBe(false);
    expect(without.capabilities).toEqual({ max_msg_fds: 16 });
  });

  test('unknown keys are ignored', () => {
    expect(agree(caps('"shiny":{"a":[1]}')).capabilities).toEqual({});
    expect(agree('{"capabilities":{},"more":1}').capabilities).toEqual({});
  });

  test.each([
    ['another major', () => agree('{}', { major: 1 })],
    ['no version', () => parseVersion(u16(0))],
    ['JSON without NUL', () => parseVersion(concat(u16(0), u16(1), text('{}')))],
    ['broken JSON', () => agree('{"capabilities":')],
    ['JSON that is no object', () => agree('[]')],
    ['JSON null', () => agree('null')],
    ['capabilities that are no object', () => agree('{"capabilities":[]}')],
    ['invalid UTF-8', () => parseVersion(concat(u16(0), u16(1), Uint8Array.of(0x22, 0xff, 0x22, 0)))],
    ['a NUL in the middle', () => parseVersion(concat(u16(0), u16(1), text('{}\0{}\0')))],
    ['too much JSON', () => agree(`{"a":"${'x'.repeat(20000)}"}`)],
    ['deeply nested JSON', () => agree('['.repeat(16000))],
    ['max_data_xfer_size 0', () => agree(caps('"max_data_xfer_size":0'))],
    ['a negative max_data_xfer_size', () => agree(caps('"max_data_xfer_size":-1'))],
    ['a fraction', () => agree(caps('"max_msg_fds":1.5'))],
    ['a number as text', () => agree(caps('"max_msg_fds":"8"'))],
    ['max_dma_maps 0', () => agree(caps('"max_dma_maps":0'))],
    ['pgsizes that is no number', () => agree(caps('"pgsizes":[4096]'))],
    ['write_multiple that is no boolean', () => agree(caps('"write_multiple":1'))],
    ['twin_socket that is no object', () => agree(caps('"twin_socket":true'))],
    ['twin_socket.supported that is no boolean', () => agree(caps('"twin_socket":{"supported":"yes"}'))],
  ])('refused with EINVAL: %s', (_name, attempt) => {
    expect(attempt).toThrow(expect.objectContaining({ code: 'EINVAL' }));
  });

  test('the reply on the wire: major, minor, JSON and a NUL', () => {
    expect(hex(encodeVersion(agree(null, { minor: 1 })))).toBe('00 00 01 00');
    const payload = encodeVersion(agree('{}'));
    expect(new TextDecoder().decode(payload.subarray(4))).toBe('{"capabilities":{}}\0');
  });
});
