// SPDX-License-Identifier: GPL-2.0-only
/*
 * A file handler and an FLB whose every answer can be set from user space, to bring LUO into the
 * situations that the handlers in the tree never get into.
 *
 * /dev/luo_probe makes preservable files; the 8 bytes written to one are read back from it, in the
 * next kernel too. /sys/kernel/debug/luo_probe has the answers (files that can be written) and
 * counts the calls (files that can only be read).
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/anon_inodes.h>
#include <linux/debugfs.h>
#include <linux/fs.h>
#include <linux/liveupdate.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/uaccess.h>

/* What the callbacks answer: an errno (positive), 0 for success. */
static u32 fail_preserve, fail_freeze, fail_retrieve, fail_flb_preserve, fail_flb_retrieve;
static bool can_finish = true;

/* How often each callback was called and succeeded. */
static u32 nr_preserved, nr_unpreserved, nr_frozen, nr_unfrozen, nr_retrieved, nr_finished;
static u32 nr_flb_preserved, nr_flb_unpreserved, nr_flb_retrieved, nr_flb_finished;

#define PROBE_FLB_DATA 0x1badb002cafef00dULL

static ssize_t probe_read(struct file *file, char __user *buf, size_t len, loff_t *pos)
{
	u64 value = (unsigned long)file->private_data;
	loff_t from = 0;

	return simple_read_from_buffer(buf, len, &from, &value, sizeof(value));
}

static ssize_t probe_write(struct file *file, const char __user *buf, size_t len, loff_t *pos)
{
	u64 value;

	if (len != sizeof(value))
		return -EINVAL;
	if (copy_from_user(&value, buf, sizeof(value)))
		return -EFAULT;
	file->private_data = (void *)(unsigned long)value;
	return len;
}

static int probe_open(struct inode *inode, struct file *file)
{
	file->private_data = NULL;
	return 0;
}

static const struct file_operations probe_fops = {
	.owner = THIS_MODULE,
	.open = probe_open,
	.read = probe_read,
	.write = probe_write,
};

static struct miscdevice probe_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "luo_probe",
	.fops = &probe_fops,
};

static bool probe_can_preserve(struct liveupdate_file_handler *handler, struct file *file)
{
	return file->f_op->write == probe_write;
}

static int probe_preserve(struct liveupdate_file_op_args *args)
{
	if (fail_preserve)
		return -(int)fail_preserve;
	args->serialized_data = (unsigned long)args->file->private_data;
	nr_preserved++;
	return 0;
}

static void probe_unpreserve(struct liveupdate_file_op_args *args)
{
	nr_unpreserved++;
}

static int probe_freeze(struct liveupdate_file_op_args *args)
{
	u64 value = (unsigned long)args->file->private_data;

	/* Only the file that holds the errno refuses, so that others can be frozen before it. */
	if (fail_freeze && value == fail_freeze)
		return -(int)fail_freeze;
	args->serialized_data = value;
	nr_frozen++;
	return 0;
}

static void probe_unfreeze(struct liveupdate_file_op_args *args)
{
	nr_unfrozen++;
}

static int probe_retrieve(struct liveupdate_file_op_args *args)
{
	struct file *file;

	if (fail_retrieve)
		return -(int)fail_retrieve;
	file = anon_inode_getfile("[luo_probe]", &probe_fops,
				  (void *)(unsigned long)args->serialized_data, O_RDWR);
	if (IS_ERR(file))
		return PTR_ERR(file);
	args->file = file;
	nr_retrieved++;
	return 0;
}

static bool probe_can_finish(struct liveupdate_file_op_args *args)
{
	return can_finish;
}

static void probe_finish(struct liveupdate_file_op_args *args)
{
	nr_finished++;
}

static const struct liveupdate_file_ops probe_ops = {
	.can_preserve = probe_can_preserve,
	.preserve = probe_preserve,
	.unpreserve = probe_unpreserve,
	.freeze = probe_freeze,
	.unfreeze = probe_unfreeze,
	.retrieve = probe_retrieve,
	.can_finish = probe_can_finish,
	.finish = probe_finish,
	.owner = THIS_MODULE,
};

static struct liveupdate_file_handler probe_handler = {
	.ops = &probe_ops,
	.compatible = "luo-probe-v1",
};

