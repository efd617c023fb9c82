/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the driver may do only under a lock, where it may sleep, or when others are
 * done with a request, held to that
 *
 * Whoever does it otherwise is told of by a WARN, the first time: what comes of it
 * needs somebody else at the same moment.  Of a device that is looked at
 * (zcdma_looks.c), and not where locks are the model's macros: that finds such races
 * itself.
 */
#ifndef ZCDMA_GUARD_H
#define ZCDMA_GUARD_H

#include <linux/delay.h>

#include "zcdma.h"

#ifdef ZC_LOCKS_ARE_FUNCTIONS
#define ZC_GUARD_NAPS	40U	/* of 50 to 100 us, for what is on its way */

/* Interrupts want the driver's locks, but where they are threads. */
#define ZC_IRQS_WANT_LOCKS	(zc_look_ns && !IS_ENABLED(CONFIG_PREEMPT_RT))

#define spin_lock(lock) do {						\
	WARN_ONCE(ZC_IRQS_WANT_LOCKS && !irqs_disabled(),		\
		  "zcdma: a lock is taken where an interrupt may want it\n"); \
	(spin_lock)(lock);						\
} while (0)

#define spin_lock_irq(lock) do {					\
	WARN_ONCE(ZC_IRQS_WANT_LOCKS && irqs_disabled(),		\
		  "zcdma: a lock is taken where its release lets interrupts in\n"); \
	(spin_lock_irq)(lock);						\
} while (0)

/* @head: of any list, those of a device or others. */
#define zc_guarded(head) ({						\
	struct list_head *zc_head = (head);				\
									\
	WARN_ONCE(zc_look_ns && zc_is_unguarded(zc_head),		\
		  "zcdma: a list is used without its lock\n");		\
	zc_head;							\
})

#undef list_for_each_entry
#define list_for_each_entry(pos, head, member)				\
	for (pos = list_first_entry(zc_guarded(head), typeof(*pos), member); \
	     &pos->member != (head);					\
	     pos = list_next_entry(pos, member))

#undef list_for_each_entry_safe
#define list_for_each_entry_safe(pos, n, head, member)			\
	for (pos = list_first_entry(zc_guarded(head), typeof(*pos), member), \
	     n = list_next_entry(pos, member);				\
	     &pos->member != (head);					\
	     pos = n, n = list_next_entry(n, member))

#undef list_first_entry_or_null
#define list_first_entry_or_null(head, type, member) ({			\
	struct list_head *zc_first_of = zc_guarded(head);		\
	struct list_head *zc_first = READ_ONCE(zc_first_of->next);	\
									\
	zc_first != zc_first_of ? list_entry(zc_first, type, member) : NULL; \
})

#define list_empty(head)		(list_empty)(zc_guarded(head))
#define list_add(node, head)		(list_add)(node, zc_guarded(head))
#define list_add_tail(node, head)	(list_add_tail)(node, zc_guarded(head))
#define list_move_tail(node, head)	(list_move_tail)(node, zc_guarded(head))
#define list_splice(list, head)		(list_splice)(zc_guarded(list), zc_guarded(head))
#define list_splice_init(list, head)	(list_splice_init)(zc_guarded(list), zc_guarded(head))

/*
 * A stop and a reset are asked for, and an interrupt is acknowledged, without it; that
 * there is one work for them, also when a device goes, keeps two of them apart.
 */
static inline void zc_write_guarded(const struct zc_dev *dev, enum zcdma_reg reg, u32 value)
{
	bool under_lock = reg == ZCDMA_CTRL ? value == ZCDMA_CTRL_RUN : reg != ZCDMA_IRQ_STATUS;

	WARN_ONCE(under_lock && zc_is_unlocked(dev, &dev->lock),
		  "zcdma: a register is written without the lock\n");
	WARN_ONCE(zc_look_ns && reg == ZCDMA_CTRL && value != ZCDMA_CTRL_RUN &&
			  current_work() != &dev->recover_work,
		  "zcdma: a stop is made where others may make one\n");
	zc_write(dev, reg, value);
}
#define zc_write(dev, reg, value)	zc_write_guarded(dev, reg, value)

