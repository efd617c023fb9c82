// SPDX-License-Identifier: GPL-2.0
/*
 * What the driver has taken and not given back, in debugfs
 *
 * Live requests, phases and references are counted by walking dev->live when
 * somebody asks: a request pays for its list entry alone, and a count cannot
 * drift from what it counts.  Pages and descriptors have counters of their
 * own, so that one that is lost with its request freed is seen too.
 */
#include <linux/debugfs.h>
#include <linux/ktime.h>
#include <linux/seq_file.h>

#include "zcdma.h"

static struct dentry *zc_books_root;

static const char * const zc_phase_names[AT_NR_PHASES] = {
	"submit", "pin", "map", "queue", "start", "irq",
	"complete", "cancel", "unmap", "unpin", "free",
};

static const char * const zc_holder_names[ZC_NR_HOLDERS] = {
	"submit", "engine", "cancel", "timeout", "core",
};

static void zc_show_count(struct seq_file *m, struct zc_dev *dev, const char *name,
			  enum zc_count which)
{
	seq_printf(m, "%s %lld\n", name, (long long)atomic64_read(&dev->counts[which]));
}

static u32 zc_free_descs(struct zc_dev *dev)
{
	u32 unused;

	spin_lock_irq(&dev->lock);
	unused = dev->size - (dev->tail - dev->clean) - dev->reserved;
	spin_unlock_irq(&dev->lock);
	return unused;
}

