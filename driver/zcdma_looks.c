// SPDX-License-Identifier: GPL-2.0
/*
 * What the driver's locks guard, looked at whenever they are free
 *
 * A correct driver breaks none of the rules below for a moment, so they are asked at
 * any moment: by a timer and wherever the lock is let go of, of which the first look is
 * kept in which something did not add up, and by who reads the debugfs file `ring`.
 * Who reads it judges (stress/lib/oracles/ring.cpp).
 */
#include <linux/bitmap.h>
#include <linux/debugfs.h>
#include <linux/hrtimer.h>
#include <linux/ktime.h>
#include <linux/sched.h>
#include <linux/seq_file.h>

#include "zcdma.h"

#define ZC_LOOKS_SHARE	16	/* of the time, at most */
#define ZC_RELEASES_SHARE 128	/* for each place that lets go of the lock */
#define ZC_SLEEPERS	8	/* that are remembered from look to look; more are not */

struct ring_books {
	bool halted;
	bool gone;
	u32 starts;
	u64 room_for;	/* number of a request that waits although it fits, counted from 1 */
	u32 busy;	/* slots in use */
	u32 in_ring;	/* descriptors of the requests in the ring */
	u32 span;	/* descriptors between clean and tail */
	u32 reserved;
	u32 promised;	/* descriptors that requests have set aside */
	u32 live;
	u32 listed;	/* live requests */
	int queued[2];
	int begun[2];	/* requests of that direction in the driver's lists */
	int going[2];	/* live requests of that direction, or of none yet */
	int ending[2];	/* that somebody completes */
	long pages;	/* of the requests in the driver's lists */
	long descs;

	/* what there is none of */
	u32 outside;	/* in the ring, and not between clean and tail */
	u32 garbled;	/* in the ring with a descriptor or a cancel word that says something else */
	u32 unclean;	/* slots that were given back, and not passed by clean */
	u32 hoarded;	/* descriptors set aside by requests that have theirs, or need none any more */
	u32 unowned;	/* listed without a reference of who will give one back */
	u32 untimed;	/* neither expired nor with a timer that will run in time */
	u32 stranded;	/* wait for a work that nobody has queued */
	u32 unheard;	/* done, and no interrupt tells of it */
	u32 misplaced;	/* in a list that they do not say, or in another device's */
	u32 bare;	/* in the driver's lists without their memory */
	u32 unbooked;	/* pages or descriptors of theirs that the books do not have */
	u32 unordered;	/* live requests behind a later one */
	u32 miscounted;	/* live requests of a file that has fewer, or more */
	u32 orphaned;	/* live requests whose file was let go */
	u32 overslept;	/* asleep until requests end: there is none, or one has ended meanwhile */
	u32 unwoken;	/* directions for which somebody sleeps in poll(2), though they are ready */
	u32 unrung;	/* descriptors that the engine has not been told of */
	u32 unasked;	/* cancelled, and the engine was not told to abort it */
	u32 gated;	/* removal is kept out, and nobody submits */
	u32 forgotten;	/* the engine told that it is gone, and recovery is over, or was not queued */
};

/* Asleep on dev->drained. */
struct zc_sleeper {
	struct task_struct *task;
	pid_t pid;
	unsigned long nvcsw;	/* the same as long as it sleeps */
	u64 ended;		/* requests, when it was first seen */
};

/* The devices' locks, by number. */
static const spinlock_t *zc_looked_at[ZC_MAX_DEVICES];

struct zc_look {
	struct hrtimer timer;
	struct zc_dev *dev;
	u32 nth;
	bool odd;
	bool removal;	/* which has the gate, and nobody reads the file any more */
	struct ring_books seen;
	struct zc_sleeper sleepers[ZC_SLEEPERS];
};

