// SPDX-License-Identifier: GPL-2.0-only
/*
 * The C side of KHO in Rust when the kernel runs: struct page and struct folio become numbers here, and
 * images of kexec get what is handed over.
 */

#include <linux/export.h>
#include <linux/io.h>
#include <linux/ioport.h>
#include <linux/kasan.h>
#include <linux/kexec.h>
#include <linux/kho_boot.h>
#include <linux/kho_pages.h>
#include <linux/mm.h>
#include <linux/vmalloc.h>

#include "../../mm/internal.h"
#if __has_include("../../mm/vmalloc.h")
#include "../../mm/vmalloc.h"
#endif
#include "../kexec_internal.h"

EXPORT_SYMBOL_GPL(kho_is_enabled);
EXPORT_SYMBOL_GPL(is_kho_boot);
EXPORT_SYMBOL_GPL(kho_preserve_vmalloc);
EXPORT_SYMBOL_GPL(kho_unpreserve_vmalloc);
EXPORT_SYMBOL_GPL(kho_restore_vmalloc);
EXPORT_SYMBOL_GPL(kho_add_subtree);
EXPORT_SYMBOL_GPL(kho_remove_subtree);
EXPORT_SYMBOL_GPL(kho_retrieve_subtree);

/* The order of a folio is kept, so it is one extent. */
static u64 kho_folio_extent(struct folio *folio)
{
	return folio_pfn(folio) | (u64)folio_order(folio) << KHO_EXTENT_ORDER_SHIFT;
}

int kho_preserve_folio(struct folio *folio)
{
	u64 extent = kho_folio_extent(folio);

	return kho_preserve_extents(&extent, 1);
}
EXPORT_SYMBOL_GPL(kho_preserve_folio);

void kho_unpreserve_folio(struct folio *folio)
{
	u64 extent = kho_folio_extent(folio);

	kho_unpreserve_extents(&extent, 1);
}
EXPORT_SYMBOL_GPL(kho_unpreserve_folio);

int kho_preserve_pages(struct page *page, unsigned long nr_pages)
{
	return kho_rust_preserve(page_to_pfn(page), nr_pages);
}
EXPORT_SYMBOL_GPL(kho_preserve_pages);

void kho_unpreserve_pages(struct page *page, unsigned long nr_pages)
{
	kho_rust_unpreserve(page_to_pfn(page), nr_pages);
}
EXPORT_SYMBOL_GPL(kho_unpreserve_pages);

struct folio *kho_restore_folio(phys_addr_t phys)
{
	struct folio *folio = NULL;
	u64 pfn = PHYS_PFN(phys);

	if (!PAGE_ALIGNED(phys) || !kho_claim_folios(&pfn, 1, MAX_FOLIO_ORDER, &folio))
		pr_err("kho: no folio is preserved at %pa\n", &phys);

	return folio;
}
EXPORT_SYMBOL_GPL(kho_restore_folio);

struct page *kho_restore_pages(phys_addr_t phys, unsigned long nr_pages)
{
	return kho_rust_claim(PHYS_PFN(phys), nr_pages) ? phys_to_page(phys) : NULL;
}
EXPORT_SYMBOL_GPL(kho_restore_pages);

/* How often memory is asked for on each node when some of it came later than the kernel. */
#define KHO_ALLOC_TRIES 64

/* Zeroed memory that the next kernel boots with, too. */
struct folio *kho_alloc_folio(unsigned int order)
{
	const gfp_t gfp = GFP_KERNEL | __GFP_ZERO;
	struct folio *folio = folio_alloc(gfp, order), *other, *next;
	LIST_HEAD(others);
	int nid, tries;

	if (!folio || kho_rust_is_free(folio_pfn(folio), order))
		return folio;
	list_add(&folio->lru, &others);
	for_each_node_state(nid, N_MEMORY) {
		for (tries = 0; tries < KHO_ALLOC_TRIES; tries++) {
			folio = __folio_alloc_node(gfp | __GFP_THISNODE | __GFP_NOWARN, order, nid);
			if (!folio)
				break;
			if (kho_rust_is_free(folio_pfn(folio), order))
				goto free_others;
			list_add(&folio->lru, &others);
		}
	}
	folio = NULL;

free_others:
	list_for_each_entry_safe(other, next, &others, lru) {
		list_del(&other->lru);
		folio_put(other);
	}

