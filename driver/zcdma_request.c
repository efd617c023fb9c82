// SPDX-License-Identifier: GPL-2.0
/*
 * The life of a request: references, ring, completion,
 * cancellation, recovery
 */
#include <linux/bitmap.h>
#include <linux/delay.h>
#include <linux/jiffies.h>
#include <linux/poll.h>
#include <linux/sched.h>
#include <linux/slab.h>

#include "compat.h"
#include "zcdma.h"

static struct kmem_cache *zc_cache;

/* -------------------------------------------------- phases and references */

#define TO(phase)	(1U << (phase))

/* START is the engine's: the driver never knows when it happens. */
static const u32 zc_legal_steps[AT_NR_PHASES] = {
	[AT_SUBMIT]	= TO(AT_PIN) | TO(AT_UNPIN),
	[AT_PIN]	= TO(AT_MAP) | TO(AT_UNPIN),
	[AT_MAP]	= TO(AT_QUEUE) | TO(AT_COMPLETE) | TO(AT_UNMAP),
	[AT_QUEUE]	= TO(AT_IRQ) | TO(AT_CANCEL) | TO(AT_COMPLETE),
	[AT_CANCEL]	= TO(AT_IRQ) | TO(AT_COMPLETE),
	[AT_IRQ]	= TO(AT_COMPLETE),
	[AT_COMPLETE]	= TO(AT_UNMAP),
	[AT_UNMAP]	= TO(AT_UNPIN),
	[AT_UNPIN]	= TO(AT_FREE),
};

void zc_step(struct zc_req *req, enum at_phase to)
{
	if (unlikely(!(zc_legal_steps[req->phase] & TO(to)))) {
		zc_count(req->dev, ZC_ILLEGAL_STEPS);
		WARN_ONCE(1, "zcdma: illegal step %d -> %d\n", req->phase, to);
	}
	WRITE_ONCE(req->phase, to);
}

void zc_get(struct zc_req *req, enum zc_holder holder)
{
	if (WARN_ON_ONCE(test_and_set_bit(holder, &req->holders))) {
		zc_count(req->dev, ZC_ILLEGAL_STEPS);
		return;
	}
	refcount_inc(&req->refs);
}

struct zc_req *zc_alloc(struct zc_file *file, u32 cookie)
{
	struct zc_dev *dev = file->dev;
	struct zc_req *req = kmem_cache_alloc(zc_cache, GFP_KERNEL);
	unsigned long flags;

	if (!req)
		return NULL;
	memset(req, 0, offsetof(struct zc_req, inline_pages));
	req->dev = dev;
	req->file = file;
	req->cookie = cookie;
	req->phase = AT_SUBMIT;
	req->pid = task_pid_nr(current);
	req->born = ktime_get();
	req->holders = BIT(ZC_SUBMIT);
	refcount_set(&req->refs, 1);
	refcount_inc(&file->refs);
	INIT_LIST_HEAD(&req->node);
	init_completion(&req->done);

	spin_lock_irqsave(&dev->live_lock, flags);
	req->number = dev->next_number++;
	list_add_tail(&req->live_node, &dev->live);
	dev->nr_live++;
	file->live++;
	spin_unlock_irqrestore(&dev->live_lock, flags);
	return req;
}

static void zc_dev_free(struct kref *kref)
{
	struct zc_dev *dev = container_of(kref, struct zc_dev, kref);

	bitmap_free(dev->busy);
	kfree(dev);
}

void (zc_file_put)(struct zc_file *file)
{
	if (!refcount_dec_and_test(&file->refs))
		return;
	kref_put(&file->dev->kref, zc_dev_free);
	kfree(file);
}

static void zc_free(struct zc_req *req)
{
	struct zc_dev *dev = req->dev;
	struct zc_file *file = req->file;
	unsigned long flags;

	zc_step(req, AT_UNPIN);
	zc_mark(AT_DESTROYER, AT_UNPIN, req->cookie);
	zc_unpin(req);
	zc_step(req, AT_FREE);
	zc_mark(AT_DESTROYER, AT_FREE, req->cookie);

	/* With the lock released, removal may free the device. */
	spin_lock_irqsave(&dev->live_lock, flags);
	list_del(&req->live_node);
	dev->nr_live--;
	file->live--;
	/* waiters check under this lock: none can miss it between check and sleep */
	if (waitqueue_active(&dev->drained))
		wake_up_all(&dev->drained);
	spin_unlock_irqrestore(&dev->live_lock, flags);
	zc_file_put(file);
	kmem_cache_free(zc_cache, req);
}

