/**
 * A mistake on the command line: the command did nothing and ends with EXIT_USAGE.
 */

export class UsageError extends Error {
  override readonly name: string = 'UsageError';
  /** What to do about it, one sentence. */
  readonly nextStep: string;

  constructor(cause: string, nextStep: string) {
    super(cause);
    this.nextStep = nextStep;
  }
}
