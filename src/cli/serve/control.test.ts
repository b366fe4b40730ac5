import { beforeEach, describe, expect, it } from 'vitest';
import { attachPlainMemory, VfioDevice } from '../../core/index.ts';
import { control, type Devices } from './control.ts';

class Resettable extends VfioDevice {
  resets = 0;
  protected override resetState(): void {
    this.resets += 1;
  }
}

function makeDevice(resettable: boolean): Resettable {
  const areas = [{ offset: 0, size: 4096, dma: 'deny' as const }];
  const device = new Resettable({
    name: 'card',
    kind: 'pci',
    resettable,
    regions: [{ index: 2, sizeBytes: 4096, areas }],
    irqs: [],
  });
  attachPlainMemory(device);
  return device;
}

describe('control', () => {
  let card: Resettable;
  let devices: Devices;

  beforeEach(() => {
    card = makeDevice(true);
    devices = new Map<string, VfioDevice>([
      ['card', card],
      ['other', makeDevice(false)],
    ]);
  });

  it('lists devices and says which are released', async () => {
    await control(devices, 'release other');
    expect(await control(devices, 'list')).toEqual({ ok: true, message: 'card, other (released)' });
  });

  it('releases a device', async () => {
    expect((await control(devices, '  release   card ')).ok).toBe(true);
    expect(card.released).toBe(true);
  });

  it('resets a device, and says why it cannot', async () => {
    expect((await control(devices, 'reset card')).ok).toBe(true);
    expect(card.resets).toBe(1);
    const answer = await control(devices, 'reset other');
    expect(answer.ok).toBe(false);
    expect(answer.message).toContain('cannot be reset');
  });

  it('announces and withdraws memory (R3)', async () => {
    expect(card.region(2).consent(0, 4096)).toBe('deny');
    expect((await control(devices, 'consent card 2 0 allow')).ok).toBe(true);
    expect(card.region(2).consent(0, 4096)).toBe('allow');
    await control(devices, 'consent card 2 0 deny');
    expect(card.region(2).consent(0, 4096)).toBe('deny');
  });

  it.each([
    '',
    'explode card',
    'constructor',
    'release',
    'release nobody',
    'consent card 2 0 maybe',
    'consent card 2 7 allow',
    'consent card 5 0 allow',
    'consent card x y allow',
    `release ${'x'.repeat(5000)}`,
  ])('answers %j with a reason and does nothing', async (line) => {
    const answer = await control(devices, line);
    expect(answer.ok).toBe(false);
    expect(answer.message).not.toBe('');
    expect(card.released).toBe(false);
  });
});