/* As bio_check_pages_dirty(): a page that was cleaned under way is dirtied again. */
void zc_dirty_work(struct work_struct *work)
{
	struct zc_dev *dev = container_of(work, struct zc_dev, dirty_work);
	struct zc_req *req, *next;
	LIST_HEAD(list);

	spin_lock_irq(&dev->live_lock);
	list_splice_init(&dev->undirty, &list);
	spin_unlock_irq(&dev->live_lock);
	list_for_each_entry_safe(req, next, &list, node) {
		zc_redirty(req);
		zc_free(req);
	}
}

/* Any context, never under dev->lock. */
void zc_put(struct zc_req *req, enum zc_holder holder)
{
	struct zc_dev *dev = req->dev;
	unsigned long flags;

	if (WARN_ON_ONCE(!test_and_clear_bit(holder, &req->holders))) {
		zc_count(dev, ZC_ILLEGAL_STEPS);
		return;
	}
	if (!refcount_dec_and_test(&req->refs))
		return;
	if (likely(!zc_lost_dirty(req))) {
		zc_free(req);
		return;
	}
	spin_lock_irqsave(&dev->live_lock, flags);
	list_add_tail(&req->node, &dev->undirty);
	/* with the lock released, the work may free the request, and removal the queue */
	queue_work(dev->wq, &dev->dirty_work);
	spin_unlock_irqrestore(&dev->live_lock, flags);
}

/* ------------------------------------------------------------- completion */

static enum zc_count zc_kind(const struct zc_req *req)
{
	switch (req->result) {
	case -ECANCELED:
		return ZC_COMPLETED_CANCELLED;
	case -ETIMEDOUT:
		return ZC_COMPLETED_TIMEOUT;
	case -ENODEV:
		return ZC_COMPLETED_NODEV;
	}
	if (req->result < 0)
		return ZC_COMPLETED_ERROR;
	return req->result < req->len ? ZC_COMPLETED_SHORT : ZC_COMPLETED_OK;
}

/*
 * The owner answers.  No lock is held: ki_complete() takes ctx_lock, under
 * which our cancel callback takes dev->lock.
 */
static void zc_complete(struct zc_req *req, enum at_racer racer)
{
	struct zc_dev *dev = req->dev;
	bool to_device = req->to_device;
	bool cancelled = req->cancel_asked;

	zc_step(req, AT_COMPLETE);
	zc_mark(racer, AT_COMPLETE, req->cookie);
	zc_step(req, AT_UNMAP);
	zc_mark(AT_DESTROYER, AT_UNMAP, req->cookie);
	zc_unmap(req);

	/* if the timer's function runs now, it gives the reference back itself */
	if (zc_timer_delete(&req->timer))
		zc_put(req, ZC_TIMEOUT);

	zc_count(dev, zc_kind(req));
	zc_count(dev, ZC_COMPLETED);
	atomic_dec(&dev->queued[to_device]);

	if (req->sync) {
		complete(&req->done);
	} else {
		struct kiocb *iocb = req->iocb;

		if (req->result > 0)
			iocb->ki_pos += req->result;
		zc_ki_complete(iocb, req->result);
		/* only now can no cancel callback reach the request any more */
		zc_put(req, ZC_CORE);
	}

	if (to_device && wq_has_sleeper(&dev->writable))
		wake_up_interruptible_poll(&dev->writable, EPOLLOUT | EPOLLWRNORM);
	if (!to_device && wq_has_sleeper(&dev->readable))
		wake_up_interruptible_poll(&dev->readable, EPOLLIN | EPOLLRDNORM);
	if (cancelled)
		zc_put(req, ZC_CANCEL);
	zc_put(req, ZC_ENGINE);
}

static void zc_complete_all(struct list_head *list, enum at_racer racer)
{
	struct zc_req *req, *next;

	list_for_each_entry_safe(req, next, list, node) {
		list_del_init(&req->node);
		zc_complete(req, racer);
	}
}

/* ------------------------------------------------------------------- ring */

static u32 zc_slot(const struct zc_dev *dev, u32 index)
{
	return index & (dev->size - 1);
}

/* Descriptors that are neither in use nor promised to others than @req. */
static u32 zc_room(const struct zc_dev *dev, const struct zc_req *req)
{
	u32 promised = dev->reserved - (req->reserved ? req->count : 0);
	u32 unused = dev->size - (dev->tail - dev->clean);

	return unused > promised ? unused - promised : 0;
}