/* Removal has it until the device is gone, and tells of it to those who come then. */
static inline bool zc_is_ungated(const struct zc_dev *dev)
{
	return dev->look && !rwsem_is_locked((struct rw_semaphore *)&dev->gate);
}

/* A request may be answered, and freed, with the lock released; its time is over once. */
static inline int zc_arm_guarded(struct timer_list *timer, unsigned long expires)
{
	const struct zc_dev *dev = container_of(timer, struct zc_req, timer)->dev;

	WARN_ONCE(zc_is_unlocked(dev, &dev->lock),
		  "zcdma: a timer is armed without the lock\n");
	WARN_ONCE(dev->look && timer_pending(timer), "zcdma: a time-out is moved\n");
	WARN_ONCE(zc_is_ungated(dev), "zcdma: a request is queued where its device may go\n");
	return mod_timer(timer, expires);
}
#define mod_timer(timer, expires)	zc_arm_guarded(timer, expires)

/* Removal waits for what is listed, and destroys the queue. */
static inline bool zc_queue_guarded(struct workqueue_struct *wq, struct work_struct *work)
{
	const struct zc_dev *dev = NULL;
	const spinlock_t *lock = NULL;

	if (work->func == zc_reap_work) {
		dev = container_of(work, struct zc_dev, reap_work);
		lock = &dev->lock;
	} else if (work->func == zc_dirty_work) {
		dev = container_of(work, struct zc_dev, dirty_work);
		lock = &dev->live_lock;
	} else if (work->func == zc_recover_work) {
		dev = container_of(work, struct zc_dev, recover_work);
	}
	WARN_ONCE(lock && zc_is_unlocked(dev, lock), "zcdma: a work is queued without the lock\n");
	WARN_ONCE(dev && dev->look && dev->wq != wq,
		  "zcdma: a work is queued where no removal waits for it\n");
	/* who asks with the lock released has said what for, and a run that took it has halted */
	WARN_ONCE(dev && work == &dev->recover_work && zc_is_unlocked(dev, &dev->lock) &&
			  !READ_ONCE(dev->suspect) && !READ_ONCE(dev->halted) &&
			  !READ_ONCE(dev->removing) && !READ_ONCE(dev->gone),
		  "zcdma: a work is queued without what it is for\n");
	return wq ? queue_work(wq, work) : schedule_work(work);
}
#define queue_work(wq, work)		zc_queue_guarded(wq, work)
#define schedule_work(work)		zc_queue_guarded(NULL, work)

/*
 * A transfer is over when it has a status, or its engine stands still or has forgotten
 * it: a restart empties the ring.
 */
static inline bool zc_is_under_way(struct zc_req *req)
{
	struct zc_dev *dev = req->dev;
	u32 i, state;

	for (i = 0; dev->look && req->seq && i < req->count; i++) {
		const struct zcdma_desc *d = &dev->ring[(req->first + i) & (dev->size - 1)];

		if (READ_ONCE(d->seq) != cpu_to_le32(req->seq) ||
		    READ_ONCE(d->status) != cpu_to_le32(ZCDMA_DESC_NONE))
			continue;
		state = zc_read(dev, ZCDMA_STATUS);
		if (state == ZCDMA_GONE)
			return false;
		state &= ZCDMA_STATUS_STATE;
		return state != ZCDMA_STOPPED && state != ZCDMA_POWERON &&
		       READ_ONCE(d->seq) == cpu_to_le32(req->seq) &&
		       READ_ONCE(d->status) == cpu_to_le32(ZCDMA_DESC_NONE);
	}
	return false;
}

/* Both ways of it: a buffer that is mapped for the other way may be bounced for that one. */
static inline void zc_judge_direction(struct sg_table *sgt, enum dma_data_direction direction)
{
	const struct zc_req *req = container_of(sgt, struct zc_req, sgt);

	WARN_ONCE(zc_look_ns && direction != (req->to_device ? DMA_TO_DEVICE : DMA_FROM_DEVICE),
		  "zcdma: a buffer is mapped without its direction\n");
}

