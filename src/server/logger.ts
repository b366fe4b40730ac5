/*
 * What the server tells its operator. One function, so that a CLI, a test or a worker's parent can each give
 * their own; the default says nothing, because a library does not print.
 */

/** `error` is a mistake of this process, `warn` one of a client or a guest, `info` a session's coming and going. */
export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

/** @param message one sentence: what happened and to whom */
export type Logger = (level: LogLevel, message: string) => void;

/** The default logger. */
export const silent: Logger = () => {};
