/**
 * What drivers need of a PCI function's config space.
 */
import {
  PCI_CAP_ID_MSI,
  PCI_CAP_LIST_ID,
  PCI_CAP_LIST_NEXT,
  PCI_CAPABILITY_LIST,
  PCI_MSI_FLAGS,
  PCI_MSI_FLAGS_ENABLE,
  PCI_STATUS,
  PCI_STATUS_CAP_LIST,
  PCI_STD_HEADER_SIZEOF,
  VFIO_PCI_CONFIG_REGION_INDEX,
} from '../abi/index.ts';
import type { DeviceHandle } from '../client/index.ts';

const CONFIG = VFIO_PCI_CONFIG_REGION_INDEX;

/** As many as fit behind the header; a list that is longer loops. */
const MAX_CAPABILITIES = 48;

/** Offset of the capability `id` in config space, or null. */
export async function findCapability(handle: DeviceHandle, id: number): Promise<number | null> {
  const status = await handle.readRegister(CONFIG, PCI_STATUS, 2);
  if ((status & PCI_STATUS_CAP_LIST) === 0) return null;
  let at = (await handle.readRegister(CONFIG, PCI_CAPABILITY_LIST, 1)) & ~3;
  for (let count = 0; count < MAX_CAPABILITIES && at >= PCI_STD_HEADER_SIZEOF; count++) {
    if ((await handle.readRegister(CONFIG, at + PCI_CAP_LIST_ID, 1)) === id) return at;
    at = (await handle.readRegister(CONFIG, at + PCI_CAP_LIST_NEXT, 1)) & ~3;
  }
  return null;
}

/** Sets the enable bit of the MSI capability, if there is one; kernels do it when vectors are wired. */
export async function setMsiEnable(handle: DeviceHandle, enable: boolean): Promise<void> {
  const at = await findCapability(handle, PCI_CAP_ID_MSI);
  if (at === null) return;
  const flags = await handle.readRegister(CONFIG, at + PCI_MSI_FLAGS, 2);
  const wanted = enable ? flags | PCI_MSI_FLAGS_ENABLE : flags & ~PCI_MSI_FLAGS_ENABLE;
  await handle.writeRegister(CONFIG, at + PCI_MSI_FLAGS, 2, wanted);
}
