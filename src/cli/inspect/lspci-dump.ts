/**
 * Config space in the text format that `lspci -x` prints and `lspci -F` reads, so that the tool that people
 * trust can decode it.
 */

/** Bytes a line. */
const LINE_BYTES = 16;

/** @param config 256 or 4096 bytes */
export function lspciDump(config: Uint8Array): string {
  const classCode = word(config, 0x0a);
  const vendor = word(config, 0x00);
  const device = word(config, 0x02);
  // A function outside of any bus has no address; lspci needs one.
  const lines = [`00:00.0 ${classCode}: ${vendor}:${device}`];
  for (let offset = 0; offset < config.length; offset += LINE_BYTES) {
    const bytes = [...config.subarray(offset, offset + LINE_BYTES)].map((byte) =>
      byte.toString(16).padStart(2, '0'),
    );
    lines.push(`${offset.toString(16).padStart(2, '0')}: ${bytes.join(' ')}`);
  }
  return `${lines.join('\n')}\n`;
}

function word(config: Uint8Array, at: number): string {
  const value = (config[at] ?? 0xff) | ((config[at + 1] ?? 0xff) << 8);
  return value.toString(16).padStart(4, '0');
}
