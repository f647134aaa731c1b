// SPDX-License-Identifier: GPL-2.0-only
/* What the live update abstractions need of C macros, inline functions and C-only layouts. */

#ifdef CONFIG_LIVEUPDATE

#include <linux/fs.h>
#include <linux/io.h>
#include <linux/kexec.h>
#include <linux/kexec_handover.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pagemap.h>

/*
 * What kexec_handover.c leaves in page->private of the first page of each preserved extent until
 * it is restored. It is private to that file, but nothing else tells whether an address that the
 * previous kernel wrote down is one that it preserved.
 */
union luo_kho_page_info {
	unsigned long page_private;
	struct {
		unsigned int order;
		unsigned int magic;
	};
};

#define LUO_KHO_PAGE_MAGIC 0x4b484f50U

static inline bool luo_kho_is_preserved(struct page *page, unsigned int max_order)
{
	union luo_kho_page_info info = { .page_private = READ_ONCE(page->private) };

	return info.magic == LUO_KHO_PAGE_MAGIC && info.order <= max_order;
}

/*
 * Takes over what is preserved at @pa, if it is of an order up to @max_order, or returns NULL. KHO
 * tests and clears its mark in two steps, hence the page's lock: two claims of one page must not
 * both pass the test.
 */
__rust_helper struct folio *rust_helper_kho_claim_folio(phys_addr_t pa, unsigned int max_order)
{
	struct folio *folio = NULL;
	struct page *page;

	if (!PAGE_ALIGNED(pa))
		return NULL;
	page = pfn_to_online_page(PHYS_PFN(pa));
	if (!page || !luo_kho_is_preserved(page, max_order) || !trylock_page(page))
		return NULL;
	if (luo_kho_is_preserved(page, max_order))
		folio = kho_restore_folio(pa);
	unlock_page(page);

	return folio;
}

__rust_helper void *rust_helper_folio_address(struct folio *folio)
{
	return folio_address(folio);
}

__rust_helper void rust_helper_kho_folio_free(void *mem)
{
	folio_put(virt_to_folio(mem));
}

__rust_helper phys_addr_t rust_helper_kho_virt_to_phys(void *mem)
{
	return virt_to_phys(mem);
}

/* The caller holds the kexec lock, so that kexec_image stays what it is. */
__rust_helper bool rust_helper_kexec_image_carries_kho(void)
{
	return kexec_image && kexec_image->kho.fdt;
}

__rust_helper bool rust_helper_liveupdate_module_get(struct module *module)
{
	return try_module_get(module);
}

__rust_helper void rust_helper_liveupdate_module_put(struct module *module)
{
	module_put(module);
}

#endif
