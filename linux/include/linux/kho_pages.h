/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What KHO in Rust and the code around it call of each other when the kernel runs.
 *
 * Pages are given by their numbers.
 */

#ifndef _LINUX_KHO_PAGES_H
#define _LINUX_KHO_PAGES_H

#include <linux/kexec_handover.h>
#include <linux/kho/abi/kexec_handover.h>
#include <linux/types.h>

/* How an area of vmalloc was allocated, as it is handed over. */
enum kho_vm_flags {
	KHO_VM_ALLOC = 1,
	KHO_VM_HUGE = 2,
};

struct kho_vm_area {
	unsigned int nr_pages;
	/* Of each of its extents. */
	unsigned int order;
	unsigned int flags;
};

/* In C, for Rust. */
int kho_page_nid(u64 pfn);
u64 kho_page_mark(u64 pfn);
bool kho_page_take(u64 pfn, u64 mark);
void kho_page_give_back(u64 pfn, u64 mark);
void kho_page_init(u64 pfn, u64 nr);
struct folio *kho_page_init_folio(u64 pfn, unsigned int order);
void kho_put_folio(struct folio *folio);
struct folio *kho_alloc_folio(unsigned int order);
bool kho_page_same_zone(u64 one, u64 other);
void kho_page_account(u64 pfn, u64 nr);
bool kho_is_memory(u64 phys, u64 size);
void kho_copy_memory(void *to, u64 phys, size_t size);
int kho_vm_find(const void *ptr, struct kho_vm_area *found);
u64 kho_vm_pfn(const void *ptr, unsigned int page);
void *kho_vm_map(const u64 *pfns, size_t nr, unsigned int order, unsigned int flags);

/* An extent: the number of its first page, and its order in the upper bits. */
#define KHO_EXTENT_ORDER_SHIFT	52

/* In Rust, for C. */
int kho_preserve_extents(const u64 *extents, unsigned int nr);
void kho_unpreserve_extents(const u64 *extents, unsigned int nr);
unsigned int kho_claim_folios(const u64 *pfns, unsigned int nr, unsigned int max_order,
			      struct folio **folios);
u64 kho_rust_root(void);
bool kho_rust_is_free(u64 pfn, unsigned int order);
int kho_rust_preserve(u64 pfn, u64 nr);
void kho_rust_unpreserve(u64 pfn, u64 nr);
bool kho_rust_claim(u64 pfn, u64 nr);
bool kho_scratch_overlap(phys_addr_t phys, size_t size);

#endif