static void zc_unreserve(struct zc_req *req)
{
	if (req->reserved)
		req->dev->reserved -= req->count;
	req->reserved = false;
}

static void zc_fill_chain(struct zc_dev *dev, struct zc_req *req)
{
	u32 flags = ZCDMA_DESC_START | (req->to_device ? ZCDMA_DESC_TO_DEVICE : 0);
	u32 dev_addr = req->dev_addr;
	struct scatterlist *sg;
	u64 cancel_addr = 0;
	unsigned int i;

	zc_unreserve(req);
	req->first = dev->tail;
	if (!++dev->seq)
		dev->seq = 1;
	req->seq = dev->seq;
	if (dev->cancel_mode == ZC_CANCEL_FLAG) {
		u32 word = zc_slot(dev, req->first);

		WRITE_ONCE(dev->cancel_words[word], cpu_to_le32(req->cancel_asked));
		cancel_addr = dev->cancel_bus + word * sizeof(__le32);
	}
	for_each_sgtable_dma_sg(&req->sgt, sg, i) {
		struct zcdma_desc *d = &dev->ring[zc_slot(dev, dev->tail)];

		if (i == req->count - 1)
			flags |= ZCDMA_DESC_END | ZCDMA_DESC_IRQ;
		d->bus_addr = cpu_to_le64(sg_dma_address(sg));
		d->dev_addr = cpu_to_le64(dev_addr);
		d->cancel_addr = cpu_to_le64(cancel_addr);
		d->len = cpu_to_le32(sg_dma_len(sg));
		d->flags = cpu_to_le32(flags);
		d->tag = cpu_to_le32(req->cookie);
		d->seq = cpu_to_le32(req->seq);
		d->residue = 0;
		d->echo = 0;
		d->status = 0;
		__set_bit(zc_slot(dev, dev->tail), dev->busy);
		dev_addr += sg_dma_len(sg);
		flags &= ~ZCDMA_DESC_START;
		dev->tail++;
	}
}

/* Slots return in the ring's order, so that the free ones are contiguous. */
static void zc_return_chain(struct zc_dev *dev, struct zc_req *req)
{
	u32 i;

	for (i = 0; i < req->count; i++)
		__clear_bit(zc_slot(dev, req->first + i), dev->busy);
	while (dev->clean != dev->tail && !test_bit(zc_slot(dev, dev->clean), dev->busy))
		dev->clean++;
}

/* Under dev->lock: what waits goes into the ring as far as it fits. */
static void zc_feed(struct zc_dev *dev)
{
	struct zc_req *req;
	bool fed = false;

	if (dev->halted)
		return;
	while ((req = list_first_entry_or_null(&dev->pending, struct zc_req, node))) {
		if (zc_room(dev, req) < req->count)
			break;
		zc_fill_chain(dev, req);
		req->where = ZC_RING;
		list_move_tail(&req->node, &dev->inflight);
		fed = true;
	}
	if (fed) {
		dma_wmb();
		zc_write(dev, ZCDMA_TAIL, dev->tail);
	}
}

/*
 * Has the engine finished with the whole chain?  Then *result is what it
 * says: bytes up to the first that was not moved, or an error.
 */
static bool zc_chain_done(struct zc_dev *dev, struct zc_req *req, ssize_t *result)
{
	bool cancelled = false, failed = false, ended = false;
	ssize_t moved = 0;
	u32 i;

	for (i = 0; i < req->count; i++) {
		struct zcdma_desc *d = &dev->ring[zc_slot(dev, req->first + i)];
		u32 status = le32_to_cpu(READ_ONCE(d->status));

		if (status == ZCDMA_DESC_NONE)
			return false;
		dma_rmb();	/* the status is written last */
		if (d->echo != cpu_to_le32(req->seq))
			return false;
		cancelled |= status == ZCDMA_DESC_CANCELLED;
		failed |= status == ZCDMA_DESC_ERR;
		if (!ended)
			moved += le32_to_cpu(d->len) - le32_to_cpu(d->residue);
		ended |= d->residue != 0;
	}
	*result = failed ? -EIO : cancelled ? -ECANCELED : moved;
	return true;
}

/* Under dev->lock: whoever takes a request owns its completion. */
static void zc_take(struct zc_req *req, ssize_t result, struct list_head *list)
{
	if (req->where == ZC_RING)
		zc_return_chain(req->dev, req);
	req->where = ZC_TAKEN;
	req->result = result;
	list_move_tail(&req->node, list);
}

