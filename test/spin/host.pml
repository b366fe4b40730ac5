/*
 * The host that both programs run on: one device with one BAR that is mapped once by a process and once by an IOMMU. A second
 * opinion on src/sim, written from the rules; only what is checked has the same names.
 *
 * -DCHECK_R4 and its like say which properties are asserted. -DWITHOUT_FLUSH and its like plant a mistake.
 */
#include "designs.pml"

/* Always 0: the name is what a failed assertion is recognised by. */
hidden byte R1_BROKEN, R4_BROKEN, R5_BROKEN, R6_BROKEN, R7_BROKEN, R8_BROKEN, LEAK_BROKEN;

#ifdef CHECK_R1
#define R1(holds) assert((holds) || R1_BROKEN)
#else
#define R1(holds) skip
#endif
#ifdef CHECK_R4
#define R4(holds) assert((holds) || R4_BROKEN)
#else
#define R4(holds) skip
#endif
#ifdef CHECK_R5
#define R5(holds) assert((holds) || R5_BROKEN)
#else
#define R5(holds) skip
#endif
#ifdef CHECK_R6
#define R6(holds) assert((holds) || R6_BROKEN)
#else
#define R6(holds) skip
#endif
#ifdef CHECK_R7
#define R7(holds) assert((holds) || R7_BROKEN)
#else
#define R7(holds) skip
#endif
#ifdef CHECK_R8
#define R8(holds) assert((holds) || R8_BROKEN)
#else
#define R8(holds) skip
#endif
#ifdef CHECK_LEAK
#define LEAK(holds) assert((holds) || LEAK_BROKEN)
#else
#define LEAK(holds) skip
#endif

/* Contents of the page. The CPU and the DMA engine write different values, so that one's loss is not the other's. */
#define CLEARED 0
#define BY_CPU 1
#define BY_DMA 2
#define ELSEWHERE 3

/* The device as it is: open and not yet released, decoding memory, and in which of its lives. */
bool live, decode;
byte life;
byte content, expected, parked;

/* The device as its driver has it: files and VMAs that keep it open, whether a fault may have the memory. */
byte opens;
bool allowed;

/* memory_lock is taken for reading by faults and for writing by whoever changes the device. */
bool memoryWriter, mmapLock, containerLock;
byte memoryReaders;

/* The process's page table entry, and whether there is a VMA around it. */
bool vma, pte;

/* The IOMMU: mapped, in which life of the device, page table entry, IOTLB, DMA on its way, reference to the device. */
bool mapped, entry, iotlb, reference;
byte mappedLife, inFlight;

inline lock(which) { atomic { !which -> which = true } }

inline lockMemory() { atomic { !memoryWriter && memoryReaders == 0 -> memoryWriter = true } }

/* The bus: an access that got past page table or IOMMU. */
inline reach(write, value) {
  if
  :: !(live && decode) -> R4(false)
  :: live && decode && write -> content = value; expected = value
  :: live && decode && !write -> R8(content == expected)
  fi
}

/* A load or store of the process, by way of a page fault where there is no entry; SIGBUS ends it. */
inline cpuAccess(write, value) {
  do
  :: atomic { vma && pte -> reach(write, value); break }
  :: vma && !pte ->
    lock(mmapLock);
#ifndef WITHOUT_FAULT_LOCK
    atomic { !memoryWriter -> memoryReaders++ };
#endif
    found = allowed;
    if
    :: found -> pte = true
    :: else
    fi;
    atomic {
      /* Judged when the signal reaches the process, not when the fault handler made up its mind. */
      R7(found || !(live && decode) || memoryWriter);
#ifndef WITHOUT_FAULT_LOCK
      memoryReaders--;
#endif
      mmapLock = false
    };
    if
    :: found -> found = false
    :: else -> break
    fi
  :: !vma -> break
  od
}

#define MUST_TRANSLATE (mapped && mappedLife == life && live && decode && !memoryWriter && !containerLock)

/* A DMA: it is translated now, and arrives at some later time. */
inline dma(write, value) {
  atomic {
    if
    :: iotlb || entry -> iotlb = true; inFlight++; found = true
    :: else -> R7(!MUST_TRANSLATE); found = false
    fi
  };
  if
  :: found -> atomic {
      inFlight--;
      R6(mapped);
      if
      :: live && mappedLife == life -> reach(write, value)
      :: else -> R4(false); R6(false)
      fi;
      found = false
    }
  :: else
  fi
}

/* What must be true when whoever takes away a translation says that it is gone. */
#define UNREACHED (!entry && !iotlb && inFlight == 0)

inline cutOff() {
  entry = false;
#ifndef WITHOUT_FLUSH
  iotlb = false;
#endif
#ifndef WITHOUT_DRAIN
  inFlight == 0;
#endif
}

inline dropReference() {
#ifndef WITHOUT_DROP
  reference = false
#else
  skip
#endif
}

/* A design that takes references has one for as long as the device that was mapped is open. */
#ifdef HAS_REFERENCE
#define IS_HELD (reference || !mapped || !live || mappedLife != life)
#else
#define IS_HELD true
#endif

/* Open, mmap and MAP_DMA, before anybody else is there. A page walk has to fault the page in to find something. */
inline setUp() {
  live = true; decode = true; allowed = true; life = 1;
  opens = 2; vma = true;
  R1(WINDOW_IS_CODED);
#ifdef WALKS_PAGES
  pte = true;
#endif
  mapped = true; mappedLife = life; entry = true;
#if defined(HAS_REFERENCE) && !defined(WITHOUT_REFERENCE)
  reference = true;
#endif
  R6(IS_HELD)
}

/* Nobody is doing anything any more: nothing may be left over, lost or forgotten. A lock that nobody lets go is no end either. */
inline checkTheEnd() {
  atomic {
    _nr_pr == 1 ->
      R7(entry || !MUST_TRANSLATE);
      R6((mapped || UNREACHED) && IS_HELD);
      R8(!(live && decode) || content == expected);
      LEAK(mapped || !reference)
  };
  !memoryWriter && memoryReaders == 0 && !mmapLock && !containerLock
}
