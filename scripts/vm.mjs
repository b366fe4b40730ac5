/*
 * The cache with QEMU and guest kernels, for the scripts that run tests with it. Call after setUp(): it is compiled.
 */
export const VM_CONFIG = ['--config', 'vitest.vm.config.ts'];

const room = (file) => import(new URL(`../dist/qemu/${file}.js`, import.meta.url));

/** Whether everything that test/vm needs is there. */
export async function isSetUp() {
  const { findCache, KERNEL_SERIES } = await room('cache-folder');
  const cache = findCache();
  return cache !== null && KERNEL_SERIES.every((series) => cache.kernels.has(series));
}

/** Fetches what is missing. */
export async function setUpVm() {
  const { KERNEL_SERIES } = await room('cache-folder');
  const { setUpCache } = await room('set-up');
  await setUpCache({ kernels: KERNEL_SERIES, log: (line) => process.stderr.write(`vm: ${line}\n`) });
}
