/*
 * PCI Power Management capability: the function's power state, D0 or D3hot, in PMCSR. D1 and D2 are not implemented;
 * as the specification asks, a write of an unimplemented state completes and changes nothing.
 */
import {
  PCI_CAP_ID_PM,
  PCI_PM_CAP_PME_D0,
  PCI_PM_CAP_PME_D3hot,
  PCI_PM_CTRL,
  PCI_PM_CTRL_NO_SOFT_RESET,
  PCI_PM_CTRL_PME_ENABLE,
  PCI_PM_CTRL_PME_STATUS,
  PCI_PM_CTRL_STATE_MASK,
  PCI_PM_PMC,
  PCI_PM_SIZEOF,
} from '../../abi/index.ts';
import { ConfigImage, type ConfigSpace } from './config-space.ts';
import type { PowerManagementSpec } from './spec.ts';

/** PMC's version field: revision 1.2 of the specification. */
const PM_VERSION = 3;
const D0 = 0;
const D3HOT = 3;

export function powerManagementImage(spec: PowerManagementSpec): ConfigImage {
  const pme = spec.pme ?? false;
  const noSoftReset = spec.noSoftReset ?? true;
  return new ConfigImage(PCI_PM_SIZEOF)
    .u8(0, PCI_CAP_ID_PM)
    .u16(PCI_PM_PMC, PM_VERSION | (pme ? PCI_PM_CAP_PME_D0 | PCI_PM_CAP_PME_D3hot : 0))
    .u16(
      PCI_PM_CTRL,
      noSoftReset ? PCI_PM_CTRL_NO_SOFT_RESET : 0,
      PCI_PM_CTRL_STATE_MASK | (pme ? PCI_PM_CTRL_PME_ENABLE : 0),
      pme ? PCI_PM_CTRL_PME_STATUS : 0,
    );
}

/** The power state as the rest of the function sees it. */
export class PowerManagement {
  readonly #config: ConfigSpace;
  readonly #pmcsr: number;
  readonly #changed: (softReset: boolean) => void;
  #state = D0;

  /** @param changed called after the state changed; `softReset` when the function lost its state by leaving D3hot */
  constructor(config: ConfigSpace, at: number, changed: (softReset: boolean) => void) {
    this.#config = config;
    this.#pmcsr = at + PCI_PM_CTRL;
    this.#changed = changed;
    config.onWrite(this.#pmcsr, 2, () => this.#written());
  }

  get inD3hot(): boolean {
    return this.#state === D3HOT;
  }

  /** Back to D0 as a client's write would, for a client that finds the function asleep. */
  wake(): void {
    this.#setField(D0);
    this.#written();
  }

  /** After a reset: a function comes up in D0, without the effects of leaving D3hot. */
  reset(): void {
    this.#setField(D0);
    this.#state = D0;
  }

  /** After the register was given the state of another instance of the function: no effects of getting there. */
  follow(): void {
    this.#state = this.#config.get16(this.#pmcsr) & PCI_PM_CTRL_STATE_MASK;
  }

  #written(): void {
    const asked = this.#config.get16(this.#pmcsr) & PCI_PM_CTRL_STATE_MASK;
    if (asked !== D0 && asked !== D3HOT) {
      this.#setField(this.#state);
      return;
    }
    if (asked === this.#state) return;
    this.#state = asked;
    const keeps = (this.#config.get16(this.#pmcsr) & PCI_PM_CTRL_NO_SOFT_RESET) !== 0;
    this.#changed(asked === D0 && !keeps);
  }

  #setField(state: number): void {
    const others = this.#config.get16(this.#pmcsr) & ~PCI_PM_CTRL_STATE_MASK;
    this.#config.set16(this.#pmcsr, others | state);
  }
}
