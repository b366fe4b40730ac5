import { describe, expect, it } from 'vitest';
import { styleFor } from '../terminal.ts';
import { jsonTeller, qemuOption, type ServeEvent, textTeller } from './events.ts';

const READY: ServeEvent = {
  event: 'ready',
  device: 'edu',
  kind: 'pci',
  socket: '/run/edu.sock',
  qemu: qemuOption('/run/edu.sock'),
  pty: null,
  ptyLink: null,
  pid: 1,
};

function lines(tell: (written: string[]) => void): string {
  const written: string[] = [];
  tell(written);
  return written.join('');
}

describe('qemuOption', () => {
  it("is QEMU's option for a vfio-user device", () => {
    expect(qemuOption('/run/edu.sock')).toBe(
      `-device '{"driver":"vfio-user-pci","socket":{"path":"/run/edu.sock","type":"unix"}}'`,
    );
  });

  it('stays one shell word whatever the path is', () => {
    expect(qemuOption("/run/it's.sock")).toContain(`it'\\''s.sock`);
  });
});

describe('tellers', () => {
  it('write one JSON object a line', () => {
    const text = lines((written) => {
      const tell = jsonTeller({ write: (line) => written.push(line) });
      tell(READY);
      tell({ event: 'stopped', device: 'edu' });
    });
    expect(
      text
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line).event),
    ).toEqual(['ready', 'stopped']);
  });

  it('tell people the socket, the QEMU option and the reason of a fault', () => {
    const text = lines((written) => {
      const output = { write: (line: string) => written.push(line) };
      const tell = textTeller(output, styleFor(output, {}));
      tell(READY);
      tell({ event: 'dma-fault', device: 'edu', iova: 0x1000, reason: 'memory decode is off' });
    });
    expect(text).toContain('edu: ready on /run/edu.sock\n');
    expect(text).toContain('-device \'{"driver":"vfio-user-pci"');
    expect(text).toContain('DMA fault at 0x1000: memory decode is off');
  });

  it('offer QEMU no device that it would refuse', () => {
    const text = lines((written) => {
      const output = { write: (line: string) => written.push(line) };
      textTeller(output, styleFor(output, {}))({ ...READY, kind: 'platform', qemu: null });
    });
    expect(text).toContain('edu: ready on /run/edu.sock\n  platform device');
    expect(text).not.toContain('vfio-user-pci');
  });
});
