/*
 * PCI Express capability of an endpoint: version 2, a link of one lane at 2.5 GT/s, payloads of 128 bytes. What
 * matters to software is there to be read and written as the specification has it; what it causes is the function
 * level reset.
 */
import {
  PCI_CAP_ID_EXP,
  PCI_EXP_DEVCAP,
  PCI_EXP_DEVCAP_EXT_TAG,
  PCI_EXP_DEVCAP_FLR,
  PCI_EXP_DEVCAP_RBER,
  PCI_EXP_DEVCAP2,
  PCI_EXP_DEVCAP2_COMP_TMOUT_DIS,
  PCI_EXP_DEVCTL,
  PCI_EXP_DEVCTL_BCR_FLR,
  PCI_EXP_DEVCTL_CERE,
  PCI_EXP_DEVCTL_EXT_TAG,
  PCI_EXP_DEVCTL_FERE,
  PCI_EXP_DEVCTL_NFERE,
  PCI_EXP_DEVCTL_NOSNOOP_EN,
  PCI_EXP_DEVCTL_READRQ,
  PCI_EXP_DEVCTL_READRQ_512B,
  PCI_EXP_DEVCTL_RELAX_EN,
  PCI_EXP_DEVCTL_URRE,
  PCI_EXP_DEVCTL2,
  PCI_EXP_DEVCTL2_COMP_TMOUT_DIS,
  PCI_EXP_DEVSTA,
  PCI_EXP_DEVSTA_CED,
  PCI_EXP_DEVSTA_FED,
  PCI_EXP_DEVSTA_NFED,
  PCI_EXP_DEVSTA_URD,
  PCI_EXP_FLAGS,
  PCI_EXP_LNKCAP,
  PCI_EXP_LNKCAP_SLS_2_5GB,
  PCI_EXP_LNKCAP2,
  PCI_EXP_LNKCAP2_SLS_2_5GB,
  PCI_EXP_LNKCTL,
  PCI_EXP_LNKCTL_ASPMC,
  PCI_EXP_LNKCTL_CCC,
  PCI_EXP_LNKCTL_ES,
  PCI_EXP_LNKCTL_RCB,
  PCI_EXP_LNKCTL2,
  PCI_EXP_LNKCTL2_TLS,
  PCI_EXP_LNKCTL2_TLS_2_5GT,
  PCI_EXP_LNKSTA,
  PCI_EXP_LNKSTA_CLS_2_5GB,
  PCI_EXP_LNKSTA_NLW_X1,
  PCI_EXP_TYPE_ENDPOINT,
  PCI_EXP_TYPE_RC_END,
} from '../../abi/index.ts';
import { ConfigImage, type ConfigSpace } from './config-space.ts';
import type { ExpressSpec } from './spec.ts';

/** The whole version 2 structure, slot and root registers (which an endpoint leaves 0) included. */
const EXPRESS_SIZEOF = 0x3c;
const VERSION = 2;
const TYPE_SHIFT = 4;
/** LNKCAP: Maximum Link Width 1, ASPM Optionality Compliance. */
const LNKCAP_WIDTH_1 = 1 << 4;
const LNKCAP_ASPM_OPTIONALITY = 1 << 22;

const ERROR_REPORTING =
  PCI_EXP_DEVCTL_CERE | PCI_EXP_DEVCTL_NFERE | PCI_EXP_DEVCTL_FERE | PCI_EXP_DEVCTL_URRE;
const ERRORS_DETECTED = PCI_EXP_DEVSTA_CED | PCI_EXP_DEVSTA_NFED | PCI_EXP_DEVSTA_FED | PCI_EXP_DEVSTA_URD;

/** DEVCTL after power-on: relaxed ordering and no snoop allowed, read requests of 512 bytes. */
const DEVCTL_POWER_ON = PCI_EXP_DEVCTL_RELAX_EN | PCI_EXP_DEVCTL_NOSNOOP_EN | PCI_EXP_DEVCTL_READRQ_512B;
/** Max_Payload_Size may be hardwired where only 128 bytes are supported, and is. */
const DEVCTL_WRITABLE =
  ERROR_REPORTING |
  PCI_EXP_DEVCTL_RELAX_EN |
  PCI_EXP_DEVCTL_EXT_TAG |
  PCI_EXP_DEVCTL_NOSNOOP_EN |
  PCI_EXP_DEVCTL_READRQ;

export function expressImage(spec: ExpressSpec): ConfigImage {
  const flr = spec.functionLevelReset ?? true;
  const integrated = spec.integrated ?? false;
  const type = integrated ? PCI_EXP_TYPE_RC_END : PCI_EXP_TYPE_ENDPOINT;
  const image = new ConfigImage(EXPRESS_SIZEOF)
    .u8(0, PCI_CAP_ID_EXP)
    .u16(PCI_EXP_FLAGS, VERSION | (type << TYPE_SHIFT))
    .u32(PCI_EXP_DEVCAP, PCI_EXP_DEVCAP_EXT_TAG | PCI_EXP_DEVCAP_RBER | (flr ? PCI_EXP_DEVCAP_FLR : 0))
    .u16(PCI_EXP_DEVCTL, DEVCTL_POWER_ON, DEVCTL_WRITABLE | (flr ? PCI_EXP_DEVCTL_BCR_FLR : 0))
    .u16(PCI_EXP_DEVSTA, 0, 0, ERRORS_DETECTED)
    .u32(PCI_EXP_DEVCAP2, PCI_EXP_DEVCAP2_COMP_TMOUT_DIS)
    .u16(PCI_EXP_DEVCTL2, 0, PCI_EXP_DEVCTL2_COMP_TMOUT_DIS);
  return integrated ? image : withLink(image);
}

function withLink(image: ConfigImage): ConfigImage {
  const control = PCI_EXP_LNKCTL_ASPMC | PCI_EXP_LNKCTL_RCB | PCI_EXP_LNKCTL_CCC | PCI_EXP_LNKCTL_ES;
  return image
    .u32(PCI_EXP_LNKCAP, PCI_EXP_LNKCAP_SLS_2_5GB | LNKCAP_WIDTH_1 | LNKCAP_ASPM_OPTIONALITY)
    .u16(PCI_EXP_LNKCTL, 0, control)
    .u16(PCI_EXP_LNKSTA, PCI_EXP_LNKSTA_CLS_2_5GB | PCI_EXP_LNKSTA_NLW_X1)
    .u32(PCI_EXP_LNKCAP2, PCI_EXP_LNKCAP2_SLS_2_5GB)
    .u16(PCI_EXP_LNKCTL2, PCI_EXP_LNKCTL2_TLS_2_5GT, PCI_EXP_LNKCTL2_TLS);
}

/** Calls `functionLevelReset` when a client writes a 1 to Initiate Function Level Reset, which reads as 0. */
export function watchExpress(config: ConfigSpace, at: number, functionLevelReset: () => void): void {
  const control = at + PCI_EXP_DEVCTL;
  config.onWrite(control, 2, () => {
    const value = config.get16(control);
    if ((value & PCI_EXP_DEVCTL_BCR_FLR) === 0) return;
    config.set16(control, value & ~PCI_EXP_DEVCTL_BCR_FLR);
    functionLevelReset();
  });
}
