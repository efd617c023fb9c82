/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Every difference among the kernels from 5.10 to 7.3, and between
 * PREEMPT_RT and not, that zcdma meets; the driver has no LINUX_VERSION_CODE
 */
#ifndef ZCDMA_COMPAT_H
#define ZCDMA_COMPAT_H

#include <linux/fs.h>
#include <linux/hrtimer.h>
#include <linux/mm.h>
#include <linux/platform_device.h>
#include <linux/poll.h>
#include <linux/sched.h>
#include <linux/timer.h>
#include <linux/uio.h>
#include <linux/version.h>
#include <linux/wait.h>

/* fs/aio.c: ki_complete lost its third argument in 5.16 (res2 is 0 since). */
static inline void zc_ki_complete(struct kiocb *iocb, long res)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(5, 16, 0)
	iocb->ki_complete(iocb, res);
#else
	iocb->ki_complete(iocb, res, 0);
#endif
}

/* Does the iterator walk user addresses?  ITER_UBUF exists since 6.0. */
static inline bool zc_iter_is_user(const struct iov_iter *iter)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 0, 0)
	return user_backed_iter(iter);
#else
	return iter_is_iovec(iter);
#endif
}

/*
 * Until 5.14 iov_iter_advance() stopped at the next segment even if that was
 * empty (lib/iov_iter.c, iterate_and_advance()); since then it goes past it.
 */
#if LINUX_VERSION_CODE < KERNEL_VERSION(5, 14, 0)
static inline void zc_iter_advance(struct iov_iter *iter, size_t bytes)
{
	iov_iter_advance(iter, bytes);
	while (iov_iter_count(iter) && !iov_iter_single_seg_count(iter))
		iov_iter_advance(iter, 0);
}

#define iov_iter_advance zc_iter_advance
#endif

/* User address of the next byte; the length is iov_iter_single_seg_count(). */
static inline unsigned long zc_iter_addr(const struct iov_iter *iter)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 0, 0)
	if (iter_is_ubuf(iter))
		return (unsigned long)iter->ubuf + iter->iov_offset;
#endif
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 4, 0)
	return (unsigned long)iter_iov_addr(iter);
#else
	return (unsigned long)iter->iov->iov_base + iter->iov_offset;
#endif
}

/* from_timer() went and timer_container_of() came in 6.16. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 16, 0)
#define zc_from_timer(var, timer, field) timer_container_of(var, timer, field)
#else
#define zc_from_timer(var, timer, field) from_timer(var, timer, field)
#endif

/* del_timer() became timer_delete() in 6.2 and went later. */
static inline int zc_timer_delete(struct timer_list *timer)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 2, 0)
	return timer_delete(timer);
#else
	return del_timer(timer);
#endif
}

static inline bool zc_page_dirty(struct page *page)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(5, 16, 0)
	return folio_test_dirty(page_folio(page));
#else
	return PageDirty(compound_head(page));
#endif
}

/*
 * The soft engine interrupts from its timer.  On PREEMPT_RT fs/aio.c's ctx_lock
 * and the driver's locks sleep, so that a completion is legal in a softirq
 * (a thread) and illegal in hard interrupt context.
 */
#ifdef CONFIG_PREEMPT_RT
#define ZC_ENGINE_MODE		HRTIMER_MODE_ABS_SOFT
#define ZC_ENGINE_MODE_PINNED	HRTIMER_MODE_ABS_PINNED_SOFT
#else
#define ZC_ENGINE_MODE		HRTIMER_MODE_ABS_HARD
#define ZC_ENGINE_MODE_PINNED	HRTIMER_MODE_ABS_PINNED_HARD
#endif

/* hrtimer_setup() came in 6.13; hrtimer_init() and a public .function went. */
static inline void zc_hrtimer_setup(struct hrtimer *timer,
				    enum hrtimer_restart (*function)(struct hrtimer *),
				    enum hrtimer_mode mode)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 13, 0)
	hrtimer_setup(timer, function, CLOCK_MONOTONIC, mode);
#else
	hrtimer_init(timer, CLOCK_MONOTONIC, mode);
	timer->function = function;
#endif
}

/* In one of @states, and off its CPU.  task_struct.state was renamed in 5.14. */
static inline bool zc_is_asleep(struct task_struct *task, unsigned int states)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(5, 14, 0)
	unsigned int state = READ_ONCE(task->__state);
#else
	unsigned int state = READ_ONCE(task->state);
#endif

	if (!(state & states) || READ_ONCE(task->on_rq))
		return false;
#ifdef CONFIG_SMP
	/* until it has left its CPU, nvcsw may not have it (kernel/sched/core.c, __schedule()) */
	return !smp_load_acquire(&task->on_cpu);
#else
	return true;
#endif
}

/*
 * poll(2) and select(2) keep an entry with its poll_wqueues on the caller's stack
 * (fs/select.c, __pollwait()), the only ones to do so.  NULL: another's, or one of many.
 */
static inline struct poll_table_entry *zc_poll_entry(struct wait_queue_entry *entry)
{
	struct poll_wqueues *polls = entry->private;
	struct poll_table_entry *poll = container_of(entry, struct poll_table_entry, wait);
	unsigned long at = (unsigned long)poll - (unsigned long)polls->inline_entries;

	return polls && at < sizeof(polls->inline_entries) && !(at % sizeof(*poll)) ? poll : NULL;
}

/*
 * Somebody sleeps in poll(2) until one of @events, and no wake-up is on its way to him.
 * One that sleeps otherwise is on his way there, in ->poll of this file or the next.
 */
static inline bool zc_sleeps_in_poll(struct wait_queue_head *queue, __poll_t events)
{
	struct wait_queue_entry *entry;
	struct poll_table_entry *poll;
	struct poll_wqueues *polls;
	unsigned long flags;
	bool sleeps = false;

	spin_lock_irqsave(&queue->lock, flags);
	list_for_each_entry(entry, &queue->head, entry) {
		poll = zc_poll_entry(entry);
		polls = entry->private;
		sleeps |= poll && poll->key & events && !READ_ONCE(polls->triggered) &&
			  zc_is_asleep(polls->polling_task, TASK_INTERRUPTIBLE);
	}
	spin_unlock_irqrestore(&queue->lock, flags);
	return sleeps;
}

/* A platform driver's remove returned int until 6.11. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 11, 0)
#define ZC_REMOVE_RETURNS	void
#define ZC_REMOVE_RESULT
#else
#define ZC_REMOVE_RETURNS	int
#define ZC_REMOVE_RESULT	0
#endif

#endif /* ZCDMA_COMPAT_H */
