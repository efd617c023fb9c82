/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Wait queues, completions, poll words.  A wait bounded by two seconds or more
 * is a bound that a correct driver never reaches: here it waits for ever, and
 * a schedule in which nothing ends it is a deadlock with the waiter's name.
 */
#ifndef MODEL_LINUX_WAIT_H
#define MODEL_LINUX_WAIT_H

#include <linux/list.h>
#include <linux/spinlock.h>

typedef struct wait_queue_head {
	struct at_waitqueue *queue;
	spinlock_t lock;		/* for those who look who sleeps: nobody, here */
	struct list_head head;
} wait_queue_head_t;

struct wait_queue_entry {
	void *private;
	struct list_head entry;
};

#define init_waitqueue_head(q)		((q)->queue = at_waitqueue_init(q, #q), \
					 spin_lock_init(&(q)->lock), INIT_LIST_HEAD(&(q)->head))
#define wq_has_sleeper(q)		at_waitqueue_active((q)->queue, AT_HERE)
#define waitqueue_active(q)		at_waitqueue_active((q)->queue, AT_HERE)
#define wake_up(q)			at_wake_up((q)->queue, AT_HERE)
#define wake_up_all(q)			at_wake_up((q)->queue, AT_HERE)
#define wake_up_interruptible(q)	wake_up(q)
#define wake_up_interruptible_all(q)	wake_up(q)
#define wake_up_poll(q, events)		wake_up(q)
#define wake_up_interruptible_sync_poll(q, events) wake_up(q)
#define wake_up_interruptible_poll(q, events) at_wake_up((q)->queue, AT_HERE)

#define wait_event(q, condition) do {					\
	at_might_sleep(AT_HERE);					\
	if (condition)							\
		break;							\
	for (;;) {							\
		at_prepare_to_wait((q).queue, AT_HERE);			\
		if (condition)						\
			break;						\
		at_schedule((q).queue, AT_HERE);			\
	}								\
	at_finish_wait((q).queue, AT_HERE);				\
} while (0)
#define wait_event_timeout(q, condition, timeout) ({			\
	at_bound_is_long(timeout, AT_HERE);				\
	wait_event(q, condition);					\
	1L; })
/* nobody is killed, or has a signal */
#define wait_event_killable_timeout	wait_event_timeout
#define wait_event_interruptible_timeout wait_event_timeout
#define wait_event_killable(q, condition) ({ wait_event(q, condition); 0; })
#define wait_event_interruptible	wait_event_killable
#define signal_pending(task)		false
#define fatal_signal_pending(task)	false

struct completion {
	struct at_completion *completion;
};

#define init_completion(c)		((c)->completion = at_completion_init(c, #c))
#define reinit_completion(c)		at_reinit_completion((c)->completion, AT_HERE)
#define complete(c)			at_complete((c)->completion, AT_HERE)
#define complete_all(c)			at_complete_all((c)->completion, AT_HERE)
#define wait_for_completion(c)		at_wait_for_completion((c)->completion, AT_HERE)
#define wait_for_completion_interruptible(c) (wait_for_completion(c), 0)
#define wait_for_completion_killable(c)	(wait_for_completion(c), 0)
#define wait_for_completion_killable_timeout wait_for_completion_timeout
#define wait_for_completion_interruptible_timeout wait_for_completion_timeout
#define wait_for_completion_timeout(c, timeout) \
	at_wait_for_completion_timeout((c)->completion, timeout, AT_HERE)

typedef struct poll_table_struct poll_table;
struct file;
#define poll_wait(filp, queue, table)	do { } while (0)
#define EPOLLIN		0x0001U
#define EPOLLOUT	0x0004U
#define EPOLLERR	0x0008U
#define EPOLLHUP	0x0010U
#define EPOLLRDNORM	0x0040U
#define EPOLLWRNORM	0x0100U

#endif
