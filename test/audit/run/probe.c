/*
 * Calls the mmap handlers of the corpus in a process, with a kernel that only takes notes, and prints what each did to
 * vm_pgoff, what it mapped, what it let pass and what its zap reached. One line a handler:
 * name successes coding mapping faultFrom zap size shared overflow
 */
#include "probe.h"
#include "toy.h"

#define BASE_PFN 0x380000000UL /* 56 TiB: above all offsets of regions, so that no range fits both numberings by luck */
#define REGION_STRIDE 0x10000UL
#define REGION_PAGES 8UL
#define START 0x7f0000000000UL

int printf(const char *format, ...);

static struct probe *probes;
static struct toy_device toy;
static struct inode inode;
static struct vm_area_struct vma;
static int remap_fails;
static unsigned long mapped_pfn, mapped_pages;
static int mapped, zap_calls, zap_reached;

void probe_add(struct probe *probe)
{
	probe->next = probes;
	probes = probe;
}

/* ---- the kernel that takes notes */
struct mm_struct *current_mm;

static int note(unsigned long pfn, unsigned long size)
{
	if (remap_fails)
		return -EFAULT;
	mapped = 1;
	mapped_pfn = pfn;
	mapped_pages = size >> PAGE_SHIFT;
	return 0;
}

pgprot_t pgprot_noncached(pgprot_t prot) { return prot; }
int remap_pfn_range(struct vm_area_struct *area, unsigned long address, unsigned long pfn, unsigned long size,
		    pgprot_t prot)
{
	return note(pfn, size);
}
int io_remap_pfn_range(struct vm_area_struct *area, unsigned long address, unsigned long pfn, unsigned long size,
		       pgprot_t prot)
{
	return note(pfn, size);
}
vm_fault_t vmf_insert_pfn(struct vm_area_struct *area, unsigned long address, unsigned long pfn)
{
	return note(pfn, PAGE_SIZE) ? VM_FAULT_SIGBUS : VM_FAULT_NOPAGE;
}
vm_fault_t vmf_insert_pfn_pmd(struct vm_fault *vmf, unsigned long pfn, bool write)
{
	return note(pfn, PAGE_SIZE) ? VM_FAULT_SIGBUS : VM_FAULT_NOPAGE;
}
void unmap_mapping_range(struct address_space *mapping, loff_t start, loff_t length, int even_cows)
{
	unsigned long first = start >> PAGE_SHIFT;
	unsigned long end = length ? first + (length >> PAGE_SHIFT) : ~0UL;
	unsigned long pages = (vma.vm_end - vma.vm_start) >> PAGE_SHIFT;

	zap_calls++;
	if (first < vma.vm_pgoff + pages && vma.vm_pgoff < end)
		zap_reached = 1;
}
void zap_vma_ptes(struct vm_area_struct *area, unsigned long address, unsigned long size)
{
	zap_calls++;
	if (area == &vma)
		zap_reached = 1;
}
void vm_flags_set(struct vm_area_struct *area, unsigned long flags) { area->vm_flags |= flags; }
void mutex_lock(struct mutex *lock) { lock->held = 1; }
void mutex_unlock(struct mutex *lock) { lock->held = 0; }
void stub_unlock(struct mutex **lock) { }
void stub_free(void *slot) { }
void *stub_take(void *slot) { return *(void **)slot; }
void pr_debug(const char *format, ...) { }
void *mdev_get_drvdata(struct mdev_device *mdev) { return &toy; }
void *kzalloc_one(size_t size)
{
	static struct toy_vma entry;

	return &entry;
}
void list_add(struct list_head *entry, struct list_head *head)
{
	entry->next = head->next;
	entry->prev = head;
	head->next->prev = entry;
	head->next = entry;
}
int vfio_pci_core_mmap(struct vfio_device *vdev, struct vm_area_struct *area)
{
	unsigned long index = area->vm_pgoff >> (VFIO_PCI_OFFSET_SHIFT - PAGE_SHIFT);
	unsigned long page = area->vm_pgoff & ((1UL << (VFIO_PCI_OFFSET_SHIFT - PAGE_SHIFT)) - 1);
	unsigned long pages = (area->vm_end - area->vm_start) >> PAGE_SHIFT;

	if (index >= TOY_REGIONS || !(area->vm_flags & VM_SHARED) || page + pages > REGION_PAGES)
		return -EINVAL;
	return note((toy.regions[index].addr >> PAGE_SHIFT) + page, pages << PAGE_SHIFT);
}

/* ---- one call and what came of it */
struct outcome {
	unsigned int successes, kept, pfn, own, at_mmap, faulted, reached, missed, zaps;
	int small_outside, large_outside, private_passed;
	char fault_from;
};

static int outside(unsigned long pfn, unsigned long pages)
{
	unsigned long region = (pfn - BASE_PFN) / REGION_STRIDE, page = (pfn - BASE_PFN) % REGION_STRIDE;

	return pfn < BASE_PFN || region >= TOY_REGIONS || page + pages > REGION_PAGES;
}

static int call(const struct probe *probe, unsigned long index)
{
	struct vfio_pci_region region = { &toy.regions[index], REGION_PAGES << PAGE_SHIFT };
	int (*regops)(struct vfio_pci_core_device *, struct vfio_pci_region *, struct vm_area_struct *) = probe->mmap;
	int (*handler)(void *, struct vm_area_struct *) = probe->mmap;

	if (probe->kind == PROBE_REGOPS)
		return regops((struct vfio_pci_core_device *)&toy.vdev, &region, &vma);
	return handler(&toy.vdev, &vma);
}

