/*
 * Just enough names of the kernel that gcc -fsyntax-only can say that the drivers beside this folder are C: no sizes,
 * no behaviour, nothing that an audit should read.
 */
#ifndef STUB_KERNEL_H
#define STUB_KERNEL_H

typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long loff_t;
typedef long ssize_t;
typedef unsigned long size_t;
typedef unsigned long pgoff_t;
typedef u64 phys_addr_t;
typedef u64 resource_size_t;
typedef unsigned int vm_fault_t;
typedef _Bool bool;
typedef struct {
	unsigned long pgprot;
} pgprot_t;

#define true 1
#define false 0
#define NULL ((void *)0)
#define EPERM 1
#define ENOMEM 12
#define EFAULT 14
#define ENODEV 19
#define EINVAL 22
#define EOVERFLOW 75
#define PAGE_SHIFT 12
#define PAGE_SIZE (1UL << PAGE_SHIFT)
#define PMD_ORDER 9
#define VM_WRITE 0x2ul
#define VM_SHARED 0x8ul
#define VM_IO 0x4000ul
#define VM_PFNMAP 0x400ul
#define VM_DONTEXPAND 0x40000ul
#define VM_DONTDUMP 0x4000000ul
#define VM_FAULT_SIGBUS 2u
#define VM_FAULT_NOPAGE 0x100u
#define VM_FAULT_FALLBACK 0x800u
#define __user
#define __init
#ifndef CONFIG_TOY_LEGACY
#define CONFIG_TOY_LEGACY_IS 0
#else
#define CONFIG_TOY_LEGACY_IS 1
#endif
#define __always_inline inline __attribute__((always_inline))
#define __must_check __attribute__((warn_unused_result))
#define noinline __attribute__((noinline))
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define offsetof(type, member) __builtin_offsetof(type, member)
#define container_of(ptr, type, member) ((type *)((char *)(ptr) - offsetof(type, member)))
#define READ_ONCE(x) (*(const volatile __typeof__(x) *)&(x))
#define WRITE_ONCE(x, value) (*(volatile __typeof__(x) *)&(x) = (value))
#define check_add_overflow(a, b, out) __builtin_add_overflow(a, b, out)
#define swap(a, b) do { __typeof__(a) held = (a); (a) = (b); (b) = held; } while (0)
#define BIT(n) (1UL << (n))
#define ALIGN_DOWN(x, a) ((x) & ~((a) - 1))
#define PHYS_PFN(x) ((unsigned long)((x) >> PAGE_SHIFT))
#define IS_ENABLED(option) option##_IS
#define EXPORT_SYMBOL_GPL(name) extern __typeof__(name) name
#define module_init(call) int init_module(void) { return call(); }

struct list_head {
	struct list_head *next, *prev;
};
#define list_for_each_entry(pos, head, member) \
	for (pos = container_of((head)->next, __typeof__(*pos), member); &pos->member != (head); \
	     pos = container_of(pos->member.next, __typeof__(*pos), member))
void list_add(struct list_head *entry, struct list_head *head);

struct mutex {
	int held;
};
void mutex_lock(struct mutex *lock);
void mutex_unlock(struct mutex *lock);
void stub_unlock(struct mutex **lock);
void stub_free(void *slot);
void *stub_take(void *slot);
#define guard(kind) stub_guard_##kind
#define stub_guard_mutex(lock) struct mutex *guarded __attribute__((cleanup(stub_unlock))) = (lock)
#define scoped_guard(kind, lock) \
	for (struct kind *held __attribute__((cleanup(stub_unlock))) = (lock), *once = held; once; once = NULL)
#define __free(how) __attribute__((cleanup(stub_free)))
#define no_free_ptr(pointer) ((__typeof__(pointer))stub_take(&(pointer)))

