import { describe, expect, it } from 'vitest';
import { PROBE, PROBE_REGISTERS, Probe, type ProbeOptions } from '../../test/support/probe-device.ts';
import {
  PCI_COMMAND,
  PCI_COMMAND_INTX_DISABLE,
  PCI_MSI_FLAGS,
  PCI_MSI_MASK_64,
  PCI_MSIX_FLAGS,
} from '../abi/index.ts';
import { type DeviceUnderTest, type GuestRegisters, type TestDeviceOptions, testDevice } from './index.ts';

const MSI = { type: 'msi', vectors: 4, maskable: true } as const;
const MSIX = { type: 'msix', vectors: 8, bar: 4 } as const;
const ALL: ProbeOptions = { capabilities: [MSI, MSIX] };
const FUNCTION_MASK = 0x4000;

interface Bench extends AsyncDisposable {
  readonly dut: DeviceUnderTest<Probe>;
  readonly regs: GuestRegisters<typeof PROBE_REGISTERS>;
  raise(vector?: number): Promise<void>;
}

async function bench(probe: ProbeOptions, options: TestDeviceOptions): Promise<Bench> {
  const dut = await testDevice(new Probe(probe), options);
  const regs = dut.registers(0, PROBE_REGISTERS);
  return {
    dut,
    regs,
    raise: (vector = 0) => regs.COMMAND.write(PROBE.RAISE | (vector << 8)),
    [Symbol.asyncDispose]: () => dut.close(),
  };
}

/** The message of a wait that fails. */
const failure = (wait: Promise<void>): Promise<string> =>
  wait.then(
    () => 'it came',
    (error: Error) => error.message,
  );