/* The pfn that a fault at the first or last page of the area maps; 0 when it is refused. */
static unsigned long fault(unsigned long page)
{
	struct vm_fault vmf = { &vma, vma.vm_start + (page << PAGE_SHIFT), vma.vm_pgoff + page, NULL };

	mapped = 0;
	vma.vm_ops->fault(&vmf);
	return mapped ? mapped_pfn : 0;
}

static void look_at_faults(struct outcome *seen, unsigned long pages, int *beyond)
{
	const unsigned long other = (1UL << (VFIO_PCI_OFFSET_SHIFT - PAGE_SHIFT)) + 2;
	unsigned long before = vma.vm_pgoff, pfn;

	seen->faulted++;
	pfn = fault(0);
	if (mapped_pages > 1)
		*beyond |= outside(pfn, mapped_pages);
	else
		*beyond |= outside(pfn, 1) || outside(fault(pages - 1), 1);
	vma.vm_pgoff = other;
	pfn = fault(0);
	seen->fault_from = pfn == other ? 'p' : pfn == BASE_PFN + REGION_STRIDE + 2 ? 'r' : 'o';
	vma.vm_pgoff = before;
}

static void look_at_zap(const struct probe *probe, struct outcome *seen)
{
	unsigned int i;

	zap_calls = zap_reached = 0;
	if (probe->request)
		probe->request(&toy.vdev, 1);
	for (i = 0; probe->ioctl && i < TOY_REGIONS; i++)
		probe->ioctl(&toy.vdev, i, 0);
	seen->zaps += zap_calls;
	if (zap_reached)
		seen->reached++;
	else
		seen->missed++;
}

static void attempt(const struct probe *probe, struct outcome *seen, unsigned long pgoff, unsigned long index,
		    unsigned long pages, unsigned int flags, int fails, int shared)
{
	static struct toy_vma entry = { &vma };
	int large = (pgoff & ((1UL << 28) - 1)) > 64, beyond = 0;
	unsigned long i;

	for (i = 0; i < TOY_REGIONS; i++)
		toy.regions[i] = (struct toy_region){ (BASE_PFN + i * REGION_STRIDE) << PAGE_SHIFT,
						      REGION_PAGES << PAGE_SHIFT, flags };
	inode.i_mapping = (void *)&inode;
	toy.vdev.inode = &inode;
	toy.vmas.next = toy.vmas.prev = &toy.vmas;
	list_add(&entry.entry, &toy.vmas);
	vma = (struct vm_area_struct){ START, START + (pages << PAGE_SHIFT), shared ? VM_SHARED | VM_WRITE : VM_WRITE,
				       pgoff };
	remap_fails = fails;
	mapped = 0;
	if (call(probe, index))
		return;
	remap_fails = 0;
	seen->successes++;
	if (!shared)
		seen->private_passed = 1;
	if (vma.vm_pgoff == pgoff)
		seen->kept++;
	else if (vma.vm_pgoff - BASE_PFN < TOY_REGIONS * REGION_STRIDE)
		seen->pfn++;
	else
		seen->own++;
	if (mapped) {
		seen->at_mmap++;
		beyond = outside(mapped_pfn, mapped_pages);
	}
	look_at_zap(probe, seen);
	if (vma.vm_ops && vma.vm_ops->fault)
		look_at_faults(seen, pages, &beyond);
	if (beyond && large)
		seen->large_outside = 1;
	else if (beyond)
		seen->small_outside = 1;
}

static void sweep(const struct probe *probe)
{
	static const unsigned long strides[] = { 1UL << 28, 1UL << 24, 1UL << 20, 1UL << 8, 1000000, 16 };
	static const unsigned long pages[] = { 0, 1, 3, 7, 20 }, lengths[] = { 1, 2, 9 };
	struct outcome seen = { 0 };
	unsigned int s, i, p, l, bits;

	for (s = 0; s < sizeof(strides) / sizeof(*strides); s++)
		for (i = 0; i < TOY_REGIONS; i++)
			for (p = 0; p < 5; p++)
				for (l = 0; l < 3; l++)
					for (bits = 0; bits < 8; bits++)
						attempt(probe, &seen, strides[s] * i + pages[p], i, lengths[l],
							bits & 1, bits >> 1 & 1, bits >> 2 & 1);
	printf("%s %u %s %s %s %s %d %d %d\n", probe->name, seen.successes,
	       seen.pfn ? "pfn" : seen.own ? "own" : "kept",
	       seen.at_mmap && seen.faulted ? "both" : seen.at_mmap ? "at-mmap" : seen.faulted ? "fault" : "none",
	       seen.fault_from == 'p' ? "pgoff-as-pfn" : seen.fault_from == 'r' ? "region" : seen.fault_from ? "own" : "null",
	       !seen.zaps ? "never" : !seen.missed ? "hits" : !seen.reached ? "misses" : "sometimes",
	       !seen.small_outside, !seen.private_passed, seen.large_outside);
}

int main(void)
{
	struct probe *probe;

	for (probe = probes; probe; probe = probe->next)
		sweep(probe);
	return 0;
}
