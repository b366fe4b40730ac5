/*
 * The device is closed, and opened again, while a peer may still reach it by DMA: the program `release` of
 * src/explore/programs.ts.
 */
#include "host.pml"

inline unmapWindow() {
  lock(mmapLock);
  pte = false;
  atomic { vma = false; mmapLock = false };
  lockMemory();
  opens--;
  memoryWriter = false
}

inline close() {
  lockMemory();
  opens--;
  assert(opens == 0);
#ifdef HEARS_RELEASE
  lock(containerLock);
  cutOff();
  dropReference();
#ifndef HEARS_SUSPEND
  /* Who hears of nothing but the release forgets the mapping; UNMAP_DMA finds none then. */
  mapped = false;
#endif
  containerLock = false;
#endif
  atomic {
    live = false; decode = false; allowed = false;
    content = CLEARED; expected = CLEARED;
    R5(!pte);
    R6(UNREACHED)
  };
  memoryWriter = false
}

inline openAgain() {
  lockMemory();
  d_step { opens = 1; life++; live = true; decode = true; allowed = true };
  memoryWriter = false
}

inline unmapDma() {
  lock(containerLock);
  if
  :: mapped ->
    cutOff();
    dropReference();
    atomic { R6(UNREACHED); mapped = false }
  :: else
  fi;
  containerLock = false
}

proctype vmm() {
  unmapWindow();
  close();
  openAgain();
  unmapDma()
}

proctype nic() {
  bool found;
  dma(false, 0);
  dma(true, BY_DMA)
}

init {
  atomic { setUp(); run vmm(); run nic() };
  checkTheEnd()
}
