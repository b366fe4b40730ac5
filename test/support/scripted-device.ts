/*
 * A device whose registers do what a test says: one function a register, four bytes each.
 */
import {
  type AccessResult,
  type MaybePromise,
  type RegionHandler,
  VfioDevice,
} from '../../src/core/index.ts';

/** Takes what was written, or null for a read; answers what is read. A write's answer is not used. */
export type Script = (value: number | null) => MaybePromise<number>;

/** Region 0: 4 KiB of scripted registers; those without a script hold what was written. */
export class ScriptedDevice extends VfioDevice implements RegionHandler {
  readonly scripts: Map<number, Script> = new Map();
  /** What registers without a script hold. */
  readonly values: Map<number, number> = new Map();
  /** Whatever a test wants to keep in order. */
  readonly did: string[] = [];
  onReset: () => MaybePromise<void> = () => {};

  constructor(name = 'scripted') {
    super({ name, kind: 'pci', resettable: true, regions: [{ index: 0, sizeBytes: 0x1000 }], irqs: [] });
    this.region(0).handler = this;
  }

  read(offset: number, _count: number, view: DataView, at: number): AccessResult {
    const script = this.scripts.get(offset);
    const value = script === undefined ? (this.values.get(offset) ?? 0) : script(null);
    const answer = (result: number): number => {
      view.setUint32(at, result, true);
      return 0;
    };
    return value instanceof Promise ? value.then(answer) : answer(value);
  }

  write(offset: number, _count: number, view: DataView, at: number): AccessResult {
    const script = this.scripts.get(offset);
    if (script === undefined) {
      this.values.set(offset, view.getUint32(at, true));
      return 0;
    }
    const result = script(view.getUint32(at, true));
    return result instanceof Promise ? result.then(() => 0) : 0;
  }

  protected override resetState(): MaybePromise<void> {
    this.did.push('reset');
    return this.onReset();
  }
}
