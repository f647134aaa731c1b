// SPDX-License-Identifier: GPL-2.0-only
/* What the live update abstractions need of C macros, inline functions and C-only layouts. */

#ifdef CONFIG_LIVEUPDATE_RUST

#include <linux/fs.h>
#include <linux/io.h>
#include <linux/kexec.h>
#include <linux/kexec_handover.h>
#include <linux/libfdt.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pagemap.h>

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

__rust_helper void *rust_helper_kho_phys_to_virt(phys_addr_t phys)
{
	return phys_to_virt(phys);
}

__rust_helper int rust_helper_fdt_setprop(void *fdt, int node, const char *name,
					  const void *value, int len)
{
	return fdt_setprop(fdt, node, name, value, len);
}

__rust_helper loff_t rust_helper_liveupdate_file_size(struct file *file)
{
	return i_size_read(file_inode(file));
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