static int books_show(struct seq_file *m, void *unused)
{
	struct zc_dev *dev = m->private;
	unsigned int phases[AT_NR_PHASES] = { 0 };
	unsigned int refs[ZC_NR_HOLDERS] = { 0 };
	unsigned int i, live;
	struct zc_req *req;

	spin_lock_irq(&dev->live_lock);
	live = dev->nr_live;
	list_for_each_entry(req, &dev->live, live_node) {
		unsigned long holders = READ_ONCE(req->holders);

		phases[READ_ONCE(req->phase)]++;
		for (i = 0; i < ZC_NR_HOLDERS; i++)
			refs[i] += (holders >> i) & 1;
	}
	spin_unlock_irq(&dev->live_lock);

	zc_show_count(m, dev, "submitted", ZC_SUBMITTED);
	zc_show_count(m, dev, "completed", ZC_COMPLETED);
	zc_show_count(m, dev, "completed_ok", ZC_COMPLETED_OK);
	zc_show_count(m, dev, "completed_short", ZC_COMPLETED_SHORT);
	zc_show_count(m, dev, "completed_error", ZC_COMPLETED_ERROR);
	zc_show_count(m, dev, "completed_cancelled", ZC_COMPLETED_CANCELLED);
	zc_show_count(m, dev, "completed_timeout", ZC_COMPLETED_TIMEOUT);
	zc_show_count(m, dev, "completed_nodev", ZC_COMPLETED_NODEV);
	seq_printf(m, "live %u\n", live);
	for (i = 0; i < AT_NR_PHASES; i++)
		seq_printf(m, "live_%s %u\n", zc_phase_names[i], phases[i]);
	for (i = 0; i < ZC_NR_HOLDERS; i++)
		seq_printf(m, "ref_%s %u\n", zc_holder_names[i], refs[i]);
	seq_printf(m, "pinned_pages %ld\n", atomic_long_read(&dev->pinned_pages));
	seq_printf(m, "mapped_descs %ld\n", atomic_long_read(&dev->mapped_descs));
	seq_printf(m, "free_descs %u\n", zc_free_descs(dev));
	zc_show_count(m, dev, "engine_stops", ZC_ENGINE_STOPS);
	zc_show_count(m, dev, "engine_resets", ZC_ENGINE_RESETS);
	zc_show_count(m, dev, "engine_irqs", ZC_ENGINE_IRQS);
	zc_show_count(m, dev, "late_irqs", ZC_LATE_IRQS);
	zc_show_count(m, dev, "cancel_calls", ZC_CANCEL_CALLS);
	zc_show_count(m, dev, "illegal_steps", ZC_ILLEGAL_STEPS);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(books);

static void zc_show_holders(struct seq_file *m, unsigned long holders)
{
	const char *separator = "";
	unsigned int i;

	if (!holders)
		seq_puts(m, "-");
	for (i = 0; i < ZC_NR_HOLDERS; i++) {
		if (!(holders & BIT(i)))
			continue;
		seq_printf(m, "%s%s", separator, zc_holder_names[i]);
		separator = ",";
	}
}

static int requests_show(struct seq_file *m, void *unused)
{
	struct zc_dev *dev = m->private;
	ktime_t now = ktime_get();
	struct zc_req *req;

	spin_lock_irq(&dev->live_lock);
	list_for_each_entry(req, &dev->live, live_node) {
		if (seq_has_overflowed(m))
			break;	/* seq_read() comes again with a larger buffer */
		seq_printf(m, "cookie=0x%x slot=%u gen=%u phase=%s refs=",
			   req->cookie, AT_COOKIE_SLOT(req->cookie),
			   AT_COOKIE_GEN(req->cookie), zc_phase_names[READ_ONCE(req->phase)]);
		zc_show_holders(m, READ_ONCE(req->holders));
		seq_printf(m, " age_us=%lld op=%s sync=%d pid=%d len=%u desc=%u+%u result=%zd\n",
			   ktime_us_delta(now, req->born), req->to_device ? "write" : "read",
			   req->sync, req->pid, req->len,
			   READ_ONCE(req->first) & (dev->size - 1), READ_ONCE(req->count),
			   READ_ONCE(req->result));
	}
	spin_unlock_irq(&dev->live_lock);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(requests);

static int engine_show(struct seq_file *m, void *unused)
{
	static const struct {
		const char *name;
		enum zcdma_reg reg;
	} regs[] = {
		{ "status", ZCDMA_STATUS }, { "ring_lo", ZCDMA_RING_LO },
		{ "ring_hi", ZCDMA_RING_HI }, { "ring_size", ZCDMA_RING_SIZE },
		{ "head", ZCDMA_HEAD }, { "tail", ZCDMA_TAIL },
		{ "irq_status", ZCDMA_IRQ_STATUS }, { "mem_bytes", ZCDMA_MEM_BYTES },
	};
	struct zc_dev *dev = m->private;
	unsigned int i;

	seq_printf(m, "engine %s\n", dev->ops->name);
	for (i = 0; i < ARRAY_SIZE(regs); i++)
		seq_printf(m, "%s 0x%x\n", regs[i].name, zc_read(dev, regs[i].reg));
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(engine);

/* Pulls the card; the driver finds out by itself. */
static int remove_set(void *arg, u64 value)
{
	struct zc_dev *dev = arg;

	if (value != 1)
		return -EINVAL;
	if (!dev->ops->unplug)
		return -EOPNOTSUPP;
	dev->ops->unplug(dev->engine);
	return 0;
}
DEFINE_DEBUGFS_ATTRIBUTE(remove_fops, NULL, remove_set, "%llu\n");

void zc_books_add(struct zc_dev *dev)
{
	dev->books = debugfs_create_dir(dev->name, zc_books_root);
	debugfs_create_file("books", 0444, dev->books, dev, &books_fops);
	debugfs_create_file("requests", 0444, dev->books, dev, &requests_fops);
	debugfs_create_file("engine", 0444, dev->books, dev, &engine_fops);
	debugfs_create_file_unsafe("remove", 0200, dev->books, dev, &remove_fops);
	zc_looks_begin(dev);
}

/* Waits for readers: debugfs_remove() drains them. */
void zc_books_remove(struct zc_dev *dev)
{
	debugfs_remove(dev->books);
	zc_looks_at_removal(dev);
}

void zc_books_init(void)
{
	zc_books_root = debugfs_create_dir(ZC_NAME, NULL);
}

void zc_books_exit(void)
{
	debugfs_remove(zc_books_root);
}