static inline int zc_map_guarded(struct device *device, struct sg_table *sgt,
				 enum dma_data_direction direction, unsigned long attrs)
{
	WARN_ONCE(zc_is_ungated(container_of(sgt, struct zc_req, sgt)->dev),
		  "zcdma: a buffer is mapped where its device may go\n");
	zc_judge_direction(sgt, direction);
	return dma_map_sgtable(device, sgt, direction, attrs);
}
#define dma_map_sgtable(device, sgt, direction, attrs) \
	zc_map_guarded(device, sgt, direction, attrs)

static inline void zc_unmap_guarded(struct device *device, struct sg_table *sgt,
				    enum dma_data_direction direction, unsigned long attrs)
{
	WARN_ONCE(zc_is_under_way(container_of(sgt, struct zc_req, sgt)),
		  "zcdma: a buffer is unmapped where the device may use it\n");
	zc_judge_direction(sgt, direction);
	dma_unmap_sgtable(device, sgt, direction, attrs);
}
#define dma_unmap_sgtable(device, sgt, direction, attrs) \
	zc_unmap_guarded(device, sgt, direction, attrs)

/* Of the driver's locks: they are taken with interrupts off, and others' are not taken here. */
static inline bool zc_holds_lock(void)
{
	return zc_look_ns && irqs_disabled() && !hardirq_count();
}

/* With a request's last reference its device may go, lock and all. */
static inline bool zc_dec_guarded(refcount_t *refs)
{
	WARN_ONCE(zc_holds_lock(), "zcdma: a reference is dropped where a lock is held\n");
	return refcount_dec_and_test(refs);
}
#define refcount_dec_and_test(refs)	zc_dec_guarded(refs)

/* Each living request holds its file, and so does who opened it, until none lives. */
static inline void zc_file_put_guarded(struct zc_file *file)
{
	struct zc_dev *dev = file->dev;
	unsigned long flags;

	if (dev->look && refcount_read(&file->refs) <= READ_ONCE(file->live) + 1) {
		spin_lock_irqsave(&dev->live_lock, flags);
		WARN_ONCE(file->live && refcount_read(&file->refs) <= file->live + 1,
			  "zcdma: a file is closed where its requests are alive\n");
		spin_unlock_irqrestore(&dev->live_lock, flags);
	}
	(zc_file_put)(file);
}
#define zc_file_put(file)		zc_file_put_guarded(file)

/* What holds a request holds references. */
static inline void zc_free_guarded(struct kmem_cache *cache, struct zc_req *req)
{
	WARN_ONCE(zc_look_ns && (req->where == ZC_PENDING || req->where == ZC_RING ||
				 req->mapped || req->nr_pinned || req->reserved ||
				 timer_pending(&req->timer)),
		  "zcdma: a request is freed where somebody has it\n");
	kmem_cache_free(cache, req);
}
#define kmem_cache_free(cache, req)	zc_free_guarded(cache, req)

/*
 * fs/aio.c may free the iocb once the request is queued.  From here on an error goes
 * through completion, so nothing that may fail is left but that.
 */
static inline void zc_set_cancel_guarded(struct kiocb *iocb, kiocb_cancel_fn *cancel)
{
	const struct zc_req *req = iocb->private;

	WARN_ONCE(zc_look_ns && (!req || READ_ONCE(req->where) != ZC_NOWHERE),
		  "zcdma: a callback is set where the request may be over\n");
	WARN_ONCE(zc_look_ns && req && (!req->mapped || (iocb->ki_flags & IOCB_NOWAIT &&
							 !req->reserved)),
		  "zcdma: a callback is set where the request may be refused\n");
	kiocb_set_cancel_fn(iocb, cancel);
}
#define kiocb_set_cancel_fn(iocb, cancel) zc_set_cancel_guarded(iocb, cancel)

/* The next ones bring about what a window of two statements hides, but for blind stress. */
static inline bool zc_widens(const struct zc_dev *dev)
{
	return zc_widen && dev->look;
}

static inline bool zc_may_nap(void)
{
	return zc_look_ns && zc_widen && in_task() && !irqs_disabled() && !in_atomic() &&
	       !rcu_preempt_depth();
}

/*
 * What is set without others' change is one's own, or a lock's: where no lock is held,
 * another one has the time to change it.
 */
