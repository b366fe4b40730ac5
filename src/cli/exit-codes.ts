/**
 * The exit codes of every command. Scripts depend on them, so they are few and they never change.
 */

/** The command did what was asked and found nothing wrong. */
export const EXIT_OK = 0;
/** The command ran and has bad news: a failed step, a finding, a peer that is not there. */
export const EXIT_FAILURE = 1;
/** The command line itself is wrong; nothing was done. */
export const EXIT_USAGE = 2;