static bool ring_is_garbled(struct zc_dev *dev, struct zc_req *req)
{
	u32 flags = ZCDMA_DESC_START;
	u32 i;

	for (i = 0; i < req->count; i++) {
		const struct zcdma_desc *d = &dev->ring[zc_slot(dev, req->first + i)];

		if (i == req->count - 1)
			flags |= ZCDMA_DESC_END | ZCDMA_DESC_IRQ;
		if (d->seq != cpu_to_le32(req->seq) || d->tag != cpu_to_le32(req->cookie) ||
		    (le32_to_cpu(d->flags) & flags) != flags)
			return true;
		flags = 0;
	}
	return dev->cancel_mode == ZC_CANCEL_FLAG &&
	       dev->cancel_words[zc_slot(dev, req->first)] != cpu_to_le32(req->cancel_asked);
}

/* As zc_chain_done() says, in whose instructions others are kept (docs/windows.md). */
static bool ring_is_done(struct zc_dev *dev, struct zc_req *req)
{
	u32 i;

	for (i = 0; i < req->count; i++) {
		const struct zcdma_desc *d = &dev->ring[zc_slot(dev, req->first + i)];

		if (READ_ONCE(d->status) == cpu_to_le32(ZCDMA_DESC_NONE))
			return false;
		rmb();	/* it is the driver's dma_rmb() that is judged */
		if (d->echo != cpu_to_le32(req->seq))
			return false;
	}
	return true;
}

/*
 * A timer that has not run yet ends within a time-out from now, and an idle CPU is
 * woken for it; one that has marks its request.
 */
static bool is_untimed(struct zc_req *req)
{
	unsigned long ends = READ_ONCE(req->timer.expires);

	if (req->expired)
		return false;
	return !test_bit(ZC_TIMEOUT, &req->holders) || req->timer.flags & TIMER_DEFERRABLE ||
	       time_after(ends, jiffies + msecs_to_jiffies(zc_timeout_ms)) ||
	       (!timer_pending(&req->timer) && time_after(ends, jiffies));
}

static bool is_unowned(struct zc_req *req)
{
	return !test_bit(ZC_ENGINE, &req->holders) ||
	       (req->cancel_asked && !test_bit(ZC_CANCEL, &req->holders)) ||
	       req->sync == test_bit(ZC_CORE, &req->holders);
}

static void ring_look_at(struct zc_dev *dev, struct list_head *list, enum zc_where where,
			 struct ring_books *books)
{
	bool recovers = work_busy(&dev->recover_work);
	struct zc_req *req;

	list_for_each_entry(req, list, node) {
		bool to_stop = req->cancel_asked && where == ZC_RING &&
			       dev->cancel_mode == ZC_CANCEL_FLUSH;

		books->misplaced += req->where != where || req->dev != dev ||
				    (req->phase != AT_QUEUE && req->phase != AT_CANCEL);
		books->unowned += is_unowned(req);
		books->untimed += is_untimed(req);
		books->stranded += !recovers && (dev->gone || req->expired || to_stop);
		books->bare += !req->mapped || !req->nr_pinned || !req->count;
		books->begun[req->to_device]++;
		books->pages += req->nr_pinned;
		books->descs += req->count;
		if (where != ZC_RING)
			continue;
		books->in_ring += req->count;
		books->outside += req->first - dev->clean + req->count > dev->tail - dev->clean;
		books->garbled += ring_is_garbled(dev, req);
		books->unheard += ring_is_done(dev, req);
		books->unasked += req->cancel_asked && dev->cancel_mode == ZC_CANCEL_CALLBACK &&
				  !dev->ops->aborted(dev->engine, req->first);
	}
}

/* One that was asleep on dev->drained in an earlier look, and has not run since. */
static const struct zc_sleeper *look_finds(const struct zc_look *look,
					   const struct zc_sleeper *sleeper)
{
	u32 i;

	for (i = 0; i < ZC_SLEEPERS; i++) {
		const struct zc_sleeper *before = &look->sleepers[i];

		if (before->task == sleeper->task && before->pid == sleeper->pid &&
		    before->nvcsw == sleeper->nvcsw)
			return before;
	}
	return NULL;
}

