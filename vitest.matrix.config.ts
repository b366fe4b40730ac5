import { defineConfig, type ViteUserConfig } from 'vitest/config';

/** The whole matrix of the explorer. It wants all processors for minutes, so it runs after everything else. */
const config: ViteUserConfig = defineConfig({
  test: {
    include: ['test/matrix/**/*.test.ts'],
    pool: 'forks',
    testTimeout: 1_800_000,
  },
});

export default config;