static inline unsigned long zc_read_plain(const unsigned long *word)
{
	unsigned long was = READ_ONCE(*word);

	if (!zc_may_nap())
		return was;
	usleep_range(50, 100);
	WARN_ONCE(READ_ONCE(*word) != was, "zcdma: a bit is changed where others change theirs\n");
	return was;
}

static inline bool zc_change_plain(unsigned long nr, unsigned long *map, bool set)
{
	unsigned long *word = map + BIT_WORD(nr), mask = BIT_MASK(nr);
	unsigned long was = zc_read_plain(word);

	*word = set ? was | mask : was & ~mask;
	return was & mask;
}
/* macros since 6.0 */
#undef __set_bit
#undef __clear_bit
#undef __test_and_set_bit
#undef __test_and_clear_bit
#define __set_bit(nr, map)		((void)zc_change_plain(nr, map, true))
#define __clear_bit(nr, map)		((void)zc_change_plain(nr, map, false))
#define __test_and_set_bit(nr, map)	zc_change_plain(nr, map, true)
#define __test_and_clear_bit(nr, map)	zc_change_plain(nr, map, false)

#ifdef ZCDMA_UNORDERED_H
static inline void zc_rmb_guarded(void)
{
	zc_order_reads();
	dma_rmb();
}
#undef dma_rmb
#define dma_rmb()			zc_rmb_guarded()
#endif

/*
 * Whose pages come late keeps removal out, and with it all who submit: none are taken with
 * the gate held.  Of as many tasks as there is room for.
 */
#define ZC_GATED_TASKS	64

static struct task_struct *zc_gated[ZC_GATED_TASKS];

static inline struct task_struct **zc_gated_task(void)
{
	return &zc_gated[current->pid % ZC_GATED_TASKS];
}

static inline void zc_up_read_guarded(struct rw_semaphore *gate)
{
	if (READ_ONCE(*zc_gated_task()) == current)
		WRITE_ONCE(*zc_gated_task(), NULL);
	up_read(gate);
}
#define up_read(gate)			zc_up_read_guarded(gate)

#define zc_judge_pinning()						\
	WARN_ONCE(READ_ONCE(*zc_gated_task()) == current,		\
		  "zcdma: a page is pinned where it keeps removal waiting\n")
#define pin_user_pages_fast(start, nr, flags, pages) ({			\
	zc_judge_pinning();						\
	pin_user_pages_fast(start, nr, flags, pages); })

/*
 * Between the bus's removal of a device and the driver's notice of it are microseconds:
 * who is let in then waits for the notice.
 */
static inline int zc_down_read_guarded(struct rw_semaphore *gate)
{
	struct zc_dev *dev = container_of(gate, struct zc_dev, gate);
	int err = down_read_killable(gate);
	unsigned int naps;

	for (naps = 0; !err && naps < ZC_GUARD_NAPS && zc_widens(dev) && !READ_ONCE(dev->gone) &&
	     zc_read(dev, ZCDMA_STATUS) == ZCDMA_GONE; naps++)
		usleep_range(50, 100);
	if (!err && zc_look_ns)
		WRITE_ONCE(*zc_gated_task(), current);
	return err;
}
#define down_read_killable(gate)	zc_down_read_guarded(gate)

/*
 * What a poll has read before it joins a queue is out of date: one of four joins when
 * there is room, if it had none, and each second of those that ask for the device's end
 * alone when it has come, if it comes soon.
 */
static inline void zc_poll_wait_guarded(struct file *filp, wait_queue_head_t *queue,
					poll_table *wait)
{
	static atomic_t polls, polls_for_end;
	struct zc_dev *dev = ((struct zc_file *)filp->private_data)->dev;
	bool writes = queue == &dev->writable;
	__poll_t room = writes ? EPOLLOUT | EPOLLWRNORM : EPOLLIN | EPOLLRDNORM;
	__poll_t asked = poll_requested_events(wait) & ~(EPOLLHUP | EPOLLERR);
	unsigned int naps = 0;

	if (!zc_widens(dev) || !wait || !wait->_qproc)
		naps = 0;
	else if (asked & room)
		naps = atomic_inc_return(&polls) % 4 ? 0 : ZC_GUARD_NAPS;
	else if (!asked && !writes)
		naps = atomic_inc_return(&polls_for_end) % 2 ? 0 : 10 * ZC_GUARD_NAPS;
	for (; naps && !READ_ONCE(dev->gone) &&
	       (!asked || atomic_read(&dev->queued[writes]) >= (int)dev->size / 2); naps--)
		usleep_range(50, 100);
	poll_wait(filp, queue, wait);
}
#define poll_wait(filp, queue, wait)	zc_poll_wait_guarded(filp, queue, wait)

