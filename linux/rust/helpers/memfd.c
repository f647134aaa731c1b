// SPDX-License-Identifier: GPL-2.0-only
/* What the abstractions of folios and shared memory need of macros, inline functions and the memory manager's own header. */

#ifdef CONFIG_LIVEUPDATE_MEMFD

#include <linux/backing-dev.h>
#include <linux/file.h>
#include <linux/folio_batch.h>
#include <linux/fs.h>
#include <linux/highmem.h>
#include <linux/jiffies.h>
#include <linux/memcontrol.h>
#include <linux/memfd.h>
#include <linux/pagemap.h>
#include <linux/sched/signal.h>
#include <linux/shmem_fs.h>
#include <linux/swap.h>
#include <uapi/linux/memfd.h>

#include "../../mm/internal.h"

/* Without support for large folios it is 0, whatever the page cache itself could hold. */
__rust_helper unsigned int rust_helper_max_folio_order(void)
{
	return IS_ENABLED(CONFIG_TRANSPARENT_HUGEPAGE) ? MAX_PAGECACHE_ORDER : 0;
}

__rust_helper unsigned long rust_helper_folio_pfn(struct folio *folio)
{
	return folio_pfn(folio);
}

__rust_helper struct folio *rust_helper_pfn_folio(unsigned long pfn)
{
	return pfn_folio(pfn);
}

__rust_helper bool rust_helper_pfns_share_node(unsigned long first, unsigned long last)
{
	return pfn_to_nid(first) == pfn_to_nid(last);
}

__rust_helper unsigned int rust_helper_folio_order(struct folio *folio)
{
	return folio_order(folio);
}

__rust_helper unsigned long rust_helper_folio_index(struct folio *folio)
{
	return folio->index;
}

__rust_helper void rust_helper_folio_mark_uptodate(struct folio *folio)
{
	folio_mark_uptodate(folio);
}

__rust_helper void rust_helper_folio_zero(struct folio *folio)
{
	folio_zero_range(folio, 0, folio_size(folio));
	flush_dcache_folio(folio);
}

/*
 * Makes sure that a referenced folio is part of @mapping, or returns -EAGAIN. From then on it stays:
 * who takes a folio out locks it, and then looks for references. -EXDEV: it lies where it cannot stay
 * for long; that is so for all of a block, and @block is the last one that was found to be good.
 */
__rust_helper int rust_helper_folio_settle(struct folio *folio, struct address_space *mapping,
					   unsigned long *block)
{
	unsigned long here = folio_pfn(folio) >> pageblock_order;
	int err = 0;

	if (here != *block) {
		if (!folio_is_longterm_pinnable(folio))
			return -EXDEV;
		*block = here;
	}
	folio_lock(folio);
	if (folio->mapping != mapping) {
		err = -EAGAIN;
	} else if (folio_contain_hwpoisoned_page(folio)) {
		err = -EHWPOISON;
	} else if (!folio_test_uptodate(folio)) {
		/* Fallocated pages hold what their last owner left until somebody uses them. */
		rust_helper_folio_zero(folio);
		folio_mark_uptodate(folio);
	}
	folio_unlock(folio);

	return err;
}

__rust_helper void rust_helper_folio_get(struct folio *folio)
{
	folio_get(folio);
}

__rust_helper void rust_helper_folio_put(struct folio *folio)
{
	folio_put(folio);
}

__rust_helper void rust_helper_folio_unlock(struct folio *folio)
{
	folio_unlock(folio);
}

/* For a folio that nobody else can find: locked and swap-backed without atomic operations. */
__rust_helper void rust_helper_folio_prepare_shmem(struct folio *folio)
{
	__folio_set_locked(folio);
	__folio_set_swapbacked(folio);
	if (folio_test_large(folio))
		folio_set_large_rmappable(folio);
}

/* Who is at the limit gets an error, and is not killed: the call can be repeated. */
__rust_helper int rust_helper_mem_cgroup_charge_current(struct folio *folio)
{
	return mem_cgroup_charge(folio, NULL, GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN);
}

