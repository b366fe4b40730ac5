/**
 * What no check can see from here, for it goes wrong inside QEMU. docs/qemu.md says more about each.
 */

export interface Advice {
  readonly sign: string;
  readonly cause: string;
  readonly nextStep: string;
}

export const ADVICE: readonly Advice[] = [
  {
    sign: 'DMA succeeds, but the guest sees other bytes',
    cause: 'its memory is in a file with share=off: QEMU sends the descriptor all the same',
    nextStep: 'Write share=on, or let vfio qemu do it.',
  },
  {
    sign: 'DMA is slow, and every transfer is a message',
    cause: '-m without a memory-backend is private memory without a file',
    nextStep: 'Add -object memory-backend-memfd,id=mem,size=SIZE,share=on -machine memory-backend=mem.',
  },
  {
    sign: 'mapped BARs turn into messages at the first interrupt, and peers lose them',
    cause: 'QEMU takes the mappings of a device away at its first INTx under TCG, for good',
    nextStep: 'Give the device MSI or MSI-X.',
  },
  {
    sign: 'device_del ends QEMU with an assertion',
    cause: 'QEMU 11.1.3 does so for every device with MSI-X',
    nextStep: 'Unplug only devices without MSI-X, or end the guest first.',
  },
  {
    sign: 'the guest reads all ones after a pause of the server',
    cause: 'QEMU waits 5 s for a reply, and a later one is fatal to the connection',
    nextStep:
      'Answer register accesses at once. To sit in a debugger, raise the x-msg-timeout (ms) of -device.',
  },
];
