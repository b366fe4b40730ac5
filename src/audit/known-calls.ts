/*
 * Functions of the kernel that an audit knows by name, because their sources are elsewhere or too deep: those that fill
 * page tables, those that empty them, and small arithmetic. Source: include/linux/mm.h, overflow.h, pfn.h, dma-mapping.h.
 */
import { binaryValue, callValue, nameValue, PGOFF, UNKNOWN, type Value } from './value.ts';

/** Which argument of a call that maps says what is mapped: a pfn, a page, or an address. */
const MAPS: readonly (readonly [RegExp, number])[] = [
  [/^(io_)?remap_pfn_range(_\w+)?$/, 2],
  [/^vm_iomap_memory$/, 1],
  [/^remap_vmalloc_range(_partial)?$/, 1],
  [/^dma_mmap_\w+$/, 2],
  [/^dma_common_mmap$/, 2],
  [/^iommu_dma_mmap$/, 2],
  [/^vmf?_insert_(pfn|mixed)_?(pmd|pud|prot|mkwrite)?$/, 2],
  [/^vmf_insert_folio_\w+$/, 1],
  [/^vm_insert_pages?(_mkspecial)?$/, 2],
  [/^vmf_insert_page_mkwrite$/, 1],
  [/^vm_map_pages(_zero)?$/, 1],
  [/^map_kernel_pages_\w+$/, 1],
];

/** Which argument says what is mapped, or null when the function maps nothing. */
export function mappedArgument(name: string): number | null {
  const found = MAPS.find(([pattern]) => pattern.test(name));
  if (found === undefined) return null;
  // The huge variants have no address: vmf, pfn, write.
  return /^vmf_insert_(pfn|mixed)_(pmd|pud)$/.test(name) ? 1 : found[1];
}

/** Mapping calls that check the VMA's range against the size they are given. */
export const CHECKS_SIZE: RegExp =
  /^(vm_iomap_memory|remap_vmalloc_range|dma_mmap_\w+|dma_common_mmap|iommu_dma_mmap|vm_map_pages(_zero)?)$/;

/** Empties page tables by range of offsets in a file. */
export const RANGE_ZAP: RegExp = /^unmap_mapping_(range|pages|folio)$/;
/** Empties those of one VMA. */
export const VMA_ZAP: RegExp =
  /^zap_(vma_ptes|vma_range|special_vma_range|vma|page_range|page_range_single)$/;

const TRANSPARENT =
  /^(likely|unlikely|READ_ONCE|WARN_ON|WARN_ON_ONCE|smp_load_acquire|rcu_dereference|WARN|WARN_ONCE|BUG_ON|PTR_ERR_OR_ZERO|array_index_nospec|ERR_PTR|ERR_CAST|PTR_ERR|cpu_to_le64|le64_to_cpu|le32_to_cpu|untagged_addr)$/;
const SUMS: Readonly<Record<string, string>> = { size_add: '+', size_sub: '-', size_mul: '*' };
/** Result in its last argument; true when it does not fit. */
export const CHECKED: Readonly<Record<string, string>> = {
  check_add_overflow: '+',
  check_sub_overflow: '-',
  check_mul_overflow: '*',
  check_shl_overflow: '<<',
};

const PAGE_SHIFT = nameValue('PAGE_SHIFT');

/** The value of a call that is nothing but its arguments, or null. */
export function knownValue(name: string, args: readonly Value[]): Value | null {
  const [first = UNKNOWN, second = UNKNOWN] = args;
  if (TRANSPARENT.test(name)) return first;
  if (SUMS[name] !== undefined) return checkedValue(SUMS[name], first, second);
  switch (name) {
    case 'PFN_PHYS':
    case '__pfn_to_phys':
      return binaryValue('<<', first, PAGE_SHIFT);
    case 'PHYS_PFN':
    case 'PFN_DOWN':
    case '__phys_to_pfn':
      return binaryValue('>>', first, PAGE_SHIFT);
    case 'vma_size':
      return first.op === 'vma' ? sizeOfVma(first) : null;
    case 'vma_pages':
      return first.op === 'vma' ? binaryValue('>>', sizeOfVma(first), PAGE_SHIFT) : null;
    case 'linear_page_index':
      return first.op === 'vma' ? binaryValue('+', callValue('linear_page_delta', args), PGOFF) : null;
    default:
      return null;
  }
}

/** The length of a VMA, in bytes. */
function sizeOfVma(vma: Value): Value {
  const field = (name: string): Value => ({
    ...callValue(name, [vma]),
    op: 'field',
    key: `field:${name}(${vma.key})`,
  });
  return binaryValue('-', field('vm_end'), field('vm_start'));
}

/** The result of arithmetic that was checked, so it did not wrap where the path goes on. */
export function checkedValue(operator: string, left: Value, right: Value): Value {
  return callValue(`checked ${operator}`, [left, right]);
}
