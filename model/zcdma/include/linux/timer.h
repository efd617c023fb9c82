/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Time, timers, work items, cross-CPU calls.  An armed timer may fire at any
 * point; when it does, its fiber's time is at least its expiry, and time goes
 * on along what is ordered by synchronisation.
 */
#ifndef MODEL_LINUX_TIMER_H
#define MODEL_LINUX_TIMER_H

#include <linux/atomic.h>

#define HZ			1000
#define NSEC_PER_USEC		1000L
#define NSEC_PER_MSEC		1000000L
#define NSEC_PER_SEC		1000000000L

typedef s64 ktime_t;

#define ktime_get()			at_now_ns()
#define ktime_add_ns(t, ns)		((ktime_t)((t) + (ns)))
#define ktime_sub(a, b)			((a) - (b))
#define ktime_us_delta(a, b)		(((a) - (b)) / 1000)
static inline int ktime_compare(ktime_t a, ktime_t b)
{
	return a < b ? -1 : a > b;
}
#define jiffies				((unsigned long)(at_now_ns() / (NSEC_PER_SEC / HZ)))
#define msecs_to_jiffies(ms)		((unsigned long)(ms) * HZ / 1000)
#define time_after(a, b)		((long)((b) - (a)) < 0)
#define time_before(a, b)		time_after(b, a)
#define time_after_eq(a, b)		((long)((a) - (b)) >= 0)
#define time_before_eq(a, b)		time_after_eq(b, a)
#define ktime_get_ns()			((u64)at_now_ns())
#define cond_resched()			at_might_sleep(AT_HERE)
#define usleep_range(low_us, high_us)	at_sleep_us(high_us, AT_HERE)
#define msleep(ms)			at_sleep_us((ms) * 1000UL, AT_HERE)
#define cpu_relax()			at_cpu_relax(AT_HERE)

struct timer_list {
	struct at_timer *timer;
	void (*function)(struct timer_list *timer);
	unsigned long expires;		/* not kept */
	unsigned int flags;
};

#define TIMER_DEFERRABLE	0x00080000

#define timer_setup(t, f, how)		\
	((t)->flags = (how), (t)->function = (f), (t)->timer = at_timer_init(t, f, #f))
#define timer_pending(t)		((t)->timer != NULL)
#define mod_timer(t, at)		at_mod_timer((t)->timer, at, AT_HERE)
#define del_timer(t)			at_del_timer((t)->timer, AT_HERE)
#define del_timer_sync(t)		at_del_timer_sync((t)->timer, AT_HERE)
#define try_to_del_timer_sync(t)	del_timer(t)
#define timer_shutdown_sync(t)		del_timer_sync(t)
#define timer_delete(t)			del_timer(t)
#define timer_delete_sync(t)		del_timer_sync(t)
#define from_timer(var, t, field)	container_of(t, __typeof__(*var), field)

enum hrtimer_restart { HRTIMER_NORESTART, HRTIMER_RESTART };
enum hrtimer_mode { HRTIMER_MODE_ABS_HARD, HRTIMER_MODE_ABS_PINNED_HARD };
#define CLOCK_MONOTONIC 1

struct hrtimer {
	struct at_timer *timer;
	enum hrtimer_restart (*function)(struct hrtimer *timer);
};

#define hrtimer_init(t, clock, mode)	((t)->timer = at_hrtimer_init(t, #t))
#define hrtimer_start(t, at, mode)	at_hrtimer_start((t)->timer, at, AT_HERE)
#define hrtimer_cancel(t)		at_hrtimer_cancel((t)->timer, AT_HERE)
#define hrtimer_is_queued(t)		at_hrtimer_is_queued((t)->timer, AT_HERE)

struct work_struct {
	struct at_work *work;
	void (*function)(struct work_struct *work);
};
struct workqueue_struct;

#define WQ_UNBOUND		0x2
#define WQ_MEM_RECLAIM		0x8
#define WQ_HIGHPRI		0x10
#define INIT_WORK(w, f)			((w)->function = (f), (w)->work = at_work_init(w, f, #f))
#define alloc_workqueue(format, flags, active, ...) at_alloc_workqueue(AT_HERE)
#define destroy_workqueue(wq)		at_destroy_workqueue(wq, AT_HERE)
#define queue_work(wq, w)		at_queue_work(wq, (w)->work, AT_HERE)
#define flush_work(w)			at_flush_work((w)->work, AT_HERE)
#define work_busy(w)			at_work_busy((w)->work, AT_HERE)
#define cancel_work_sync(w)		at_cancel_work_sync((w)->work, AT_HERE)

#define nr_cpu_ids			2
#define cpu_online(cpu)			((unsigned int)(cpu) < nr_cpu_ids)
#define raw_smp_processor_id()		0

typedef struct at_csd {
	struct at_timer *call;
	void (*func)(void *info);
	void *info;
} call_single_data_t;

#define smp_call_function_single_async(cpu, csd) at_call_single_async(csd, AT_HERE)

#define rcu_read_lock()			at_rcu_read_lock(AT_HERE)
#define rcu_read_unlock()		at_rcu_read_unlock(AT_HERE)
#define synchronize_rcu()		at_synchronize_rcu(AT_HERE)

#endif
