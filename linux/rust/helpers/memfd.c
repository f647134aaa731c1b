// SPDX-License-Identifier: GPL-2.0-only
/* What the abstractions of folios and shared memory need of macros, inline functions and the memory manager's own header. */

#if defined(CONFIG_LIVEUPDATE_RUST) && defined(CONFIG_LIVEUPDATE_MEMFD)

#include <linux/backing-dev.h>
#include <linux/file.h>
#include <linux/folio_batch.h>
#include <linux/fs.h>
#include <linux/highmem.h>
#include <linux/jiffies.h>
#include <linux/kho_pages.h>
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

__rust_helper void rust_helper_folio_zero(struct folio *folio)
{
	folio_zero_range(folio, 0, folio_size(folio));
	flush_dcache_folio(folio);
}

/* -EXDEV is true of all of a block of pages, and @good is the last one where it was not. */
static int folio_settle(struct folio *folio, struct address_space *mapping, unsigned long *good)
{
	unsigned long block = folio_pfn(folio) >> pageblock_order;
	int err = 0;

	if (block != *good) {
		if (!folio_is_longterm_pinnable(folio))
			return -EXDEV;
		*good = block;
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

/*
 * Makes sure that the folios of a batch are part of @mapping, and with contents. From then on they
 * stay: who takes a folio out locks it, and then looks for references. Of each, @extents becomes its
 * pages and @indices its place. Returns how many have been settled, and in @err why the next is not:
 * -ENOENT, it is in swap; -EXDEV, it lies where it cannot stay for long; -EAGAIN, it is not part of
 * @mapping any more; -EHWPOISON.
 */
__rust_helper unsigned int rust_helper_folios_settle(struct folio_batch *fbatch,
						     struct address_space *mapping,
						     u64 *extents, pgoff_t *indices, int *err)
{
	unsigned long good = ULONG_MAX;
	unsigned int i;

	for (i = 0; i < folio_batch_count(fbatch); i++) {
		struct folio *folio = fbatch->folios[i];

		*err = xa_is_value(folio) ? -ENOENT : folio_settle(folio, mapping, &good);
		if (*err)
			break;
		extents[i] = folio_pfn(folio) | (u64)folio_order(folio) << KHO_EXTENT_ORDER_SHIFT;
		indices[i] = folio->index;
	}

	return i;
}

/* Gives back what is left of a batch. */
__rust_helper void rust_helper_folio_batch_put(struct folio_batch *fbatch, unsigned int from)
{
	for (; from < folio_batch_count(fbatch); from++) {
		if (!xa_is_value(fbatch->folios[from]))
			folio_put(fbatch->folios[from]);
	}
}

__rust_helper void rust_helper_folio_get(struct folio *folio)
{
	folio_get(folio);
}

__rust_helper void rust_helper_folio_put(struct folio *folio)
{
	folio_put(folio);
}

/*
 * Returns how many were charged, up to the first that the caller's group has no room for. Who is at
 * the limit gets an error, and is not killed: the call can be repeated.
 */
__rust_helper unsigned int rust_helper_folios_charge(struct folio **folios, unsigned int nr)
{
	unsigned int i;

	for (i = 0; i < nr; i++) {
		if (mem_cgroup_charge(folios[i], NULL, GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN))
			break;
	}

	return i;
}

__rust_helper void rust_helper_folios_uncharge(struct folio **folios, unsigned int nr)
{
	unsigned int i;

	for (i = 0; i < nr; i++)
		mem_cgroup_uncharge(folios[i]);
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

/* As find_get_entries(), which looks at every slot that a large folio takes. */
__rust_helper unsigned int rust_helper_find_get_entries(struct address_space *mapping, pgoff_t *start,
							pgoff_t end, struct folio_batch *fbatch,
							pgoff_t *indices)
{
	XA_STATE(xas, &mapping->i_pages, *start);
	struct folio *folio;

	folio_batch_init(fbatch);
	rcu_read_lock();
	xas_for_each(&xas, folio, end) {
		if (xas_retry(&xas, folio))
			continue;
		if (xa_is_value(folio)) {
			*start = (xas.xa_index | ((1UL << xas_get_order(&xas)) - 1)) + 1;
		} else {
			if (!folio_try_get(folio)) {
				xas_reset(&xas);
				continue;
			}
			if (unlikely(folio != xas_reload(&xas))) {
				folio_put(folio);
				xas_reset(&xas);
				continue;
			}
			*start = folio_next_index(folio);
		}
		indices[folio_batch_count(fbatch)] = xas.xa_index;
		if (!folio_batch_add(fbatch, folio))
			break;
		xas_advance(&xas, *start - 1);
	}
	rcu_read_unlock();

	return folio_batch_count(fbatch);
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

__rust_helper bool rust_helper_fatal_signal_pending_current(void)
{
	return fatal_signal_pending(current);
}

__rust_helper void rust_helper_cond_resched(void)
{
	cond_resched();
}

#endif