struct address_space;
struct inode {
	struct address_space *i_mapping;
};
struct file {
	void *private_data;
};
struct device;
struct page;
struct mm_struct;
struct vm_operations_struct;
struct vm_area_struct {
	unsigned long vm_start, vm_end, vm_flags, vm_pgoff;
	pgprot_t vm_page_prot;
	void *vm_private_data;
	const struct vm_operations_struct *vm_ops;
	struct mm_struct *vm_mm;
	struct file *vm_file;
};
struct vm_fault {
	struct vm_area_struct *vma;
	unsigned long address;
	pgoff_t pgoff;
	struct page *page;
};
struct vm_operations_struct {
	void (*open)(struct vm_area_struct *vma);
	void (*close)(struct vm_area_struct *vma);
	vm_fault_t (*fault)(struct vm_fault *vmf);
	vm_fault_t (*huge_fault)(struct vm_fault *vmf, unsigned int order);
};
struct file_operations {
	int (*mmap)(struct file *file, struct vm_area_struct *vma);
};

static inline unsigned long vma_pages(const struct vm_area_struct *vma)
{
	return (vma->vm_end - vma->vm_start) >> PAGE_SHIFT;
}

extern struct mm_struct *current_mm;
pgprot_t pgprot_noncached(pgprot_t prot);
int remap_pfn_range(struct vm_area_struct *vma, unsigned long address, unsigned long pfn, unsigned long size,
		    pgprot_t prot);
int io_remap_pfn_range(struct vm_area_struct *vma, unsigned long address, unsigned long pfn, unsigned long size,
		       pgprot_t prot);
vm_fault_t vmf_insert_pfn(struct vm_area_struct *vma, unsigned long address, unsigned long pfn);
vm_fault_t vmf_insert_pfn_pmd(struct vm_fault *vmf, unsigned long pfn, bool write);
int remap_vmalloc_range(struct vm_area_struct *vma, void *memory, unsigned long page);
void unmap_mapping_range(struct address_space *mapping, loff_t start, loff_t length, int even_cows);
void zap_vma_ptes(struct vm_area_struct *vma, unsigned long address, unsigned long size);
void vm_flags_set(struct vm_area_struct *vma, unsigned long flags);
struct vm_area_struct *vma_lookup(struct mm_struct *mm, unsigned long address);
void mmap_read_lock(struct mm_struct *mm);
void mmap_read_unlock(struct mm_struct *mm);
void *kzalloc_one(size_t size);
void *memcpy(void *to, const void *from, size_t count);
void pr_debug(const char *format, ...);

struct vfio_device {
	struct inode *inode;
	struct device *dev;
};
struct vfio_device_ops {
	const char *name;
	long (*ioctl)(struct vfio_device *vdev, unsigned int cmd, unsigned long arg);
	int (*mmap)(struct vfio_device *vdev, struct vm_area_struct *vma);
	void (*request)(struct vfio_device *vdev, unsigned int count);
};
struct mdev_device;
struct mdev_parent_ops {
	int (*mmap)(struct mdev_device *mdev, struct vm_area_struct *vma);
};
void *mdev_get_drvdata(struct mdev_device *mdev);

#define VFIO_PCI_OFFSET_SHIFT 40
#define VFIO_PCI_OFFSET_TO_INDEX(offset) ((offset) >> VFIO_PCI_OFFSET_SHIFT)
#define VFIO_PCI_INDEX_TO_OFFSET(index) ((u64)(index) << VFIO_PCI_OFFSET_SHIFT)
#define VFIO_PCI_OFFSET_MASK (((u64)1 << VFIO_PCI_OFFSET_SHIFT) - 1)
enum { VFIO_PCI_BAR0_REGION_INDEX, VFIO_PCI_BAR1_REGION_INDEX, VFIO_PCI_BAR2_REGION_INDEX, VFIO_PCI_ROM_REGION_INDEX = 6 };
struct vfio_pci_core_device {
	struct vfio_device vdev;
};
struct vfio_pci_region {
	void *data;
	u64 size;
};
struct vfio_pci_regops {
	int (*mmap)(struct vfio_pci_core_device *core, struct vfio_pci_region *region, struct vm_area_struct *vma);
};
int vfio_pci_core_mmap(struct vfio_device *vdev, struct vm_area_struct *vma);

struct dma_buf {
	void *priv;
};
struct dma_buf_ops {
	int (*mmap)(struct dma_buf *buf, struct vm_area_struct *vma);
};

#endif