describe.each(['process', 'socket'] as const)('interrupts of a device under test, over %s', (over) => {
  it('chooses as drivers do: MSI-X, MSI, INTx, none', async () => {
    for (const [probe, mechanism] of [
      [ALL, 'msix'],
      [{ capabilities: [MSI] }, 'msi'],
      [{}, 'intx'],
      [{ pin: false }, 'none'],
    ] as const) {
      await using it = await bench(probe, { over });
      expect(it.dut.interruptMechanism).toBe(mechanism);
    }
  });

  it('switches on what it chose, as a kernel does', async () => {
    await using msi = await bench(ALL, { over, interrupts: 'msi' });
    const { config } = msi.dut;
    expect((await config.read(PCI_COMMAND, 2)) & PCI_COMMAND_INTX_DISABLE).toBe(PCI_COMMAND_INTX_DISABLE);
    // Enable, and four vectors given (2 in bits 6:4).
    expect((await config.read(config.capability('msi') + PCI_MSI_FLAGS, 2)) & 0x71).toBe(0x21);
    expect((await config.read(config.capability('msix') + PCI_MSIX_FLAGS, 2)) & 0x8000).toBe(0);
    await using msix = await bench(ALL, { over });
    expect(
      (await msix.dut.config.read(msix.dut.config.capability('msix') + PCI_MSIX_FLAGS, 2)) & 0x8000,
    ).toBe(0x8000);
  });

  it('refuses what the device does not have', async () => {
    await expect(testDevice(new Probe(), { over, interrupts: 'msix' })).rejects.toThrow(
      'probe has no msix; its spec declares intx',
    );
    await expect(testDevice(new Probe(ALL), { over, vectors: 9 })).rejects.toThrow('8 MSI-X vectors, not 9');
    await using none = await bench({ pin: false }, { over });
    await expect(none.dut.interrupt()).rejects.toThrow('the test listens to no interrupts');
  });

  it.each(['msix', 'msi'] as const)('gives each %s to one wait, by vector', async (interrupts) => {
    await using it = await bench(ALL, { over, interrupts });
    await it.raise(3);
    await it.raise(3);
    await it.raise(1);
    await it.dut.interrupt(1);
    await it.dut.interrupt(3);
    await it.dut.interrupt(3);
    const next = it.dut.interrupt(2);
    await it.raise(2);
    await next;
    expect(it.dut.interrupts).toBe(4);
    expect(it.dut.interruptsOn(3)).toBe(2);
  });

  it('counts what nobody waits for', async () => {
    await using it = await bench(ALL, { over });
    await it.dut.settle();
    expect(it.dut.interrupts).toBe(0);
    await it.raise();
    await it.dut.settle();
    expect(it.dut.interrupts).toBe(1);
  });

  it('counts two that arrive as one', async () => {
    await using it = await bench(ALL, { over });
    await it.regs.COMMAND.write(PROBE.TWICE);
    await it.dut.interrupt();
    await it.dut.interrupt();
    expect(it.dut.interrupts).toBe(2);
  });

  it('INTx is a level: it comes again until it was served', async () => {
    await using it = await bench(ALL, { over, interrupts: 'intx' });
    await it.raise();
    await it.dut.interrupt();
    await it.dut.settle();
    expect(it.dut.interrupts).toBe(1);
    expect(await it.dut.config.intxAsserted()).toBe(true);
    await it.dut.interrupt();
    await it.regs.COMMAND.write(PROBE.LOWER);
    expect(await it.dut.config.intxAsserted()).toBe(false);
    await it.dut.endOfInterrupt();
    await it.dut.settle();
    expect(it.dut.interrupts).toBe(2);
    await it.raise();
    await it.dut.interrupt();
    expect(it.dut.interrupts).toBe(3);
  });

  it('wires MSI-X vectors up to the option; others wait', async () => {
    await using it = await bench(ALL, { over, vectors: 2 });
    await it.raise(1);
    await it.dut.interrupt(1);
    await expect(it.dut.interrupt(2)).rejects.toThrow('listens to 2 msix vector(s)');
  });

  describe('a wait that ends without says why', () => {
    const options = { over, timeoutMs: 30 } as const;

    it('the device raised none', async () => {
      await using it = await bench(ALL, options);
      expect(await failure(it.dut.interrupt())).toBe(
        'no interrupt on MSI-X vector 0 of probe within 30 ms: the device raised none; does it call raiseInterrupt?',
      );
      await it.raise();
      await it.dut.interrupt();
    });

    it('others came', async () => {
      await using it = await bench(ALL, options);
      await it.raise(0);
      await it.raise(5);
      await it.dut.interrupt();
      const said = await failure(it.dut.interrupt());
      expect(said).toContain('1 came before, each waited for already');
      expect(said).toContain('vector 5 had 1');
    });

    it('MSI-X: the function mask is set, and then it comes', async () => {
      await using it = await bench(ALL, options);
      const flags = it.dut.config.capability('msix') + PCI_MSIX_FLAGS;
      await it.dut.config.change(flags, FUNCTION_MASK, 0);
      await it.raise(2);
      expect(await failure(it.dut.interrupt(2))).toContain(
        'it is pending: the function mask of MSI-X is set',
      );
      await it.dut.config.change(flags, 0, FUNCTION_MASK);
      await it.dut.interrupt(2);
    });

    it('MSI-X: its table entry is masked', async () => {
      await using it = await bench(ALL, options);
      await it.dut.handle.writeRegister(4, 2 * 16 + 12, 4, 1);
      await it.raise(2);
      expect(await failure(it.dut.interrupt(2))).toContain('it is pending: its MSI-X table entry is masked');
    });

    it('MSI: its bit in the mask is set', async () => {
      await using it = await bench(ALL, { ...options, interrupts: 'msi' });
      const mask = it.dut.config.capability('msi') + PCI_MSI_MASK_64;
      await it.dut.config.write(mask, 4, 1 << 3);
      await it.raise(3);
      expect(await failure(it.dut.interrupt(3))).toContain('it is pending: its bit in the MSI mask is set');
      await it.dut.config.write(mask, 4, 0);
      await it.dut.interrupt(3);
    });

    it('INTx is disabled', async () => {
      await using it = await bench({}, options);
      await it.dut.config.change(PCI_COMMAND, PCI_COMMAND_INTX_DISABLE, 0);
      await it.raise();
      expect(await failure(it.dut.interrupt())).toContain('asserts INTx, but COMMAND.INTX_DISABLE is set');
    });

    it('INTx is masked', async () => {
      await using it = await bench({}, options);
      await it.dut.handle.setIrqs({ index: 0, action: 'mask', data: 'none', start: 0, count: 1 });
      await it.raise();
      expect(await failure(it.dut.interrupt())).toContain('asserts INTx, which is masked');
    });

    it('the device uses INTx, as messages were switched off', async () => {
      await using it = await bench(ALL, { ...options, interrupts: 'msi' });
      await it.dut.handle.setIrqs({ index: 1, action: 'trigger', data: 'none' });
      await it.dut.config.change(it.dut.config.capability('msi') + PCI_MSI_FLAGS, 0, 1);
      await it.raise();
      expect(await failure(it.dut.interrupt())).toContain('the device asserts INTx instead');
    });

    it('bus master is off, and the last DMA faulted for it', async () => {
      await using it = await bench(ALL, { ...options, busMaster: false });
      await it.regs.ADDRESS.write(0x10_0000);
      await it.regs.COMMAND.write(PROBE.READ);
      const said = await failure(it.dut.interrupt());
      expect(said).toContain('bus master is off');
      expect(said).toContain('its last DMA, a read of 16 bytes at 0x100000, faulted: bus master is off');
    });

    it('memory decode is off', async () => {
      await using it = await bench(ALL, options);
      await it.dut.config.memoryDecode(false);
      expect(await failure(it.dut.interrupt())).toContain('memory decode is off');
    });
  });

  it('ends waits when it is closed', async () => {
    const { dut } = await bench(ALL, { over });
    const waiting = failure(dut.interrupt());
    await dut.close();
    expect(await waiting).toContain('was closed');
  });

  it('limits the waits of one vector', async () => {
    const { dut } = await bench(ALL, { over });
    const waits = Array.from({ length: 65 }, () => failure(dut.interrupt()));
    expect(await waits[64]).toContain('64 waits for vector 0 are open');
    await dut.close();
    await Promise.all(waits);
  });
});