/*
 * Under dev->live_lock, as each end of a request and the wake-up that it gives: a
 * sleeper that one has not taken off the queue was not woken.
 */
static u32 ring_overslept(struct zc_dev *dev)
{
	struct zc_sleeper sleepers[ZC_SLEEPERS] = { 0 };
	u64 ended = dev->next_number - dev->nr_live;
	struct zc_look *look = dev->look;
	struct wait_queue_entry *entry;
	u32 overslept = 0, n = 0;

	spin_lock(&dev->drained.lock);
	list_for_each_entry(entry, &dev->drained.head, entry) {
		const struct zc_sleeper *before;
		struct zc_sleeper sleeper = { .task = entry->private, .ended = ended };

		if (!zc_is_asleep(sleeper.task, TASK_NORMAL))
			continue;
		sleeper.pid = sleeper.task->pid;
		sleeper.nvcsw = sleeper.task->nvcsw;
		before = look ? look_finds(look, &sleeper) : NULL;
		if (before)
			sleeper.ended = before->ended;
		overslept += !dev->nr_live || sleeper.ended != ended;
		if (n < ZC_SLEEPERS)
			sleepers[n++] = sleeper;
	}
	spin_unlock(&dev->drained.lock);
	if (look)
		memcpy(look->sleepers, sleepers, sizeof(sleepers));
	return overslept;
}

/*
 * Where nobody is completing a request of a direction, and dev->lock keeps all from
 * beginning to, its count can only rise: if there is room behind a look at who sleeps,
 * there was room when he looked last, or whoever made it has not woken him.
 */
static bool ring_sleeps_on(struct zc_dev *dev, struct wait_queue_head *queue, int direction,
			   __poll_t events)
{
	if (!zc_sleeps_in_poll(queue, events))
		return false;
	smp_rmb();	/* the sleeper, then the count */
	return atomic_read(&dev->queued[direction]) < (int)dev->size / 2;
}

/*
 * Whoever completes a request wakes the pollers of its direction before he frees it,
 * and recovery, before it ends, those of a device that is gone.
 */
static u32 ring_unwoken(struct zc_dev *dev, const struct ring_books *books)
{
	if (dev->gone)
		return !work_busy(&dev->recover_work) &&
		       (zc_sleeps_in_poll(&dev->readable, EPOLLIN | EPOLLHUP) ||
			zc_sleeps_in_poll(&dev->writable, EPOLLOUT | EPOLLHUP));
	return (!books->ending[0] &&
		ring_sleeps_on(dev, &dev->readable, 0, EPOLLIN | EPOLLRDNORM)) +
	       (!books->ending[1] &&
		ring_sleeps_on(dev, &dev->writable, 1, EPOLLOUT | EPOLLWRNORM));
}

static void ring_look_at_live(struct zc_dev *dev, struct ring_books *books)
{
	struct zc_file *file = NULL;
	unsigned int of_file = 0;
	bool submitted = false;
	struct zc_req *req;
	u64 last = 0;

	books->live = dev->nr_live;
	/* each is counted once while it lives */
	books->queued[0] = atomic_read(&dev->queued[0]);
	books->queued[1] = atomic_read(&dev->queued[1]);
	list_for_each_entry(req, &dev->live, live_node) {
		books->listed++;
		books->unordered += req->number < last;
		last = req->number;
		file = file ?: req->file;
		of_file += req->file == file;
		submitted |= test_bit(ZC_SUBMIT, &req->holders);
		/* each request has one reference of it, and who has it open another one */
		books->orphaned += (u32)refcount_read(&req->file->refs) <= req->file->live;
		books->going[0] += !READ_ONCE(req->to_device);
		books->going[1] += READ_ONCE(req->to_device);
		books->ending[req->to_device] += req->where == ZC_TAKEN;
		if (!req->reserved)
			continue;
		books->promised += req->count;
		books->hoarded += req->where == ZC_RING || req->where == ZC_TAKEN;
	}
	books->miscounted = file && file->live != of_file;
	/* who submits has a request before the gate, and until behind it */
	books->gated = !submitted && rwsem_is_locked(&dev->gate) &&
		       !(dev->look && dev->look->removal);
	books->overslept = ring_overslept(dev);
	books->unwoken = ring_unwoken(dev, books);
	if (!list_empty(&dev->undirty) && !work_busy(&dev->dirty_work))
		books->stranded++;
}

