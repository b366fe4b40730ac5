import { defineConfig, type ViteUserConfig } from 'vitest/config';

/** Tests with a real QEMU and guest kernels; `npm run test:vm` runs them. */
const config: ViteUserConfig = defineConfig({
  test: {
    include: ['test/vm/**/*.test.ts'],
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 180_000,
    hookTimeout: 180_000,
  },
});

export default config;
