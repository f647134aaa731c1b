// SPDX-License-Identifier: GPL-2.0-only
/*
 * What KHO in Rust needs of memblock and of struct page while the kernel boots.
 *
 * All of it is called at boot only, by text that is in no section for that.
 */

#include <linux/init.h>
#include <linux/io.h>
#include <linux/ioport.h>
#include <linux/kho_boot.h>
#include <linux/memblock.h>
#include <linux/mm.h>

#include "../../mm/internal.h"
#if __has_include("../../mm/mm_init.h")
#include "../../mm/mm_init.h"
#include "../../mm/page_alloc.h"
#endif

/* The memory that a page is in, as memblock has it. */
static struct memblock_region *__ref kho_boot_region(u64 pfn)
{
	struct memblock_region *region;

	for_each_mem_region(region) {
		if (PFN_UP(region->base) <= pfn && pfn < PFN_DOWN(region->base + region->size))
			return region;
	}

	return NULL;
}

void __ref kho_boot_area(u64 pfn, struct kho_boot_area *area)
{
	struct memblock_region *region = kho_boot_region(pfn);
	phys_addr_t start, end;
	u64 i;

	*area = (struct kho_boot_area){ .end = U64_MAX };
	if (region) {
		area->start = PFN_UP(region->base);
		area->end = PFN_DOWN(region->base + region->size);
		/* That is where the kernel that boots lies and allocates. */
		if (memblock_is_kho_scratch(region))
			return;
	}
	for_each_free_mem_range(i, NUMA_NO_NODE, MEMBLOCK_NONE, &start, &end, NULL) {
		u64 first = PFN_UP(start), last = PFN_DOWN(end);

		if (first >= last)
			continue;
		if (pfn < first) {
			area->end = min(area->end, first);
			return;
		}
		area->start = max(area->start, pfn < last ? first : last);
		if (pfn < last) {
			area->end = last;
			area->is_free = true;
			return;
		}
	}
}

enum kho_boot_use __ref kho_boot_use(u64 pfn)
{
	struct memblock_region *region = kho_boot_region(pfn);

	if (!region)
		return KHO_BOOT_ABSENT;

	return memblock_is_kho_scratch(region) ? KHO_BOOT_SCRATCH : KHO_BOOT_USED;
}

u64 __ref kho_boot_end(void)
{
	return PFN_DOWN(memblock_end_of_DRAM());
}

void *kho_boot_table(u64 pfn)
{
	return phys_to_virt(PFN_PHYS(pfn));
}

int __ref kho_boot_mark_scratch(u64 start, u64 end)
{
	return memblock_mark_kho_scratch(PFN_PHYS(start), PFN_PHYS(end - start));
}

void *__ref kho_boot_alloc(size_t size)
{
	return memblock_alloc(size, PAGE_SIZE);
}

void __ref kho_boot_free(void *memory, size_t size)
{
	memblock_free(memory, size);
}

void __ref kho_boot_init_pages(u64 start, u64 end)
{
	unsigned long first, last;
	int i, nid;

	if (!IS_ENABLED(CONFIG_DEFERRED_STRUCT_PAGE_INIT))
		return;
	for_each_mem_pfn_range(i, MAX_NUMNODES, &first, &last, &nid) {
		unsigned long pfn = max_t(u64, first, start);

		for (; pfn < min_t(u64, last, end); pfn++)
			init_deferred_page(pfn, nid);
	}
}

int __ref kho_boot_reserve(u64 start, u64 end)
{
	phys_addr_t base = PFN_PHYS(start), size = PFN_PHYS(end - start);

	/* Whoever initialised the pages would wipe out the marks. */
	return memblock_reserve(base, size) ?: memblock_reserved_mark_noinit(base, size);
}

u64 kho_boot_mark(u64 pfn)
{
	return pfn_to_page(pfn)->private;
}

void kho_boot_set_mark(u64 pfn, u64 mark)
{
	pfn_to_page(pfn)->private = mark;
}

/* The first page from @start on that is marked; @end if there is none. */
u64 kho_boot_find_mark(u64 start, u64 end)
{
	while (start < end && !pfn_to_page(start)->private)
		start++;

	return start;
}

/* Gives pages that were reserved to the buddy allocator. */
void __ref kho_boot_release(u64 start, u64 end)
{
	totalram_pages_add(end - start);
	while (start < end) {
		unsigned int order = min3((u64)MAX_PAGE_ORDER, (u64)__ffs64(start | BIT_ULL(63)),
					  (u64)ilog2(end - start));

		__free_pages_core(pfn_to_page(start), order, MEMINIT_EARLY);
		start += 1ULL << order;
	}
}

/* How many ranges are kept, and their bounds. They are released before this is. */
static u64 kho_kept_ranges[1 + 2 * KHO_BOOT_MAX_KEPT] __initdata;

u64 *__ref kho_boot_kept(void)
{
	return kho_kept_ranges;
}

/* Whether a range that the previous kernel names can be looked at, whatever is in it. */
bool kho_is_memory(phys_addr_t phys, u64 size)
{
	return size && phys + size - 1 >= phys &&
	       region_intersects(phys, size, IORESOURCE_SYSTEM_RAM, IORES_DESC_NONE) == REGION_INTERSECTS;
}
