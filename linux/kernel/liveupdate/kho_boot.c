// SPDX-License-Identifier: GPL-2.0-only
/*
 * What KHO in Rust needs of memblock and of struct page while the kernel boots.
 *
 * All of it is called at boot only, by text that is in no section for that.
 */

#include <linux/crash_dump.h>
#include <linux/init.h>
#include <linux/kho_boot.h>
#include <linux/kmemleak.h>
#include <linux/memblock.h>
#include <linux/mm.h>
#include <linux/utsname.h>

#include <asm/early_ioremap.h>

#include "../../mm/internal.h"
#if __has_include("../../mm/mm_init.h")
#define KHO_BOOT_HAS_MM_INIT
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

/* Scratch memory: the array is handed over, too. */
struct kho_scratch *kho_areas;
unsigned int kho_nr_areas;

static unsigned int kho_boot_max_areas(void)
{
	return nodes_weight(node_states[N_MEMORY]) + 2;
}

int __ref kho_boot_new_areas(void)
{
	kho_areas = memblock_alloc(kho_boot_max_areas() * sizeof(*kho_areas), PAGE_SIZE);

	return kho_areas ? 0 : -ENOMEM;
}

int __ref kho_boot_new_area(int place, u64 size, u64 align)
{
	phys_addr_t phys;

	if (kho_nr_areas == kho_boot_max_areas())
		return -ENOSPC;
	if (place == KHO_BOOT_LOW)
		phys = memblock_phys_alloc_range(size, align, 0, ARCH_LOW_ADDRESS_LIMIT);
	else if (place == KHO_BOOT_ANY)
		phys = memblock_phys_alloc(size, align);
	else
		phys = memblock_alloc_range_nid(size, align, 0, MEMBLOCK_ALLOC_ACCESSIBLE, place, true);
	if (!phys)
		return -ENOMEM;
	kho_areas[kho_nr_areas++] = (struct kho_scratch){ .addr = phys, .size = size };

	return 0;
}

void __ref kho_boot_drop_areas(void)
{
	while (kho_nr_areas) {
		kho_nr_areas--;
		memblock_phys_free(kho_areas[kho_nr_areas].addr, kho_areas[kho_nr_areas].size);
	}
	memblock_free(kho_areas, kho_boot_max_areas() * sizeof(*kho_areas));
	kho_areas = NULL;
}

/* What is allocated of a place, without huge pages: the next kernel takes those from elsewhere. */
u64 __ref kho_boot_allocated(int place)
{
	phys_addr_t limit = place == KHO_BOOT_LOW ? ARCH_LOW_ADDRESS_LIMIT : MEMBLOCK_ALLOC_ANYWHERE;
	int node = place < 0 ? NUMA_NO_NODE : place;
	u64 size = memblock_reserved_kern_size(limit, node);

#ifdef KHO_BOOT_HAS_MM_INIT
	size -= memblock_reserved_hugetlb_size(limit, node);
#endif

	return size;
}

int kho_boot_next_node(int node)
{
	int next = next_node(node, node_states[N_MEMORY]);

	return next < MAX_NUMNODES ? next : -1;
}

void *__ref kho_boot_map(u64 phys, size_t size)
{
	return early_memremap(phys, size);
}

void __ref kho_boot_unmap(void *mapped, size_t size)
{
	early_memunmap(mapped, size);
}

/* The memory that this kernel booted with, and so will the next one; neighbours are one. */
struct kho_scratch *kho_memory;
unsigned int kho_nr_memory;

int __ref kho_boot_remember_memory(void)
{
	struct memblock_region *region;

	kho_memory = memblock_alloc(memblock.memory.cnt * sizeof(*kho_memory), SMP_CACHE_BYTES);
	if (!kho_memory)
		return -ENOMEM;
	for_each_mem_region(region) {
		struct kho_scratch *last = kho_nr_memory ? &kho_memory[kho_nr_memory - 1] : NULL;

		if (last && last->addr + last->size == region->base)
			last->size += region->size;
		else if (kho_nr_memory < memblock.memory.cnt)
			kho_memory[kho_nr_memory++] = (struct kho_scratch){
				.addr = region->base,
				.size = region->size,
			};
	}

	return 0;
}

static u64 kho_adopted __initdata;
static unsigned int kho_nr_adopted __initdata;

int __ref kho_boot_adopt_area(u64 phys, u64 size)
{
	return memblock_add(phys, size) ?: memblock_mark_kho_scratch(phys, size);
}

int __ref kho_boot_adopt(u64 areas, unsigned int nr)
{
	int err = memblock_reserve(areas, nr * sizeof(*kho_areas));

	if (err)
		return err;
	/* Nothing that is preserved may be overwritten, and what that is is not known yet. */
	memblock_set_kho_scratch_only();
	kho_adopted = areas;
	kho_nr_adopted = nr;

	return 0;
}

bool __ref kho_boot_use_adopted(void)
{
	if (!kho_nr_adopted)
		return false;
	kho_areas = phys_to_virt(kho_adopted);
	kho_nr_areas = kho_nr_adopted;

	return true;
}

/* Scratch memory is for what can be moved when it is needed. */
void __ref kho_lend_areas(void)
{
	unsigned int i;
	u64 pfn;

	for (i = 0; i < kho_nr_areas; i++) {
		struct kho_scratch *area = &kho_areas[i];

		/* With debug_pagealloc free pages are not mapped, and kmemleak would look at them. */
		kmemleak_ignore_phys(area->addr);
		for (pfn = PHYS_PFN(area->addr); pfn < PHYS_PFN(area->addr + area->size);
		     pfn += pageblock_nr_pages)
			init_cma_reserved_pageblock(pfn_to_page(pfn));
	}
}

void __ref kho_give_up_areas(void)
{
	while (kho_nr_areas) {
		void *start = phys_to_virt(kho_areas[--kho_nr_areas].addr);

		free_reserved_area(start, start + kho_areas[kho_nr_areas].size, -1, NULL);
	}
}

bool kho_boot_is_kdump(void)
{
	return is_kdump_kernel();
}

const char *kho_release(void)
{
	return init_uts_ns.name.release;
}
