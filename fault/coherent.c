// SPDX-License-Identifier: GPL-2.0
/*
 * Coherent memory that modules with marks hold
 *
 * It is pages, and no table says who asked for them.  So buffers of devices
 * whose driver belongs to such a module are counted, where dma_alloc_attrs()
 * returns one and where dma_free_attrs() is called (kernel/dma/mapping.c).  The
 * file dma-coherent tells how many there are; where the probes could not be
 * placed, or one was missed, it has no answer (ENODATA).
 */
#include <linux/device.h>

#define AT_OWNERS	8

static struct module *owners[AT_OWNERS];	/* written under injector.lock */
static atomic_t coherent_buffers;
static bool coherent_placed;

/* @owner goes away no sooner than a grace period after it has left. */
static void own_devices(struct module *owner, struct module *instead)
{
	unsigned int i;

	for (i = 0; i < AT_OWNERS; i++)
		if (owners[i] == instead) {
			WRITE_ONCE(owners[i], owner);
			return;
		}
}

static bool is_owned(struct pt_regs *regs)
{
	struct device *dev = (struct device *)regs_get_kernel_argument(regs, 0);
	struct device_driver *driver = dev ? READ_ONCE(dev->driver) : NULL;
	unsigned int i;

	for (i = 0; driver && driver->owner && i < AT_OWNERS; i++)
		if (READ_ONCE(owners[i]) == driver->owner)
			return true;
	return false;
}
NOKPROBE_SYMBOL(is_owned);

/* Not 0: nothing is done at the return. */
static int coherent_asked(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	return !is_owned(regs);
}
NOKPROBE_SYMBOL(coherent_asked);

static int coherent_given(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	if (regs_return_value(regs))
		atomic_inc(&coherent_buffers);
	return 0;
}
NOKPROBE_SYMBOL(coherent_given);

static int coherent_freed(struct kprobe *probe, struct pt_regs *regs)
{
	if (is_owned(regs) && regs_get_kernel_argument(regs, 2))
		atomic_dec(&coherent_buffers);
	return 0;
}
NOKPROBE_SYMBOL(coherent_freed);

static struct kretprobe coherent_alloc_probe = {
	.kp.symbol_name = "dma_alloc_attrs",
	.entry_handler = coherent_asked,
	.handler = coherent_given,
};

static struct kprobe coherent_free_probe = {
	.symbol_name = "dma_free_attrs",
	.pre_handler = coherent_freed,
};

static void place_coherent_probes(void)
{
	if (register_kretprobe(&coherent_alloc_probe))
		return;
	if (register_kprobe(&coherent_free_probe)) {
		unregister_kretprobe(&coherent_alloc_probe);
		return;
	}
	coherent_placed = true;
}

static void remove_coherent_probes(void)
{
	if (!coherent_placed)
		return;
	unregister_kprobe(&coherent_free_probe);
	unregister_kretprobe(&coherent_alloc_probe);
}

static int coherent_get(void *unused, u64 *value)
{
	if (!coherent_placed || coherent_alloc_probe.nmissed || coherent_free_probe.nmissed)
		return -ENODATA;
	*value = atomic_read(&coherent_buffers);
	return 0;
}

DEFINE_DEBUGFS_ATTRIBUTE(coherent_fops, coherent_get, NULL, "%lld\n");
