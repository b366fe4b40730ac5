/*
 * The designs, written down once more and by hand, so that a slip in src/sim/designs.ts is not repeated here. What each choice
 * is taken from: vfio_pci.c and vfio_iommu_type1.c of 5.11 and 6.12, the ten patches of 2021-02-22, the mail of 2021-02-24 on
 * patch 05, vfio_pci_dmabuf.c and iommufd of 6.19.
 *
 * PGOFF_IS_PFN     mmap overwrites vm_pgoff with the physical page number; else the region coding stays
 * ZAP_VMA_LIST     the driver keeps a list of VMAs and zaps each; else it zaps the pgoff range of BAR0 to ROM
 * WALKS_PAGES      MAP_DMA reads the page table once; else it asks the device that the VMA belongs to
 * HAS_REFERENCE    the IOMMU mapping holds a reference to the device
 * HEARS_RELEASE    the IOMMU is told of the last close
 * HEARS_SUSPEND    the IOMMU is told when the memory goes away
 * COMES_BACK       the IOMMU translates again, by itself, when the memory is back
 * PARKS            the contents are moved elsewhere while the memory is away
 */
#if defined(LINUX_5_11)
#define PGOFF_IS_PFN
#define ZAP_VMA_LIST
#define WALKS_PAGES
#elif defined(RFC_2021)
#define PGOFF_IS_PFN
#define WALKS_PAGES
#define HAS_REFERENCE
#define HEARS_RELEASE
#elif defined(SEED_MAIL)
#define HAS_REFERENCE
#define HEARS_RELEASE
#elif defined(LINUX_6_12)
#define WALKS_PAGES
#elif defined(DMA_BUF_6_19)
#define HAS_REFERENCE
#define HEARS_RELEASE
#define HEARS_SUSPEND
#elif defined(NODE_VFIO)
#define HAS_REFERENCE
#define HEARS_RELEASE
#define HEARS_SUSPEND
#define COMES_BACK
#define PARKS
#else
#error define a design, for example -DNODE_VFIO
#endif

/* The preprocessor counts with 64 bits, Promela with 32; the physical page of a BAR may need more. */
#define PAGE_SHIFT 12
#define OFFSET_SHIFT 40
#define BAR0 0
#define BAR2 2
#define ROM 6
#define PGOFF_OF(index) ((index) << (OFFSET_SHIFT - PAGE_SHIFT))

/* Where hosts have their window of 64-bit BARs: far above 4 GiB. */
#ifndef BAR2_ADDRESS
#define BAR2_ADDRESS 0x380000000000
#endif

#ifdef PGOFF_IS_PFN
#define WINDOW_PGOFF (BAR2_ADDRESS >> PAGE_SHIFT)
#else
#define WINDOW_PGOFF PGOFF_OF(BAR2)
#endif

#if WINDOW_PGOFF == PGOFF_OF(BAR2)
#define WINDOW_IS_CODED true
#else
#define WINDOW_IS_CODED false
#endif

/* unmap_mapping_range(indexToOffset(BAR0), indexToOffset(ROM) - indexToOffset(BAR0)): does it find the window? */
#if defined(ZAP_VMA_LIST) || (WINDOW_PGOFF >= PGOFF_OF(BAR0) && WINDOW_PGOFF < PGOFF_OF(ROM))
#define ZAP_FINDS_WINDOW
#endif
