/*
 * Memory decode goes off and on again under a CPU and a DMA engine: the program `decode` of src/explore/programs.ts.
 * -DROUNDS=n does all of it n times.
 */
#include "host.pml"

#ifndef ROUNDS
#define ROUNDS 1
#endif

proctype guest() {
  bool found;
  byte round;
  for (round : 1 .. ROUNDS) {
    cpuAccess(true, BY_CPU);
    cpuAccess(false, 0);
    cpuAccess(false, 0)
  }
}

proctype nic() {
  bool found;
  byte round;
  for (round : 1 .. ROUNDS) {
    dma(true, BY_DMA);
    dma(false, 0)
  }
}

inline disable() {
  lockMemory();
  allowed = false;
#ifdef HEARS_SUSPEND
  lock(containerLock);
  cutOff();
  containerLock = false;
#endif
#if defined(ZAP_FINDS_WINDOW) && !defined(WITHOUT_ZAP)
  pte = false;
#endif
#ifdef PARKS
  d_step { parked = content; content = ELSEWHERE };
#endif
  atomic {
    decode = false;
    R5(!pte);
    R6(UNREACHED)
  };
  memoryWriter = false
}

inline enable() {
  lockMemory();
  decode = true;
#ifndef WITHOUT_RETURN
#ifdef PARKS
  d_step { content = parked; parked = CLEARED };
#endif
  allowed = true;
#if defined(COMES_BACK) && !defined(WITHOUT_RESTORE)
  lock(containerLock);
  entry = mapped;
  containerLock = false;
#endif
#endif
#ifndef WITHOUT_UNLOCK
  memoryWriter = false
#endif
}

proctype driver() {
  byte round;
  for (round : 1 .. ROUNDS) {
    disable();
    enable()
  }
}

init {
  atomic { setUp(); run guest(); run nic(); run driver() };
  checkTheEnd()
}