/* Chains may be done out of order, so all are looked at. */
static void zc_gather(struct zc_dev *dev, struct list_head *list, enum at_phase phase)
{
	struct zc_req *req, *next;
	ssize_t result;

	list_for_each_entry_safe(req, next, &dev->inflight, node) {
		if (!zc_chain_done(dev, req, &result))
			continue;
		if (phase == AT_IRQ)
			zc_step(req, AT_IRQ);
		zc_take(req, result, list);
	}
}

void zc_interrupt(void *arg)
{
	struct zc_dev *dev = arg;
	LIST_HEAD(done);
	unsigned long flags;
	u32 irq;

	zc_count(dev, ZC_ENGINE_IRQS);
	irq = zc_read(dev, ZCDMA_IRQ_STATUS);
	if (irq == ZCDMA_GONE) {
		spin_lock_irqsave(&dev->lock, flags);
		dev->suspect = true;
		spin_unlock_irqrestore(&dev->lock, flags);
		queue_work(dev->wq, &dev->recover_work);
		return;
	}
	/* acknowledge, then look: what comes after the look interrupts again */
	zc_write(dev, ZCDMA_IRQ_STATUS, irq);
	if (irq & ZCDMA_IRQ_STOPPED)
		complete(&dev->stopped);

	spin_lock_irqsave(&dev->lock, flags);
	zc_gather(dev, &done, AT_IRQ);
	zc_feed(dev);
	spin_unlock_irqrestore(&dev->lock, flags);

	if (list_empty(&done) && !(irq & ZCDMA_IRQ_STOPPED))
		zc_count(dev, ZC_LATE_IRQS);
	zc_complete_all(&done, AT_DEVICE);
}

/* ---------------------------------------------------------------- timeout */

static void zc_timeout(struct timer_list *timer)
{
	struct zc_req *req = zc_from_timer(req, timer, timer);
	struct zc_dev *dev = req->dev;
	unsigned long flags;

	spin_lock_irqsave(&dev->lock, flags);
	if (req->where != ZC_TAKEN) {
		req->expired = true;
		queue_work(dev->wq, &dev->recover_work);
	}
	spin_unlock_irqrestore(&dev->lock, flags);
	zc_put(req, ZC_TIMEOUT);
}

/* --------------------------------------------------------------- queueing */

/* For IOCB_NOWAIT: sets the descriptors aside, or says that it would wait. */
int zc_reserve(struct zc_req *req)
{
	struct zc_dev *dev = req->dev;
	unsigned long flags;
	int err = -EAGAIN;

	spin_lock_irqsave(&dev->lock, flags);
	if (!dev->halted && list_empty(&dev->pending) && zc_room(dev, req) >= req->count) {
		req->reserved = true;
		dev->reserved += req->count;
		err = 0;
	}
	spin_unlock_irqrestore(&dev->lock, flags);
	return err;
}

/*
 * Hands the request over: from here on it may be completed at any moment.
 * The cancel callback is set already, so an error goes through completion too.
 */
void zc_queue(struct zc_req *req, int error)
{
	struct zc_dev *dev = req->dev;
	LIST_HEAD(refused);
	unsigned long flags;

	timer_setup(&req->timer, zc_timeout, 0);
	zc_get(req, ZC_ENGINE);
	atomic_inc(&dev->queued[req->to_device]);
	zc_count(dev, ZC_SUBMITTED);

	spin_lock_irqsave(&dev->lock, flags);
	if (!error && dev->gone)
		error = -ENODEV;
	if (!error && req->cancel_asked && dev->cancel_mode != ZC_CANCEL_FLAG)
		error = -ECANCELED;
	if (error) {
		zc_unreserve(req);
		zc_take(req, error, &refused);
		zc_feed(dev);	/* who waits may fit into what was set aside */
	} else {
		zc_step(req, AT_QUEUE);
		req->where = ZC_PENDING;
		/* behind one that came meanwhile it would wait for what it keeps from that one */
		if (req->reserved)
			list_add(&req->node, &dev->pending);
		else
			list_add_tail(&req->node, &dev->pending);
		zc_get(req, ZC_TIMEOUT);
		mod_timer(&req->timer, jiffies + msecs_to_jiffies(zc_timeout_ms));
		zc_feed(dev);
	}
	spin_unlock_irqrestore(&dev->lock, flags);
	zc_complete_all(&refused, AT_SUBMITTER);
}

