// SPDX-License-Identifier: GPL-2.0
/*
 * The kernel around the driver: one file, one device node, the platform bus,
 * debugfs, and the fault injector's end of the marks.
 */
#include <linux/fs.h>

#include "aio_model.h"
#include "aiotorture.h"
#include "at_decide.h"

#define MAX_DEBUGFS_FILES 16

static struct file *the_file;
static struct miscdevice *the_misc;
static struct platform_driver *the_driver;
static struct platform_device *the_device;
static struct {
	const char *name;
	void *data;
	const struct file_operations *fops;
} debugfs[MAX_DEBUGFS_FILES];
static unsigned int nr_debugfs;

static int (*module_init_fn)(void);

void at_module_init(int (*init)(void))
{
	module_init_fn = init;
}

void at_module_exit(void (*exit)(void))
{
	(void)exit;
}

void at_driver_load(void)
{
	the_file = NULL;
	the_misc = NULL;
	the_device = NULL;
	nr_debugfs = 0;
	if (module_init_fn())
		at_warning("module_init", "the driver does not load", AT_HERE);
}

/* ------------------------------------------- fs/file.c, fs/file_table.c */

struct file *at_fget(int fd)
{
	(void)fd;
	atomic_long_inc(&the_file->f_count);
	return the_file;
}

/* ____fput() runs as task work or, from an interrupt, as delayed_fput() */
static void __fput(struct work_struct *work)
{
	struct file *filp = container_of(work, struct file, fput_work);

	filp->f_op->release(NULL, filp);
	kfree(filp);
}

void fput(struct file *filp)
{
	if (atomic_long_dec_and_test(&filp->f_count))
		queue_work(NULL, &filp->fput_work);
}

void at_open(void)
{
	struct file *filp = kzalloc(sizeof(*filp), GFP_KERNEL);

	filp->f_op = the_misc->fops;
	filp->private_data = the_misc;
	filp->f_mode = FMODE_READ | FMODE_WRITE;
	atomic_long_set(&filp->f_count, 1);
	INIT_WORK(&filp->fput_work, __fput);
	filp->f_op->open(NULL, filp);
	the_file = filp;
}

void at_close(void)
{
	fput(the_file);
}

/* ------------------------------------------------- devices and debugfs */

int at_misc_register(struct miscdevice *misc)
{
	the_misc = misc;
	return 0;
}

void at_misc_deregister(struct miscdevice *misc)
{
	(void)misc;
}

int at_platform_driver_register(struct platform_driver *drv)
{
	the_driver = drv;
	return 0;
}

struct platform_device *at_platform_device_register(const struct platform_device_info *info)
{
	the_device = kzalloc(sizeof(*the_device), GFP_KERNEL);
	the_device->id = info->id;
	if (the_driver->probe(the_device))
		at_warning("probe", "the device does not come up", AT_HERE);
	return the_device;
}

void at_platform_device_unregister(struct platform_device *pdev)
{
	if (pdev)
		the_driver->remove(pdev);
}

void at_unbind(void)
{
	the_driver->remove(the_device);
}

void at_debugfs_file(const char *name, void *data, const struct file_operations *fops)
{
	if (nr_debugfs == MAX_DEBUGFS_FILES)
		return;
	debugfs[nr_debugfs].name = name;
	debugfs[nr_debugfs].data = data;
	debugfs[nr_debugfs].fops = fops;
	nr_debugfs++;
}

int at_books(const char *name)
{
	unsigned int i;

	for (i = 0; i < nr_debugfs; i++) {
		struct seq_file m = { .private = debugfs[i].data };

		if (!__builtin_strcmp(debugfs[i].name, name) && debugfs[i].fops->show)
			return debugfs[i].fops->show(&m, NULL);
	}
	return -ENOENT;
}

void at_unplug(void)
{
	unsigned int i;

	for (i = 0; i < nr_debugfs; i++)
		if (debugfs[i].fops->set)
			debugfs[i].fops->set(debugfs[i].data, 1);
}

/* ------------------------------------------------------ fail_injector.ko */

static bool injector_mark(struct at_client *client, enum at_racer racer, enum at_phase phase,
			  u32 cookie, bool may_sleep, struct at_outcome *out)
{
	u32 actions = at_phase_actions(phase);
	u64 random;

	(void)client;
	(void)may_sleep;
	/* what a delay of the driver's does, the scheduler does anyway */
	if (!at_phase_of_device(phase))
		actions &= ~AT_BIT(AT_DELAY);
	at_reached(phase, AT_COOKIE_SLOT(cookie));
	at_remark("zcdma", 0, "%s at %s, cookie 0x%x", at_racer_name(racer), at_phase_name(phase),
		  cookie);
	if (!actions || !out)
		return false;
	out->action = at_choose_fault(actions, phase, &random);
	if (out->action == AT_NONE)
		return false;
	at_fault_fired(out->action);
	at_remark("zcdma", 0, "fault %s %s", at_phase_name(phase), at_action_name(out->action));
	out->err = -at_default_errno(phase);
	out->cpu = 1;
	out->delay_ns = out->action == AT_DELAY || out->action == AT_LATE ? NSEC_PER_MSEC : 0;
	out->random = random;
	return true;
}

/* Every order of steps is the scheduler's to find: nothing is held. */
static u64 injector_hold(struct at_client *client, enum at_racer racer, enum at_phase phase,
			 u32 cookie)
{
	(void)client;
	(void)racer;
	(void)phase;
	(void)cookie;
	return 0;
}

static bool injector_threaded(struct at_client *client, u32 cookie)
{
	(void)client;
	(void)cookie;
	return false;
}

static void injector_stall(struct at_client *client)
{
	(void)client;
}

static void injector_put(struct at_client *client)
{
	client->armed->enabled = false;
	client->put = NULL;
}

int fail_injector_attach(struct at_client *client)
{
	client->mark = injector_mark;
	client->hold = injector_hold;
	client->threaded = injector_threaded;
	client->stall = injector_stall;
	client->put = injector_put;
	client->armed->enabled = true;
	return 0;
}