__rust_helper void rust_helper_mem_cgroup_uncharge(struct folio *folio)
{
	mem_cgroup_uncharge(folio);
}

__rust_helper struct inode *rust_helper_shmem_file_inode(struct file *file)
{
	return shmem_file(file) ? file_inode(file) : NULL;
}

__rust_helper bool rust_helper_inode_is_unlinked(struct inode *inode)
{
	return !inode->i_nlink;
}

__rust_helper bool rust_helper_inode_is_executable(struct inode *inode)
{
	return inode->i_mode & 0111;
}

__rust_helper loff_t rust_helper_i_size_read(struct inode *inode)
{
	return i_size_read(inode);
}

__rust_helper void rust_helper_i_size_write(struct inode *inode, loff_t size)
{
	i_size_write(inode, size);
}

__rust_helper struct file *rust_helper_memfd_alloc(bool executable)
{
	return memfd_alloc_file("", executable ? MFD_ALLOW_SEALING : MFD_NOEXEC_SEAL);
}

/*
 * Who writes to the file holds its lock while he reads what he writes, which may be on a page that
 * somebody else has to provide. So the lock is asked for, and not waited for.
 */
__rust_helper int rust_helper_shmem_freeze_mapping(struct inode *inode)
{
	unsigned long end = jiffies + HZ;

	while (!inode_trylock(inode)) {
		if (time_after(jiffies, end))
			return -EBUSY;
		schedule_timeout_killable(1);
		if (fatal_signal_pending(current))
			return -EINTR;
	}
	shmem_freeze(inode, true);
	inode_unlock(inode);

	return 0;
}

/* Nobody else changes the flags of a memfd. */
__rust_helper void rust_helper_shmem_unfreeze_mapping(struct inode *inode)
{
	shmem_freeze(inode, false);
}

__rust_helper void rust_helper_shmem_freeze_contents(struct inode *inode, bool freeze)
{
	shmem_freeze_contents(inode, freeze);
}

/* Never less than there are: on its way to or from swap a page may be counted twice. */
__rust_helper unsigned long rust_helper_shmem_nr_pages(struct inode *inode)
{
	return READ_ONCE(inode->i_mapping->nrpages) + READ_ONCE(SHMEM_I(inode)->swapped);
}

__rust_helper unsigned int rust_helper_find_get_entries(struct address_space *mapping, pgoff_t *start,
							pgoff_t end, struct folio_batch *fbatch,
							pgoff_t *indices)
{
	folio_batch_init(fbatch);
	return find_get_entries(mapping, start, end, fbatch, indices);
}

__rust_helper bool rust_helper_xa_is_value(const void *entry)
{
	return xa_is_value(entry);
}

__rust_helper int rust_helper_shmem_swap_in(struct inode *inode, pgoff_t index)
{
	struct folio *folio = NULL;
	int err = shmem_get_folio(inode, index, 0, &folio, SGP_NOALLOC);

	if (folio) {
		folio_unlock(folio);
		folio_put(folio);
	}

	return err;
}

__rust_helper int rust_helper_shmem_acct_blocks(struct inode *inode, long pages)
{
	return shmem_inode_acct_blocks(inode, pages);
}

__rust_helper void rust_helper_shmem_recalc(struct inode *inode, long alloced)
{
	shmem_recalc_inode(inode, alloced, 0);
}

__rust_helper int rust_helper_shmem_insert(struct folio *folio, struct inode *inode, pgoff_t index)
{
	struct address_space *mapping = inode->i_mapping;

	return shmem_add_to_page_cache(folio, mapping, index, NULL, mapping_gfp_mask(mapping));
}

__rust_helper bool rust_helper_fatal_signal_pending_current(void)
{
	return fatal_signal_pending(current);
}

__rust_helper void rust_helper_cond_resched(void)
{
	cond_resched();
}

#endif