/*
 * Who makes room for somebody that sleeps in poll(2) has made it before he looks again:
 * where he may sleep, he does so until the next request ends too, if one does soon.
 */
static inline void zc_dec_counted(atomic_t *count)
{
	struct zc_dev *dev = zc_counted_by(count);
	unsigned int naps = 0;
	int room;

	if (!dev) {
		atomic_dec(count);
		return;
	}
	room = (int)dev->size / 2 - 1;
	if (atomic_dec_return(count) != room || !zc_may_nap() ||
	    !waitqueue_active(count == &dev->queued[1] ? &dev->writable : &dev->readable))
		return;
	while (naps++ < ZC_GUARD_NAPS && atomic_read(count) == room)
		usleep_range(50, 100);
}
#define atomic_dec(count)		zc_dec_counted(count)

/*
 * With a request's answer its file may be closed for good, while it is given back: where
 * nobody else has it, it is given back later, and one of sixteen where one other has.
 */
static inline void zc_answer_widened(struct kiocb *iocb, long result)
{
	static atomic_t answers;
	long files = zc_may_nap() ? file_count(iocb->ki_filp) : LONG_MAX;

	zc_ki_complete(iocb, result);
	if (files == 1 || (files == 2 && !(atomic_inc_return(&answers) % 16)))
		usleep_range(200, 400);
}

/*
 * Who answers a request has taken it out of the lists and off the bus.  One that was
 * queued, and has had a timer, ends as what befell it says; one that was not may have
 * been refused for any reason.
 */
static inline void zc_ki_complete_guarded(struct kiocb *iocb, long result)
{
	const struct zc_req *req = iocb->private;

	WARN_ONCE(zc_holds_lock(), "zcdma: a request is answered where a lock is held\n");
	WARN_ONCE(zc_look_ns && (req->where != ZC_TAKEN || req->mapped ||
				 timer_pending(&req->timer)),
		  "zcdma: a request is answered where others have it\n");
	WARN_ONCE(zc_look_ns && req->timer.expires &&
			  (result > (long)req->len ||
			   (result == -ETIMEDOUT && !req->expired) ||
			   (result == -ECANCELED && !req->cancel_asked) ||
			   (result == -ENODEV && !req->dev->gone)),
		  "zcdma: a request is answered without its reason\n");
	zc_answer_widened(iocb, result);
}
#define zc_ki_complete(iocb, result)	zc_ki_complete_guarded(iocb, result)

/* Who waits for a node opens it, and submits, before it is made known to be there. */
static inline int zc_register_guarded(struct miscdevice *misc)
{
	const struct zc_dev *dev = container_of(misc, struct zc_dev, misc);

	WARN_ONCE(zc_look_ns && (!dev->wq || !dev->engine || !dev->starts || !dev->mem_bytes ||
				 !dev->ring || dev->gone),
		  "zcdma: a node is made where its device is not whole\n");
	return misc_register(misc);
}
#define misc_register(misc)	zc_register_guarded(misc)

/* The kernels that ask this themselves are the slow ones. */
#define ZC_MAY_SLEEP() \
	WARN_ONCE(zc_look_ns && (in_interrupt() || irqs_disabled()), \
		  "zcdma: a page is locked where nobody may sleep\n")
#define set_page_dirty_lock(page) \
	({ ZC_MAY_SLEEP(); (set_page_dirty_lock)(page); })
#define unpin_user_pages_dirty_lock(pages, nr, dirty) \
	({ ZC_MAY_SLEEP(); (unpin_user_pages_dirty_lock)(pages, nr, dirty); })
#endif

#endif