	return folio;
}

void *kho_alloc_preserve(size_t size)
{
	unsigned int order = get_order(size);
	struct folio *folio;
	int err;

	if (!size)
		return ERR_PTR(-EINVAL);
	if (order > MAX_PAGE_ORDER)
		return ERR_PTR(-E2BIG);
	folio = kho_alloc_folio(order);
	if (!folio)
		return ERR_PTR(-ENOMEM);
	err = kho_preserve_folio(folio);
	if (err) {
		folio_put(folio);
		return ERR_PTR(err);
	}

	return folio_address(folio);
}
EXPORT_SYMBOL_GPL(kho_alloc_preserve);

void kho_unpreserve_free(void *mem)
{
	if (!mem)
		return;
	kho_unpreserve_folio(virt_to_folio(mem));
	folio_put(virt_to_folio(mem));
}
EXPORT_SYMBOL_GPL(kho_unpreserve_free);

void kho_restore_free(void *mem)
{
	struct folio *folio = mem ? kho_restore_folio(virt_to_phys(mem)) : NULL;

	if (folio)
		folio_put(folio);
}
EXPORT_SYMBOL_GPL(kho_restore_free);

int kho_page_nid(u64 pfn)
{
	return pfn_valid(pfn) ? pfn_to_nid(pfn) : NUMA_NO_NODE;
}

u64 kho_page_mark(u64 pfn)
{
	struct page *page = pfn_to_online_page(pfn);

	return page ? READ_ONCE(page->private) : 0;
}

bool kho_page_take(u64 pfn, u64 mark)
{
	unsigned long old = mark;

	return try_cmpxchg(&pfn_to_page(pfn)->private, &old, 0);
}

void kho_page_give_back(u64 pfn, u64 mark)
{
	smp_store_release(&pfn_to_page(pfn)->private, mark);
}

void kho_page_init(u64 pfn, u64 nr)
{
	while (nr--) {
		struct page *page = pfn_to_page(pfn++);

		set_page_count(page, 1);
		clear_page_tag_ref(page);
	}
}

struct folio *kho_page_init_folio(u64 pfn, unsigned int order)
{
	struct page *page = pfn_to_page(pfn);
	u64 i;

	set_page_count(page, 1);
	clear_page_tag_ref(page);
	for (i = 1; i < 1ULL << order; i++)
		set_page_count(page + i, 0);
	if (order > 0)
		prep_compound_page(page, order);

	return page_folio(page);
}

void kho_put_folio(struct folio *folio)
{
	folio_put(folio);
}

bool kho_page_same_zone(u64 one, u64 other)
{
	return page_zone(pfn_to_page(one)) == page_zone(pfn_to_page(other));
}

void kho_page_account(u64 pfn, u64 nr)
{
	adjust_managed_page_count(pfn_to_page(pfn), nr);
}

/* Whether a range that the previous kernel names can be looked at, whatever is in it. */
bool kho_is_memory(u64 phys, u64 size)
{
	return size && phys + size - 1 >= phys &&
	       region_intersects(phys, size, IORESOURCE_SYSTEM_RAM, IORES_DESC_NONE) == REGION_INTERSECTS;
}

/* Who has the memory now may write to it. */
void kho_copy_memory(void *to, u64 phys, size_t size)
{
	memcpy(to, phys_to_virt(phys), size);
}

