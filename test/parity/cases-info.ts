/*
 * What a device says about itself: records dev, region, irq, and 2.* with the sizes and indexes that make no sense.
 */
import * as abi from '../../src/abi/index.ts';
import { concat, read, u32 } from '../support/bytes.ts';
import { DEVICES, PROBED_ADDRESS } from './devices.ts';
import { errno, hex, type Probe, type Step } from './probe.ts';
import type { DeviceName } from './world.ts';

function describe(device: DeviceName): Step[] {
  const address = PROBED_ADDRESS[device];
  const steps: Step[] = [
    {
      id: `dev ${address}`,
      async ask({ world }) {
        const { flags, regionCount, irqCount } = await world.deviceInfo(device);
        const ids = read(await world.read(device, 7, 0, 4), 0, 4);
        const vid = ids.toString(16).padStart(8, '0');
        return `flags=${hex(flags)} num_regions=${regionCount} num_irqs=${irqCount} vid=${vid}`;
      },
    },
  ];
  for (let index = 0; index < 9; index++) {
    steps.push({ id: `region ${address}[${index}]`, ask: (probe) => regionLine(probe, device, index) });
  }
  for (let index = 0; index < 6; index++) {
    steps.push({ id: `irq ${address}[${index}]`, ask: (probe) => irqLine(probe, device, index) });
  }
  return steps;
}

async function regionLine({ world }: Probe, device: DeviceName, index: number): Promise<string> {
  let info = { flags: 0, sizeBytes: 0, offset: 0, sparse: [] } as Awaited<
    ReturnType<typeof world.regionInfo>
  >;
  const code = await errno(async () => {
    info = await world.regionInfo(device, index);
  });
  const areas = info.sparse.map(({ offset, size }) => `[${offset.toString(16)}+${size.toString(16)}]`);
  const sparse = areas.length === 0 ? '' : ` cap${abi.VFIO_REGION_INFO_CAP_SPARSE_MMAP}.v1${areas.join('')}`;
  const said = code === null ? '0' : `-1 ${code}`;
  return `rc=${said} flags=${hex(info.flags)} size=${hex(info.sizeBytes)} offset=${hex(info.offset)}${sparse}`;
}

async function irqLine({ world }: Probe, device: DeviceName, index: number): Promise<string> {
  let info = { flags: 0, count: 0 };
  const code = await errno(async () => {
    info = await world.irqInfo(device, index);
  });
  return `rc=${code === null ? '0' : `-1 ${code}`} flags=${hex(info.flags)} count=${info.count}`;
}

/** A message whose first field is argsz, and what of its reply the record shows. */
function argsz(id: string, command: number, fields: readonly number[], show: boolean): Step {
  return {
    id,
    async ask({ world }) {
      const { errno: code, body } = await world.message(command, concat(...fields.map(u32)), false);
      if (code !== null) return `-1 ${code}`;
      return show ? `0 argsz=${read(body, 0, 4)}` : '0';
    },
  };
}

const GET_INFO = abi.VFIO_USER_DEVICE_GET_INFO;
const GET_REGION_INFO = abi.VFIO_USER_DEVICE_GET_REGION_INFO;
const NO_COMMAND = 200;

export const INFO_STEPS: readonly Step[] = [
  ...DEVICES.flatMap(describe),
  argsz('2.dev_info-argsz8', GET_INFO, [8, 0, 0, 0], true),
  argsz('2.dev_info-argsz16', GET_INFO, [16, 0, 0, 0], true),
  argsz('2.dev_info-argsz1000', GET_INFO, [1000, 0, 0, 0], true),
  {
    id: '2.region_info-index9',
    ask: async ({ world }) => `-1 ${await errno(() => world.regionInfo('edu', 9))}`,
  },
  {
    id: '2.region_info-index-max',
    ask: async ({ world }) => `-1 ${await errno(() => world.regionInfo('edu', 0xffff_ffff))}`,
  },
  argsz('2.region_info-argsz16', GET_REGION_INFO, [16, 0, 0, 0, 0, 0, 0, 0], false),
  {
    id: '2.irq_info-index5',
    ask: async ({ world }) => `-1 ${await errno(() => world.irqInfo('edu', 5))}`,
  },
  argsz('2.dev-unknown-ioctl', NO_COMMAND, [8, 0], false),
  {
    id: '2.iommu_cap id=3',
    ask: async ({ world }) => `v1 avail=${(await world.container()).available}`,
  },
  {
    id: '2.iommu_cap id=1',
    async ask({ world }) {
      const { ranges } = await world.container();
      return `v1 ${ranges.map(([first, last]) => `[${first.toString(16)}..${last.toString(16)}]`).join('')}`;
    },
  },
];
