// SPDX-License-Identifier: GPL-2.0-only
/* Lets modules call the functions that Rust defines. */

#include <linux/export.h>
#include <linux/liveupdate.h>

EXPORT_SYMBOL_GPL(liveupdate_enabled);
EXPORT_SYMBOL_GPL(liveupdate_register_file_handler);
EXPORT_SYMBOL_GPL(liveupdate_unregister_file_handler);
EXPORT_SYMBOL_GPL(liveupdate_register_flb);
EXPORT_SYMBOL_GPL(liveupdate_unregister_flb);
EXPORT_SYMBOL_GPL(liveupdate_flb_get_incoming);
EXPORT_SYMBOL_GPL(liveupdate_flb_put_incoming);
EXPORT_SYMBOL_GPL(liveupdate_flb_get_outgoing);
EXPORT_SYMBOL_GPL(liveupdate_flb_put_outgoing);