int kho_vm_find(const void *ptr, struct kho_vm_area *found)
{
	struct vm_struct *vm = find_vm_area(ptr);

	if (!vm || vm->addr != ptr)
		return -EINVAL;
	if (vm->flags & ~(VM_ALLOC | VM_ALLOW_HUGE_VMAP))
		return -EOPNOTSUPP;
	*found = (struct kho_vm_area){
		.nr_pages = vm->nr_pages,
		.order = get_vm_area_page_order(vm),
		.flags = (vm->flags & VM_ALLOC ? KHO_VM_ALLOC : 0) |
			 (vm->flags & VM_ALLOW_HUGE_VMAP ? KHO_VM_HUGE : 0),
	};

	return 0;
}

u64 kho_vm_pfn(const void *ptr, unsigned int page)
{
	return page_to_pfn(find_vm_area(ptr)->pages[page]);
}

void *kho_vm_map(const u64 *pfns, size_t nr, unsigned int order, unsigned int flags)
{
	unsigned long vm_flags = (flags & KHO_VM_ALLOC ? VM_ALLOC : 0) |
				 (flags & KHO_VM_HUGE ? VM_ALLOW_HUGE_VMAP : 0);
	kasan_vmalloc_flags_t kasan = KASAN_VMALLOC_PROT_NORMAL |
				      (flags & KHO_VM_ALLOC ? KASAN_VMALLOC_VM_ALLOC : 0);
	unsigned int shift = PAGE_SHIFT + order;
	size_t nr_pages = nr << order, i;
	struct vm_struct *area;
	struct page **pages;
	unsigned long addr;

	pages = kvmalloc_array(nr_pages, sizeof(*pages), GFP_KERNEL);
	if (!pages)
		return NULL;
	for (i = 0; i < nr_pages; i++)
		pages[i] = pfn_to_page(pfns[i >> order] + (i & (BIT(order) - 1)));
	area = __get_vm_area_node(nr_pages * PAGE_SIZE, BIT(shift), shift, vm_flags | VM_UNINITIALIZED,
				  VMALLOC_START, VMALLOC_END, NUMA_NO_NODE, GFP_KERNEL,
				  __builtin_return_address(0));
	if (!area)
		goto free_pages;
	addr = (unsigned long)area->addr;
	if (vmap_pages_range(addr, addr + get_vm_area_size(area), PAGE_KERNEL, pages, shift))
		goto free_area;
	area->nr_pages = nr_pages;
	area->pages = pages;
	area->addr = kasan_unpoison_vmalloc(area->addr, nr_pages * PAGE_SIZE, kasan);
	clear_vm_uninitialized_flag(area);

	return area->addr;

free_area:
	free_vm_area(area);
free_pages:
	kvfree(pages);
	return NULL;
}

/* Tells an image that is loaded where to find what is handed over. */
int kho_fill_kimage(struct kimage *image)
{
	struct kexec_buf areas = {
		.image = image,
		.buffer = kho_areas,
		.bufsz = kho_nr_areas * sizeof(*kho_areas),
		.memsz = kho_nr_areas * sizeof(*kho_areas),
		.mem = KEXEC_BUF_MEM_UNKNOWN,
		.buf_align = SZ_64K,
		.buf_max = ULONG_MAX,
		.top_down = true,
	};
	int err;

	if (!kho_is_enabled() || image->type == KEXEC_TYPE_CRASH)
		return 0;
	image->kho.fdt = kho_rust_root();
	err = kexec_add_buffer(&areas);
	if (err)
		return err;
	image->kho.scratch = &image->segment[image->nr_segments - 1];

	return 0;
}

/* Finds room for a part of an image in scratch memory, where it overwrites nothing. */
int kho_locate_mem_hole(struct kexec_buf *kbuf, int (*func)(struct resource *, void *))
{
	unsigned int i;

	if (!kho_is_enabled() || kbuf->image->type == KEXEC_TYPE_CRASH)
		return 1;
	for (i = 0; i < kho_nr_areas; i++) {
		struct resource area = {
			.start = kho_areas[i].addr,
			.end = kho_areas[i].addr + kho_areas[i].size - 1,
		};
		int found = func(&area, kbuf);

		if (found)
			return found == 1 ? 0 : -EADDRNOTAVAIL;
	}

	return -EADDRNOTAVAIL;
}