/*
 * An engine that was reset, or is gone, has forgotten what it was told and what it had
 * to tell, until the driver, under the lock, starts it anew.  A handler that has
 * acknowledged looks at the ring as soon as the lock is free.
 */
static void ring_ask_engine(struct zc_dev *dev, struct ring_books *books)
{
	u32 tail = zc_read(dev, ZCDMA_TAIL);

	if (books->unheard && (zc_read(dev, ZCDMA_IRQ_STATUS) & ZCDMA_IRQ_DONE ||
			       atomic_read(&dev->interrupted)))
		books->unheard = 0;
	if (tail == dev->tail && !books->unheard && !books->unasked)
		return;
	if (!dev->halted && (zc_read(dev, ZCDMA_STATUS) & ZCDMA_STATUS_STATE) == ZCDMA_RUNNING) {
		books->unrung = dev->tail - tail;
		return;
	}
	books->unheard = 0;
	books->unasked = 0;
}

/* By what is promised, whatever zc_room() makes of it. */
static u32 ring_room(const struct zc_dev *dev, const struct zc_req *req)
{
	u32 taken = dev->tail - dev->clean + dev->reserved - (req->reserved ? req->count : 0);

	return taken < dev->size ? dev->size - taken : 0;
}

/* Under dev->lock. */
static void ring_take(struct zc_dev *dev, struct ring_books *books)
{
	struct zc_req *first;

	memset(books, 0, sizeof(*books));
	books->halted = dev->halted;
	books->gone = dev->gone;
	books->starts = dev->starts;
	books->busy = bitmap_weight(dev->busy, dev->size);
	books->span = dev->tail - dev->clean;
	books->unclean = books->span && !test_bit(zc_slot(dev, dev->clean), dev->busy);
	books->reserved = dev->reserved;
	first = list_first_entry_or_null(&dev->pending, struct zc_req, node);
	if (first && !dev->halted && ring_room(dev, first) >= first->count) {
		books->room_for = first->number + 1;
		/* whoever makes room feeds, but for a cancel, whose work does */
		books->stranded += !work_busy(&dev->reap_work);
	}
	books->stranded += !list_empty(&dev->reap) && !work_busy(&dev->reap_work);
	books->stranded += dev->halted && !dev->gone && !work_busy(&dev->recover_work);
	books->forgotten = smp_load_acquire(&dev->told_gone) && !dev->gone &&
			   !work_busy(&dev->recover_work);
	ring_look_at(dev, &dev->pending, ZC_PENDING, books);
	ring_look_at(dev, &dev->inflight, ZC_RING, books);
	books->unbooked = atomic_long_read(&dev->pinned_pages) < books->pages ||
			  atomic_long_read(&dev->mapped_descs) < books->descs;
	spin_lock(&dev->live_lock);
	ring_look_at_live(dev, books);
	spin_unlock(&dev->live_lock);
	ring_ask_engine(dev, books);
}

