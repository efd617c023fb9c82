// SPDX-License-Identifier: GPL-2.0
/*
 * What the driver has taken and not given back, in debugfs
 *
 * Live requests, phases and references are counted by walking dev->live when
 * somebody asks: a request pays for its list entry alone, and a count cannot
 * drift from what it counts.  Pages and descriptors have counters of their
 * own, so that one that is lost with its request freed is seen too.
 */
#include <linux/bitmap.h>
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

/* What is to add up whenever dev->lock is free. */
struct ring_books {
	u32 in_ring;	/* descriptors of the requests in the ring */
	u32 outside;	/* of these requests, not between clean and tail */
	u32 garbled;	/* … with a descriptor or a cancel word that says something else */
	u32 promised;	/* descriptors that requests have set aside */
	u32 hoarded;	/* … by requests that have theirs, or need none any more */
	u32 unowned;	/* listed without the engine's reference */
	u32 untimed;	/* neither expired nor with a timer that will run */
	u32 stranded;	/* wait for a work that nobody has queued */
	u32 listed;	/* live requests */
	u32 unordered;	/* … behind a later one */
	u32 unrung;	/* descriptors that the engine has not been told of */
};

static bool ring_is_garbled(struct zc_dev *dev, struct zc_req *req)
{
	u32 i;

	for (i = 0; i < req->count; i++)
		if (dev->ring[zc_slot(dev, req->first + i)].seq != cpu_to_le32(req->seq))
			return true;
	return dev->cancel_mode == ZC_CANCEL_FLAG &&
	       dev->cancel_words[zc_slot(dev, req->first)] != cpu_to_le32(req->cancel_asked);
}

static void ring_look_at(struct zc_dev *dev, struct list_head *list, struct ring_books *books)
{
	bool recovers = work_busy(&dev->recover_work);
	struct zc_req *req;

	list_for_each_entry(req, list, node) {
		bool to_stop = req->cancel_asked && req->where == ZC_RING &&
			       dev->cancel_mode == ZC_CANCEL_FLUSH;

		books->unowned += !test_bit(ZC_ENGINE, &req->holders);
		books->untimed += !req->expired && !test_bit(ZC_TIMEOUT, &req->holders);
		books->stranded += !recovers && (dev->gone || req->expired || to_stop);
		if (req->where != ZC_RING)
			continue;
		books->in_ring += req->count;
		books->outside += req->first - dev->clean + req->count > dev->tail - dev->clean;
		books->garbled += ring_is_garbled(dev, req);
	}
}

static void ring_look_at_live(struct zc_dev *dev, struct ring_books *books)
{
	struct zc_req *req;
	u64 last = 0;

	list_for_each_entry(req, &dev->live, live_node) {
		books->listed++;
		books->unordered += req->number < last;
		last = req->number;
		if (!req->reserved)
			continue;
		books->promised += req->count;
		books->hoarded += req->where == ZC_RING || req->where == ZC_TAKEN;
	}
	if (!list_empty(&dev->undirty) && !work_busy(&dev->dirty_work))
		books->stranded++;
}

static bool ring_runs(struct zc_dev *dev)
{
	return !dev->halted && (zc_read(dev, ZCDMA_STATUS) & ZCDMA_STATUS_STATE) == ZCDMA_RUNNING;
}

/* An engine that was reset, or is gone, has forgotten what it was told. */
static u32 ring_unrung(struct zc_dev *dev)
{
	u32 told;

	if (!ring_runs(dev))
		return 0;
	told = zc_read(dev, ZCDMA_TAIL);
	return ring_runs(dev) ? dev->tail - told : 0;
}

/* `room_for`: the number of a request that waits although it fits, counted from 1. */
static int ring_show(struct seq_file *m, void *unused)
{
	struct zc_dev *dev = m->private;
	struct ring_books books = { 0 };
	int queued_reads, queued_writes;
	u32 starts, busy, span, reserved;
	struct zc_req *first;
	u64 room_for = 0;
	bool halted, gone;
	unsigned int live;

	spin_lock_irq(&dev->lock);
	halted = dev->halted;
	gone = dev->gone;
	starts = dev->starts;
	busy = bitmap_weight(dev->busy, dev->size);
	span = dev->tail - dev->clean;
	reserved = dev->reserved;
	first = list_first_entry_or_null(&dev->pending, struct zc_req, node);
	if (first && !halted && zc_room(dev, first) >= first->count) {
		room_for = first->number + 1;
		/* whoever makes room feeds, but for a cancel, whose work does */
		books.stranded += !work_busy(&dev->reap_work);
	}
	books.stranded += !list_empty(&dev->reap) && !work_busy(&dev->reap_work);
	ring_look_at(dev, &dev->pending, &books);
	ring_look_at(dev, &dev->inflight, &books);
	spin_lock(&dev->live_lock);
	ring_look_at_live(dev, &books);
	live = dev->nr_live;
	/* each is counted once while it lives */
	queued_reads = atomic_read(&dev->queued[0]);
	queued_writes = atomic_read(&dev->queued[1]);
	spin_unlock(&dev->live_lock);
	books.unrung = ring_unrung(dev);
	spin_unlock_irq(&dev->lock);

	seq_printf(m, "halted %d\ngone %d\nstarts %u\nroom_for %llu\n", halted, gone, starts,
		   room_for);
	seq_printf(m, "busy %u\nin_ring %u\nspan %u\noutside %u\ngarbled %u\nunrung %u\n", busy,
		   books.in_ring, span, books.outside, books.garbled, books.unrung);
	seq_printf(m, "size %u\nreserved %u\npromised %u\nhoarded %u\n", dev->size, reserved,
		   books.promised, books.hoarded);
	seq_printf(m, "unowned %u\nuntimed %u\nstranded %u\n", books.unowned, books.untimed,
		   books.stranded);
	seq_printf(m, "live %u\nlisted %u\nunordered %u\nqueued_reads %d\nqueued_writes %d\n", live,
		   books.listed, books.unordered, queued_reads, queued_writes);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(ring);

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
	debugfs_create_file("ring", 0444, dev->books, dev, &ring_fops);
	debugfs_create_file_unsafe("remove", 0200, dev->books, dev, &remove_fops);
}

/* Waits for readers: debugfs_remove() drains them. */
void zc_books_remove(struct zc_dev *dev)
{
	debugfs_remove(dev->books);
}

void zc_books_init(void)
{
	zc_books_root = debugfs_create_dir(ZC_NAME, NULL);
}

void zc_books_exit(void)
{
	debugfs_remove(zc_books_root);
}
