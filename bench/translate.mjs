/*
 * What a translation costs with many mappings standing, at addresses that no cache of the last hit helps. In process,
 * since a vfio-user client may have 65535 mappings at most.
 */
import { Container, Translation } from 'vfio/core';

const PAGE_BYTES = 4096;
const TRANSFER_BYTES = 64;

/** Stands for memory that is always there. */
const source = { kind: 'client', description: 'bench memory', unavailable: () => null, detach: () => {} };

/** ns per translation of 64 bytes at random places of `standing` one-page mappings. */
export function measureTranslate(standing, operations) {
  const container = new Container({ limit: standing });
  for (let i = 0; i < standing; i++) {
    container.map({ iova: i * PAGE_BYTES, size: PAGE_BYTES, read: true, write: true, source });
  }
  const iovas = Float64Array.from(
    { length: 1 << 16 },
    () => Math.floor(Math.random() * standing) * PAGE_BYTES,
  );
  const out = new Translation();
  const loop = (count) => {
    let faults = 0;
    for (let i = 0; i < count; i++) {
      if (container.translate(iovas[i & 0xffff], TRANSFER_BYTES, false, out) !== null) faults++;
    }
    return faults;
  };
  loop(operations / 10);
  const started = process.hrtime.bigint();
  const faults = loop(operations);
  const elapsed = Number(process.hrtime.bigint() - started);
  if (faults > 0) throw new Error(`${faults} translations faulted`);
  container.close();
  return elapsed / operations;
}
