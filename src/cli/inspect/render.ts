/**
 * An inspect report for people, in the manner of `lspci -v`: what lspci knows first, in its words, then what
 * only VFIO knows.
 */
import {
  PCI_COMMAND_INTX_DISABLE,
  PCI_COMMAND_IO,
  PCI_COMMAND_MASTER,
  PCI_COMMAND_MEMORY,
} from '../../abi/pci-regs.ts';
import { formatSize, hex } from '../size.ts';
import type { Style } from '../terminal.ts';
import type { Bar, Identity, InspectReport, InterruptReport, RegionReport } from './report.ts';

/** The report as text, with a final newline. */
export function render(report: InspectReport, style: Style): string {
  const lines = [style.strong(headline(report))];
  const { identity } = report;
  if (identity !== null && (identity.subsystemVendorId !== 0 || identity.subsystemId !== 0)) {
    lines.push(`\tSubsystem: ${subsystem(identity)}`);
  }
  if (report.command !== null) lines.push(`\tControl: ${controlBits(report.command)}`);
  if (report.interruptPin > 0) lines.push(`\tInterrupt: pin ${'?ABCD'[report.interruptPin] ?? '?'}`);
  for (const region of report.regions) {
    if (region.bar !== undefined)
      lines.push(`\tRegion ${region.index}: ${barLine(region.bar, region.sizeBytes)}`);
  }
  for (const capability of report.capabilities) {
    const place = capability.offset.toString(16).padStart(capability.extended ? 3 : 2, '0');
    lines.push(`\tCapabilities: [${place}] ${capability.summary}`);
  }
  lines.push(`\tVFIO: ${report.kind}, reset ${report.resettable ? 'works' : 'is not supported'}`);
  for (const region of report.regions) lines.push(...regionLines(region));
  for (const interrupt of report.interrupts) lines.push(interruptLine(interrupt));
  return `${lines.join('\n')}\n`;
}

function headline(report: InspectReport): string {
  const { identity } = report;
  if (identity === null) return `${report.address}: ${report.kind} device`;
  return `${report.address}: ${title(identity)}`;
}

function subsystem(identity: Identity): string {
  const vendor = identity.subsystemVendorName === null ? '' : `${identity.subsystemVendorName} `;
  const numbers = `[${id(identity.subsystemVendorId)}:${id(identity.subsystemId)}]`;
  return `${vendor}${identity.subsystemName ?? 'Device'} ${numbers}`;
}

/** As `lspci -nn`: names with numbers behind them, or the numbers alone where nobody gave a name. */
function title(identity: Identity): string {
  const classId = `[${id(identity.classCode)}]`;
  const deviceClass = identity.className === null ? `Class ${classId}` : `${identity.className} ${classId}`;
  const vendor = identity.vendorName ?? '';
  const device = identity.deviceName ?? 'Device';
  const numbers = `[${id(identity.vendorId)}:${id(identity.deviceId)}]`;
  const revision = identity.revision === 0 ? '' : ` (rev ${identity.revision.toString(16).padStart(2, '0')})`;
  return `${deviceClass}: ${vendor === '' ? '' : `${vendor} `}${device} ${numbers}${revision}`;
}

function controlBits(command: number): string {
  const bit = (name: string, mask: number) => name + ((command & mask) === 0 ? '-' : '+');
  return [
    bit('I/O', PCI_COMMAND_IO),
    bit('Mem', PCI_COMMAND_MEMORY),
    bit('BusMaster', PCI_COMMAND_MASTER),
    bit('DisINTx', PCI_COMMAND_INTX_DISABLE),
  ].join(' ');
}

function barLine(bar: Bar, sizeBytes: number): string {
  const place = bar.address === 0 ? '<unassigned>' : bar.address.toString(16);
  const size = `[size=${formatSize(sizeBytes)}]`;
  if (bar.space === 'io') return `I/O ports at ${place} ${size}`;
  const kind = `${bar.width}-bit, ${bar.prefetchable ? 'prefetchable' : 'non-prefetchable'}`;
  return `Memory at ${place} (${kind}) ${size}`;
}

function regionLines(region: RegionReport): string[] {
  const type = region.type === undefined ? '' : ` type ${hex(region.type.type)}/${region.type.subtype}`;
  const head = `${region.index} ${region.name}`.padEnd(17);
  const size = formatSize(region.sizeBytes).padStart(5);
  const lines = [`\t  region ${head} ${size} at ${hex(region.offset)} ${region.flags.join(' ')}${type}`];
  for (const area of region.areas) {
    const whole = area.offset === 0 && area.size === region.sizeBytes;
    const place = whole ? 'all of it' : `${hex(area.offset)}+${hex(area.size)}`;
    const consent = area.dma === undefined ? 'not told' : area.dma;
    lines.push(`\t    mappable ${place}, peer DMA: ${consent}`);
  }
  return lines;
}

function interruptLine(interrupt: InterruptReport): string {
  const head = `${interrupt.index} ${interrupt.name}`.padEnd(14);
  return `\t  interrupt ${head} ${String(interrupt.count).padStart(5)} ${interrupt.flags.join(' ')}`;
}

function id(value: number): string {
  return value.toString(16).padStart(4, '0');
}
