/* SPDX-License-Identifier: GPL-2.0 */
/* Files, kiocbs, devices, modules, debugfs */
#ifndef MODEL_LINUX_FS_H
#define MODEL_LINUX_FS_H

#include <linux/mm.h>
#include <linux/timer.h>
#include <linux/wait.h>

#define KERNEL_VERSION(a, b, c)	(((a) << 16) + ((b) << 8) + (c))
#define LINUX_VERSION_CODE	KERNEL_VERSION(6, 1, 192)

#define FMODE_READ		0x1U
#define FMODE_WRITE		0x2U
#define FMODE_NOWAIT		0x8000000U
#define IOCB_NOWAIT		0x8
#define IOCB_WRITE		(1 << 6)
#define IOCB_AIO_RW		(1 << 23)

struct file;
struct inode;
struct seq_file;

struct kiocb {
	struct file *ki_filp;
	loff_t ki_pos;
	void (*ki_complete)(struct kiocb *iocb, long ret);
	void *private;
	int ki_flags;
};
typedef int (kiocb_cancel_fn)(struct kiocb *);
void kiocb_set_cancel_fn(struct kiocb *iocb, kiocb_cancel_fn *cancel);
#define is_sync_kiocb(iocb)	((iocb)->ki_complete == NULL)

struct module;
#define THIS_MODULE		((struct module *)NULL)

struct file_operations {
	struct module *owner;
	int (*open)(struct inode *inode, struct file *filp);
	int (*release)(struct inode *inode, struct file *filp);
	ssize_t (*read_iter)(struct kiocb *iocb, struct iov_iter *to);
	ssize_t (*write_iter)(struct kiocb *iocb, struct iov_iter *from);
	int (*fsync)(struct file *filp, loff_t start, loff_t end, int datasync);
	__poll_t (*poll)(struct file *filp, poll_table *wait);
	loff_t (*llseek)(struct file *filp, loff_t offset, int whence);
	/* debugfs */
	int (*show)(struct seq_file *m, void *unused);
	int (*set)(void *arg, u64 value);
};
struct file {
	const struct file_operations *f_op;
	void *private_data;
	fmode_t f_mode;
	atomic_long_t f_count;
	struct work_struct fput_work;
};
void fput(struct file *filp);
#define noop_llseek		NULL

struct task_struct;
#define current			((struct task_struct *)NULL)
#define task_pid_nr(task)	1

struct device {
	struct device *parent;
	void *driver_data;
};
struct miscdevice {
	int minor;
	const char *name;
	const struct file_operations *fops;
	umode_t mode;
	struct device *parent;
};
#define MISC_DYNAMIC_MINOR	255
#define misc_register(misc)	at_misc_register(misc)
#define misc_deregister(misc)	at_misc_deregister(misc)

struct platform_device {
	int id;
	struct device dev;
};
struct device_driver {
	const char *name;
};
struct platform_driver {
	int (*probe)(struct platform_device *pdev);
	int (*remove)(struct platform_device *pdev);
	struct device_driver driver;
};
struct platform_device_info {
	struct device *parent;
	const char *name;
	int id;
	u64 dma_mask;
};
#define platform_set_drvdata(pdev, p)	((pdev)->dev.driver_data = (p))
#define platform_get_drvdata(pdev)	((pdev)->dev.driver_data)
#define platform_driver_register(drv)	at_platform_driver_register(drv)
#define platform_driver_unregister(drv)	do { } while (0)
#define platform_device_register_full(info) at_platform_device_register(info)
#define platform_device_unregister(pdev) at_platform_device_unregister(pdev)
int at_misc_register(struct miscdevice *misc);
void at_misc_deregister(struct miscdevice *misc);
int at_platform_driver_register(struct platform_driver *drv);
struct platform_device *at_platform_device_register(const struct platform_device_info *info);
void at_platform_device_unregister(struct platform_device *pdev);

/* linux/module.h: what is loaded last is what runs, so that a mutant takes the driver's place */
#define module_init(f) \
	__attribute__((constructor)) static void at_register_init(void) { at_module_init(f); }
#define module_exit(f) \
	__attribute__((constructor)) static void at_register_exit(void) { at_module_exit(f); }
#define module_param_named(name, variable, type, mode)			\
	__attribute__((constructor)) static void at_register_##name(void) \
	{ at_module_param(#name, &variable, #type); }
#define module_param(name, type, mode)	module_param_named(name, name, type, mode)
#define MODULE_PARM_DESC(name, text)	struct at_unused_##name
#define MODULE_DESCRIPTION(text)	struct at_unused_description
#define MODULE_LICENSE(text)		struct at_unused_licence

#define symbol_get(symbol)	(&symbol)
#define symbol_put(symbol)	do { } while (0)

struct static_key_false {
	bool enabled;
};
#define DEFINE_STATIC_KEY_FALSE(key)	struct static_key_false key
#define static_branch_unlikely(key)	((key)->enabled)

static inline int match_string(const char *const *names, size_t n, const char *name)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (!__builtin_strcmp(names[i], name))
			return (int)i;
	return -EINVAL;
}

struct dentry;
struct seq_file {
	void *private;
};
#define seq_printf(m, format, ...)	at_books_printf(format, ##__VA_ARGS__)
#define seq_puts(m, text)		at_books_printf("%s", text)
#define seq_has_overflowed(m)		false
#define DEFINE_SHOW_ATTRIBUTE(name) \
	static const struct file_operations name##_fops = { .show = name##_show }
#define DEFINE_DEBUGFS_ATTRIBUTE(fops, getter, setter, format) \
	static const struct file_operations fops = { .set = setter }
#define debugfs_create_dir(name, parent) ((struct dentry *)NULL)
#define debugfs_create_file(name, mode, parent, data, fops) at_debugfs_file(name, data, fops)
#define debugfs_create_file_unsafe	debugfs_create_file
#define debugfs_remove(dentry)		((void)(dentry))
void at_debugfs_file(const char *name, void *data, const struct file_operations *fops);

#endif