/* NULL, or the name of the first that does not add up. */
static const char *ring_oddity(const struct zc_dev *dev, const struct ring_books *books)
{
	const struct {
		const char *name;
		bool odd;
	} rules[] = {
		{ "busy", books->busy != books->in_ring },
		{ "span", books->in_ring > books->span },
		{ "size", books->span + books->reserved > dev->size },
		{ "reserved", books->reserved != books->promised },
		{ "live", books->live != books->listed },
		{ "queued reads", books->queued[0] < books->begun[0] ||
				  books->queued[0] > books->going[0] },
		{ "queued writes", books->queued[1] < books->begun[1] ||
				   books->queued[1] > books->going[1] },
		{ "outside", books->outside }, { "garbled", books->garbled },
		{ "unclean", books->unclean }, { "hoarded", books->hoarded },
		{ "unowned", books->unowned }, { "untimed", books->untimed },
		{ "stranded", books->stranded }, { "unheard", books->unheard },
		{ "misplaced", books->misplaced }, { "bare", books->bare },
		{ "unbooked", books->unbooked }, { "unordered", books->unordered },
		{ "miscounted", books->miscounted }, { "orphaned", books->orphaned },
		{ "overslept", books->overslept }, { "unwoken", books->unwoken },
		{ "unrung", books->unrung }, { "unasked", books->unasked },
		{ "gated", books->gated }, { "forgotten", books->forgotten },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(rules); i++)
		if (rules[i].odd)
			return rules[i].name;
	return NULL;
}

/* Under dev->lock. */
static void look_now(struct zc_look *look)
{
	if (look->odd)
		return;
	ring_take(look->dev, &look->seen);
	look->odd = ring_oddity(look->dev, &look->seen);
}

static void look_again(struct zc_look *look, s64 took_ns)
{
	/* by the golden ratio: no period of anybody else's */
	u32 part = look->nth++ * 0x61c88647U >> 16;
	u64 wait_ns = zc_look_ns / 2 + ((u64)part * zc_look_ns >> 16);

	wait_ns = max_t(u64, wait_ns, took_ns * ZC_LOOKS_SHARE);
	hrtimer_start(&look->timer, ktime_add_ns(ktime_get(), wait_ns), ZC_ENGINE_MODE);
}

static enum hrtimer_restart look_timer(struct hrtimer *timer)
{
	struct zc_look *look = container_of(timer, struct zc_look, timer);
	struct zc_dev *dev = look->dev;
	unsigned long flags;
	ktime_t begun;

	spin_lock_irqsave(&dev->lock, flags);
	begun = ktime_get();
	look_now(look);
	zc_unlock_irqrestore(&dev->lock, flags);
	if (!look->odd)
		look_again(look, ktime_sub(ktime_get(), begun));
	return HRTIMER_NORESTART;
}

/* It is a device's, and nobody has taken what guards it. */
bool zc_is_unguarded(const struct list_head *head)
{
	struct zc_dev *dev;
	u32 i;

	for (i = 0; i < ZC_MAX_DEVICES; i++) {
		const spinlock_t *lock = READ_ONCE(zc_looked_at[i]);

		if (!lock)
			continue;
		dev = container_of(lock, struct zc_dev, lock);
		if (head == &dev->pending || head == &dev->inflight || head == &dev->reap)
			return zc_is_unlocked(dev, &dev->lock);
		if (head == &dev->live || head == &dev->undirty)
			return zc_is_unlocked(dev, &dev->live_lock);
	}
	return false;
}

/* The device that counts a direction's requests there; NULL: none does. */
struct zc_dev *zc_counted_by(const atomic_t *queued)
{
	u32 i;

	for (i = 0; i < ZC_MAX_DEVICES; i++) {
		const spinlock_t *lock = READ_ONCE(zc_looked_at[i]);
		struct zc_dev *dev = lock ? container_of(lock, struct zc_dev, lock) : NULL;

		if (dev && (queued == &dev->queued[0] || queued == &dev->queued[1]))
			return dev;
	}
	return NULL;
}

/* Under @lock, of some device or none; interrupts are off. */
void zc_look_at_release(const spinlock_t *lock, ktime_t *not_before)
{
	ktime_t begun;
	struct zc_dev *dev;
	u32 i;

	for (i = 0; zc_look_ns && i < ZC_MAX_DEVICES; i++) {
		if (READ_ONCE(zc_looked_at[i]) != lock)
			continue;
		begun = ktime_get();
		if (ktime_compare(begun, READ_ONCE(*not_before)) < 0)
			return;
		dev = container_of(lock, struct zc_dev, lock);
		look_now(dev->look);
		WRITE_ONCE(*not_before, ktime_add_ns(begun, ktime_sub(ktime_get(), begun) *
							    ZC_RELEASES_SHARE));
		return;
	}
}

