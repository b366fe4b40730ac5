import { describe, expect, it } from 'vitest';
import { formatSize, hex, parseSize } from './size.ts';

describe('parseSize', () => {
  it.each([
    ['4096', 4096],
    ['0x1000', 4096],
    ['4K', 4096],
    ['4k', 4096],
    ['4KiB', 4096],
    ['1M', 1048576],
    ['64G', 68719476736],
    ['0', 0],
  ])('reads %s', (text, bytes) => {
    expect(parseSize(text)).toBe(bytes);
  });

  it.each(['', 'G', '4 K', '-1', '1.5G', '64X', '9999999T', '0x'])('refuses %j', (text) => {
    expect(parseSize(text)).toBeNull();
  });
});

describe('formatSize', () => {
  it('uses the largest whole unit', () => {
    expect(formatSize(68719476736)).toBe('64G');
    expect(formatSize(1536)).toBe('1536');
    expect(formatSize(3072)).toBe('3K');
    expect(formatSize(0)).toBe('0');
  });
});

describe('hex', () => {
  it('pads', () => {
    expect(hex(255, 4)).toBe('0x00ff');
    expect(hex(255n)).toBe('0xff');
  });
});