static int probe_flb_preserve(struct liveupdate_flb_op_args *args)
{
	if (fail_flb_preserve)
		return -(int)fail_flb_preserve;
	args->data = PROBE_FLB_DATA;
	args->obj = &probe_handler;
	nr_flb_preserved++;
	return 0;
}

static void probe_flb_unpreserve(struct liveupdate_flb_op_args *args)
{
	nr_flb_unpreserved++;
}

static int probe_flb_retrieve(struct liveupdate_flb_op_args *args)
{
	if (fail_flb_retrieve)
		return -(int)fail_flb_retrieve;
	if (args->data != PROBE_FLB_DATA)
		return -EINVAL;
	args->obj = &probe_handler;
	nr_flb_retrieved++;
	return 0;
}

static void probe_flb_finish(struct liveupdate_flb_op_args *args)
{
	nr_flb_finished++;
}

static const struct liveupdate_flb_ops probe_flb_ops = {
	.preserve = probe_flb_preserve,
	.unpreserve = probe_flb_unpreserve,
	.retrieve = probe_flb_retrieve,
	.finish = probe_flb_finish,
	.owner = THIS_MODULE,
};

static struct liveupdate_flb probe_flb = {
	.ops = &probe_flb_ops,
	.compatible = "luo-probe-flb-v1",
};

/* Writing 1 borrows the FLB's object, writing 0 gives it back; the errno is that of LUO. */
static int hold_outgoing(void *data, u64 hold)
{
	void *obj;

	if (hold)
		return liveupdate_flb_get_outgoing(&probe_flb, &obj);
	liveupdate_flb_put_outgoing(&probe_flb);
	return 0;
}
DEFINE_DEBUGFS_ATTRIBUTE(hold_outgoing_fops, NULL, hold_outgoing, "%llu\n");

static int hold_incoming(void *data, u64 hold)
{
	void *obj;

	if (hold)
		return liveupdate_flb_get_incoming(&probe_flb, &obj);
	liveupdate_flb_put_incoming(&probe_flb);
	return 0;
}
DEFINE_DEBUGFS_ATTRIBUTE(hold_incoming_fops, NULL, hold_incoming, "%llu\n");

static void __init probe_debugfs(void)
{
	struct dentry *dir = debugfs_create_dir("luo_probe", NULL);

	debugfs_create_u32("fail_preserve", 0600, dir, &fail_preserve);
	debugfs_create_u32("fail_freeze", 0600, dir, &fail_freeze);
	debugfs_create_u32("fail_retrieve", 0600, dir, &fail_retrieve);
	debugfs_create_u32("fail_flb_preserve", 0600, dir, &fail_flb_preserve);
	debugfs_create_u32("fail_flb_retrieve", 0600, dir, &fail_flb_retrieve);
	debugfs_create_bool("can_finish", 0600, dir, &can_finish);
	debugfs_create_file("hold_outgoing", 0200, dir, NULL, &hold_outgoing_fops);
	debugfs_create_file("hold_incoming", 0200, dir, NULL, &hold_incoming_fops);

	debugfs_create_u32("preserved", 0400, dir, &nr_preserved);
	debugfs_create_u32("unpreserved", 0400, dir, &nr_unpreserved);
	debugfs_create_u32("frozen", 0400, dir, &nr_frozen);
	debugfs_create_u32("unfrozen", 0400, dir, &nr_unfrozen);
	debugfs_create_u32("retrieved", 0400, dir, &nr_retrieved);
	debugfs_create_u32("finished", 0400, dir, &nr_finished);
	debugfs_create_u32("flb_preserved", 0400, dir, &nr_flb_preserved);
	debugfs_create_u32("flb_unpreserved", 0400, dir, &nr_flb_unpreserved);
	debugfs_create_u32("flb_retrieved", 0400, dir, &nr_flb_retrieved);
	debugfs_create_u32("flb_finished", 0400, dir, &nr_flb_finished);
}

static int __init probe_init(void)
{
	int err;

	err = liveupdate_register_file_handler(&probe_handler);
	if (err)
		return err == -EOPNOTSUPP ? 0 : err;
	err = liveupdate_register_flb(&probe_handler, &probe_flb);
	if (err)
		goto unregister;
	err = misc_register(&probe_device);
	if (err)
		goto unregister;
	probe_debugfs();
	return 0;

unregister:
	/* This removes the link to the FLB too. */
	liveupdate_unregister_file_handler(&probe_handler);
	return err;
}
late_initcall(probe_init);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("File handler and FLB for tests of LUO");
