/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What KHO in Rust and the code around it call of each other while the kernel boots.
 *
 * Pages are given by their numbers, ranges of them without their end.
 */

#ifndef _LINUX_KHO_BOOT_H
#define _LINUX_KHO_BOOT_H

#include <linux/kexec_handover.h>
#include <linux/mmzone.h>
#include <linux/types.h>

enum {
	/* struct pages are initialised, and memory is reserved, in blocks that the buddy allocator keeps apart. */
	KHO_BOOT_BLOCK_ORDER = MAX_PAGE_ORDER,
	/* So many ranges are kept at most. */
	KHO_BOOT_MAX_KEPT = 2048,
};

/* What a page is that is not free. */
enum kho_boot_use {
	/* No memory, or none that the kernel knew when it booted. */
	KHO_BOOT_ABSENT,
	/* Memory that the kernel that boots allocates. */
	KHO_BOOT_SCRATCH,
	KHO_BOOT_USED,
};

/* What there is around a page, up to where something else begins. */
struct kho_boot_area {
	u64 start;
	u64 end;
	/* Memory of one node that nobody has, and nobody may get but by a reservation. */
	bool is_free;
};

/* In C, for Rust. */
void kho_boot_area(u64 pfn, struct kho_boot_area *area);
enum kho_boot_use kho_boot_use(u64 pfn);
u64 kho_boot_end(void);
void *kho_boot_table(u64 pfn);
int kho_boot_mark_scratch(u64 start, u64 end);
void *kho_boot_alloc(size_t size);
void kho_boot_free(void *memory, size_t size);
void kho_boot_init_pages(u64 start, u64 end);
int kho_boot_reserve(u64 start, u64 end);
u64 kho_boot_mark(u64 pfn);
void kho_boot_set_mark(u64 pfn, u64 mark);
u64 kho_boot_find_mark(u64 start, u64 end);
void kho_boot_release(u64 start, u64 end);
u64 *kho_boot_kept(void);

/* Where scratch memory is looked for: here, or on a node. */
enum kho_boot_place {
	KHO_BOOT_LOW = -2,
	KHO_BOOT_ANY = -1,
};

extern struct kho_scratch *kho_areas;
extern unsigned int kho_nr_areas;

extern struct kho_scratch *kho_memory;
extern unsigned int kho_nr_memory;

int kho_boot_remember_memory(void);
int kho_boot_new_areas(void);
int kho_boot_new_area(int place, u64 size, u64 align);
void kho_boot_drop_areas(void);
u64 kho_boot_allocated(int place);
int kho_boot_next_node(int node);
void *kho_boot_map(u64 phys, size_t size);
void kho_boot_unmap(void *mapped, size_t size);
int kho_boot_adopt_area(u64 phys, u64 size);
int kho_boot_adopt(u64 areas, unsigned int nr);
bool kho_boot_use_adopted(void);
void kho_lend_areas(void);
void kho_give_up_areas(void);
bool kho_boot_is_kdump(void);
const char *kho_release(void);

/* In Rust, for C. */
#ifdef CONFIG_KEXEC_HANDOVER_RUST
void kho_memory_release(void);
#else
static inline void kho_memory_release(void) { }
#endif

#endif