/* ----------------------------------------------------------- cancellation */

static void zc_cancel_in_ring(struct zc_dev *dev, struct zc_req *req)
{
	switch (dev->cancel_mode) {
	case ZC_CANCEL_CALLBACK:
		zc_write(dev, ZCDMA_ABORT, req->first);
		break;
	case ZC_CANCEL_FLUSH:
		queue_work(dev->wq, &dev->recover_work);
		break;
	case ZC_CANCEL_FLAG:
		WRITE_ONCE(dev->cancel_words[zc_slot(dev, req->first)], cpu_to_le32(1));
		break;
	case ZC_CANCEL_NONE:
		break;
	}
}

/*
 * From fs/aio.c this runs under ctx_lock, with interrupts off, in io_cancel's
 * process or in an RCU callback of io_destroy: it neither sleeps nor
 * completes.  At most one call comes for a request, so one that finds the
 * submitter not yet done leaves its mark for zc_queue().
 */
int zc_cancel(struct zc_req *req)
{
	struct zc_dev *dev = req->dev;
	unsigned long flags;
	int err = 0;

	zc_mark(AT_CANCELLER, AT_CANCEL, req->cookie);
	zc_count(dev, ZC_CANCEL_CALLS);

	spin_lock_irqsave(&dev->lock, flags);
	if (req->where == ZC_TAKEN) {
		err = -EALREADY;
		goto out;
	}
	req->cancel_asked = true;
	zc_get(req, ZC_CANCEL);
	if (req->where == ZC_NOWHERE)
		goto out;
	zc_step(req, AT_CANCEL);
	if (req->where == ZC_RING) {
		zc_cancel_in_ring(dev, req);
	} else if (dev->cancel_mode != ZC_CANCEL_FLAG) {
		zc_unreserve(req);
		zc_take(req, -ECANCELED, &dev->reap);
		queue_work(dev->wq, &dev->reap_work);
	}
out:
	spin_unlock_irqrestore(&dev->lock, flags);
	return err;
}

/* Completes what was cancelled before it reached the ring. */
void zc_reap_work(struct work_struct *work)
{
	struct zc_dev *dev = container_of(work, struct zc_dev, reap_work);
	LIST_HEAD(list);

	spin_lock_irq(&dev->lock);
	list_splice_init(&dev->reap, &list);
	zc_feed(dev);
	spin_unlock_irq(&dev->lock);
	zc_complete_all(&list, AT_CANCELLER);
}

/* ---------------------------------------------------------------- recovery */

/* How long a request may take by all its bounds, in jiffies, with slack. */
unsigned long zc_patience(void)
{
	return msecs_to_jiffies(4 * (zc_timeout_ms + 2 * zc_stop_ms)) + 2 * HZ;
}

/* Under dev->lock, with the engine halted. */
void zc_start_engine(struct zc_dev *dev)
{
	dev->starts++;
	dev->tail = 0;
	dev->clean = 0;
	bitmap_zero(dev->busy, dev->size);
	memset(dev->ring, 0, dev->size * sizeof(*dev->ring));
	zc_write(dev, ZCDMA_RING_LO, lower_32_bits(dev->ring_bus));
	zc_write(dev, ZCDMA_RING_HI, upper_32_bits(dev->ring_bus));
	zc_write(dev, ZCDMA_RING_SIZE, dev->size);
	zc_write(dev, ZCDMA_CTRL, ZCDMA_CTRL_RUN);
	dev->halted = false;
	zc_feed(dev);
}

static bool zc_is_halted(u32 status)
{
	u32 state = status & ZCDMA_STATUS_STATE;

	return status == ZCDMA_GONE || state == ZCDMA_STOPPED || state == ZCDMA_POWERON;
}

static u32 zc_reset_engine(struct zc_dev *dev)
{
	unsigned long deadline = jiffies + msecs_to_jiffies(ZC_RESET_MS);
	bool late = false;
	u32 status;

	zc_count(dev, ZC_ENGINE_RESETS);
	zc_write(dev, ZCDMA_CTRL, ZCDMA_CTRL_RESET);
	while (!zc_is_halted(status = zc_read(dev, ZCDMA_STATUS)) && !late) {
		usleep_range(20, 100);
		late = time_after(jiffies, deadline);
	}
	return status;
}

