/*
 * Timers of the runtime itself, taken before a test can put fake ones in their place: those would stop what the test
 * waits for. Fake timers are for the device.
 */
export const realSetTimeout: typeof setTimeout = setTimeout;
export const realClearTimeout: typeof clearTimeout = clearTimeout;
export const realSetImmediate: typeof setImmediate = setImmediate;
export const realNow: () => number = performance.now.bind(performance);