static int ring_show(struct seq_file *m, void *unused)
{
	struct zc_dev *dev = m->private;
	struct ring_books books;

	spin_lock_irq(&dev->lock);
	if (dev->look && dev->look->odd)
		books = dev->look->seen;
	else
		ring_take(dev, &books);
	zc_unlock_irq(&dev->lock);

	seq_printf(m, "halted %d\ngone %d\nstarts %u\nroom_for %llu\n", books.halted, books.gone,
		   books.starts, books.room_for);
	seq_printf(m, "size %u\nbusy %u\nin_ring %u\nspan %u\nreserved %u\npromised %u\n", dev->size,
		   books.busy, books.in_ring, books.span, books.reserved, books.promised);
	seq_printf(m, "live %u\nlisted %u\n", books.live, books.listed);
	seq_printf(m, "queued_reads %d\nbegun_reads %d\nlive_reads %d\n", books.queued[0],
		   books.begun[0], books.going[0]);
	seq_printf(m, "queued_writes %d\nbegun_writes %d\nlive_writes %d\n", books.queued[1],
		   books.begun[1], books.going[1]);
	seq_printf(m, "outside %u\ngarbled %u\nunclean %u\nhoarded %u\nunowned %u\nuntimed %u\n",
		   books.outside, books.garbled, books.unclean, books.hoarded, books.unowned,
		   books.untimed);
	seq_printf(m, "stranded %u\nunheard %u\nmisplaced %u\nbare %u\nunbooked %u\n",
		   books.stranded, books.unheard, books.misplaced, books.bare, books.unbooked);
	seq_printf(m, "unordered %u\nmiscounted %u\norphaned %u\noverslept %u\nunwoken %u\n",
		   books.unordered, books.miscounted, books.orphaned, books.overslept,
		   books.unwoken);
	seq_printf(m, "unrung %u\nunasked %u\ngated %u\nforgotten %u\n", books.unrung,
		   books.unasked, books.gated, books.forgotten);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(ring);

void zc_looks_begin(struct zc_dev *dev)
{
	struct zc_look *look = zc_look_ns ? kzalloc(sizeof(*look), GFP_KERNEL) : NULL;

	debugfs_create_file("ring", 0444, dev->books, dev, &ring_fops);
	if (!look)
		return;
	look->dev = dev;
	zc_hrtimer_setup(&look->timer, look_timer, ZC_ENGINE_MODE);
	dev->look = look;
	WRITE_ONCE(zc_looked_at[dev->number], &dev->lock);
	look_again(look, 0);
}

/* After the readers: what does not add up from here on is told by the kernel's log. */
void zc_looks_at_removal(struct zc_dev *dev)
{
	if (!dev->look)
		return;
	spin_lock_irq(&dev->lock);
	dev->look->removal = true;
	zc_unlock_irq(&dev->lock);
}

/* Before the engine goes, which looks ask. */
void zc_looks_end(struct zc_dev *dev)
{
	struct zc_look *look = dev->look;

	if (!look)
		return;
	WARN_ONCE(!dev->gone, "zcdma: a device is removed where its files may use it\n");
	spin_lock_irq(&dev->lock);
	look_now(look);
	zc_unlock_irq(&dev->lock);
	WARN_ONCE(look->odd, "zcdma: a device is removed where it does not add up: %s\n",
		  ring_oddity(dev, &look->seen));
	spin_lock_irq(&dev->lock);
	WRITE_ONCE(zc_looked_at[dev->number], NULL);
	zc_unlock_irq(&dev->lock);
	hrtimer_cancel(&look->timer);
	dev->look = NULL;
	kfree(look);
}