/*
 * Asks the engine to stop and waits until it says so: before that it may
 * write to any buffer in the ring.  False: it is gone, and by isolation if
 * nothing else helped.
 */
static bool zc_halt_engine(struct zc_dev *dev)
{
	unsigned long deadline = jiffies + msecs_to_jiffies(zc_stop_ms) + 1;
	bool late = false;
	u32 status;

	zc_count(dev, ZC_ENGINE_STOPS);
	reinit_completion(&dev->stopped);
	zc_write(dev, ZCDMA_CTRL, ZCDMA_CTRL_STOP);
	/* the clock before the register: we may have slept in between */
	while (!zc_is_halted(status = zc_read(dev, ZCDMA_STATUS)) && !late) {
		/* the interrupt may be lost: look again after each jiffy */
		wait_for_completion_timeout(&dev->stopped, 1);
		late = time_after(jiffies, deadline);
	}
	if (!zc_is_halted(status))
		status = zc_reset_engine(dev);
	if (zc_is_halted(status) && status != ZCDMA_GONE)
		return true;
	dev->ops->isolate(dev->engine);
	return false;
}

/* Under dev->lock: is there a request that only a halt can answer? */
static bool zc_needs_halt(struct zc_dev *dev)
{
	struct zc_req *req;

	if (dev->gone)
		return false;
	if (dev->removing || dev->suspect)
		return true;
	list_for_each_entry(req, &dev->inflight, node) {
		if (req->expired)
			return true;
		if (req->cancel_asked && dev->cancel_mode == ZC_CANCEL_FLUSH)
			return true;
	}
	return false;
}

/* Under dev->lock, engine halted: answers or survives, each request in the ring. */
static void zc_sort_inflight(struct zc_dev *dev, struct list_head *answered)
{
	struct zc_req *req, *next;
	LIST_HEAD(survivors);
	ssize_t result;

	list_for_each_entry_safe(req, next, &dev->inflight, node) {
		if (zc_chain_done(dev, req, &result)) {
			zc_take(req, result, answered);
		} else if (dev->gone) {
			zc_take(req, -ENODEV, answered);
		} else if (req->cancel_asked) {
			zc_take(req, -ECANCELED, answered);
		} else if (req->expired) {
			zc_take(req, -ETIMEDOUT, answered);
		} else {
			req->where = ZC_PENDING;
			list_move_tail(&req->node, &survivors);
		}
	}
	list_splice(&survivors, &dev->pending);
}

/* Under dev->lock: those that never reached the ring. */
static void zc_sort_pending(struct zc_dev *dev, struct list_head *answered)
{
	struct zc_req *req, *next;

	list_for_each_entry_safe(req, next, &dev->pending, node) {
		if (!dev->gone && !req->expired)
			continue;
		zc_unreserve(req);
		zc_take(req, dev->gone ? -ENODEV : -ETIMEDOUT, answered);
	}
}

static void zc_wake_gone(struct zc_dev *dev)
{
	wake_up_interruptible_poll(&dev->readable, EPOLLIN | EPOLLHUP | EPOLLERR);
	wake_up_interruptible_poll(&dev->writable, EPOLLOUT | EPOLLHUP | EPOLLERR);
}

/*
 * A request timed out, must be taken out of the ring, or the engine looks
 * strange: look first (an interrupt may be lost), then halt and sort.
 */
void zc_recover_work(struct work_struct *work)
{
	struct zc_dev *dev = container_of(work, struct zc_dev, recover_work);
	bool needs_halt, alive;
	LIST_HEAD(answered);

	spin_lock_irq(&dev->lock);
	zc_gather(dev, &answered, AT_COMPLETE);
	zc_sort_pending(dev, &answered);
	needs_halt = zc_needs_halt(dev);
	dev->suspect = false;	/* what the engine says from here on asks for another run */
	if (needs_halt)
		dev->halted = true;
	else
		zc_feed(dev);
	spin_unlock_irq(&dev->lock);
	zc_complete_all(&answered, AT_DEVICE);
	if (!needs_halt)
		return;

	alive = zc_halt_engine(dev);

	spin_lock_irq(&dev->lock);
	if (!alive || dev->removing)
		dev->gone = true;
	zc_sort_inflight(dev, &answered);
	zc_sort_pending(dev, &answered);
	if (!dev->gone)
		zc_start_engine(dev);
	spin_unlock_irq(&dev->lock);
	zc_complete_all(&answered, AT_DEVICE);
	if (dev->gone)
		zc_wake_gone(dev);
}
