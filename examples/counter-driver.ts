/** Drives the counter in the same process, or behind a socket: counter-driver.ts /tmp/counter.sock */
import { openDevice } from 'vfio';
import { Counter } from './counter.ts';

const [STEP, LIMIT, STATUS, TARGET] = [0x00, 0x08, 0x0c, 0x10];
const [BAR0, CONFIG, COMMAND, MSI] = [0, 7, 0x04, 1];

const device = await openDevice(process.argv[2] ?? new Counter());
await device.writeRegister(CONFIG, COMMAND, 2, 0x6); // memory decode and bus mastering
const memory = await device.dmaMemory(4096);
await device.writeRegister(BAR0, TARGET, 8, memory.iova);
await device.writeRegister(BAR0, LIMIT, 4, 3);

let fired: () => void = () => {};
const reached = new Promise<void>((resolve) => {
  fired = resolve;
});
await device.onInterrupt(MSI, 0, fired);
for (let i = 0; i < 3; i++) await device.writeRegister(BAR0, STEP, 4, 1);
await reached;

const status = await device.readRegister(BAR0, STATUS, 4);
console.log(`status ${status}, count ${new Uint32Array(memory.bytes.buffer, 0, 1)[0]}`);
await device.close();
