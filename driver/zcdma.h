/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A request, its references and its owner
 *
 *	submitter:  SUBMIT - PIN - MAP - QUEUE
 *	                                   |  where = PENDING or RING, under dev->lock
 *	     +-----------------+-----------+------+-------------------+
 *	  interrupt        io_cancel          timer, work          removal
 *	     +-----------------+-----------+------+-------------------+
 *	                                   |  whoever sets where = TAKEN under
 *	                                   |  dev->lock owns the completion
 *	                                COMPLETE - UNMAP - ki_complete
 *	last put:                          UNPIN - FREE
 *
 * Locks, outermost first:
 *	dev->gate (submission against removal, sleeps)
 *	fs/aio.c ctx_lock -> dev->lock -> dev->live_lock, the engine's lock
 * ki_complete(), wake-ups and the last put are never under any of these:
 * aio_complete_rw() takes ctx_lock, and ctx_lock is held around our cancel
 * callback.
 */
#ifndef ZCDMA_H
#define ZCDMA_H

#include <linux/atomic.h>
#include <linux/completion.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/miscdevice.h>
#include <linux/mutex.h>
#include <linux/refcount.h>
#include <linux/rwsem.h>
#include <linux/scatterlist.h>
#include <linux/spinlock.h>
#include <linux/timer.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "fail_injector.h"
#include "zcdma_regs.h"

#define ZC_NAME			"zcdma"
#define ZC_MAX_DEVICES		8
#define ZC_INLINE_PAGES		8	/* a request of 28 KiB at any alignment */
#define ZC_MAX_PAGES		256	/* of one request; more is a short transfer */
#define ZC_SEGMENT_BYTES	65536U	/* of one descriptor */
#define ZC_RESET_MS		1000U	/* generous: a virtual CPU may stand still */

enum zc_cancel_mode {
	ZC_CANCEL_CALLBACK,	/* abort the one chain */
	ZC_CANCEL_FLUSH,	/* stop, take all out, restart the survivors */
	ZC_CANCEL_FLAG,		/* set the word that the descriptors point to */
	ZC_CANCEL_NONE,
};

/* Who holds a reference, and until when. */
enum zc_holder {
	ZC_SUBMIT,	/* read_iter or write_iter, until it returns */
	ZC_ENGINE,	/* the lists, until the transfer is over and unmapped */
	ZC_CANCEL,	/* a cancel that was accepted, until the completion */
	ZC_TIMEOUT,	/* the armed timer, until deleted or its function ends */
	ZC_CORE,	/* fs/aio.c, until ki_complete() has returned */
	ZC_NR_HOLDERS
};

enum zc_where {
	ZC_NOWHERE,	/* the submitter's alone */
	ZC_PENDING,	/* on dev->pending: waits for descriptors */
	ZC_RING,	/* on dev->inflight: the engine may access its memory */
	ZC_TAKEN,	/* somebody completes it */
};

struct zc_dev;

struct zc_file {
	struct zc_dev *dev;
	refcount_t refs;	/* the open file and each of its requests */
	unsigned int live;	/* requests, under dev->live_lock */
};

struct zc_req {
	struct zc_dev *dev;
	struct zc_file *file;
	struct kiocb *iocb;		/* not to be touched after ki_complete() */
	u32 cookie;
	bool sync;
	bool to_device;
	u32 len;			/* bytes to move */
	u32 dev_addr;
	pid_t pid;
	ktime_t born;

	refcount_t refs;
	unsigned long holders;		/* a bit for each enum zc_holder */
	enum at_phase phase;
	ssize_t result;

	/* under dev->lock */
	struct list_head node;		/* pending, inflight, or its owner's list */
	enum zc_where where;
	bool cancel_asked;
	bool expired;
	bool reserved;			/* `count` descriptors are set aside */
	u32 first;			/* ring index, runs freely */
	u32 count;			/* descriptors, known after mapping */
	u32 seq;			/* what the engine must echo */

	struct timer_list timer;
	struct completion done;		/* a synchronous iocb waits here */
	struct list_head live_node;	/* dev->live, under dev->live_lock */
	u64 number;			/* order of submission */

	unsigned int nr_pages;
	unsigned int nr_pinned;
	bool mapped;
	struct page **pages;
	struct sg_table sgt;
	/* not cleared on allocation */
	struct page *inline_pages[ZC_INLINE_PAGES];
	struct scatterlist inline_sg[ZC_INLINE_PAGES];
};

enum zc_count {
	ZC_SUBMITTED,
	ZC_COMPLETED,
	ZC_COMPLETED_OK,
	ZC_COMPLETED_SHORT,
	ZC_COMPLETED_ERROR,
	ZC_COMPLETED_CANCELLED,
	ZC_COMPLETED_TIMEOUT,
	ZC_COMPLETED_NODEV,
	ZC_ENGINE_STOPS,
	ZC_ENGINE_RESETS,
	ZC_ENGINE_IRQS,
	ZC_LATE_IRQS,
	ZC_CANCEL_CALLS,
	ZC_ILLEGAL_STEPS,
	ZC_NR_COUNTS
};

struct zc_dev {
	struct kref kref;		/* probe and each open file */
	struct device *dma_dev;
	struct miscdevice misc;
	u32 number;
	char name[16];
	enum zc_cancel_mode cancel_mode;
	u32 mem_bytes;

	const struct zcdma_engine_ops *ops;
	struct zcdma_engine *engine;

	struct rw_semaphore gate;	/* submission in, removal out */
	spinlock_t lock;		/* irq-safe */
	bool gone;			/* answers -ENODEV from now on */
	bool halted;			/* no doorbells: stopping, stopped, gone */
	bool suspect;			/* the engine read as gone or forgot its ring */
	bool removing;
	struct list_head pending;
	struct list_head inflight;
	struct list_head reap;		/* cancelled while pending, for reap_work */
	u32 size;			/* of the ring */
	u32 tail;			/* next free index */
	u32 clean;			/* oldest index not given back */
	u32 reserved;			/* descriptors promised to IOCB_NOWAIT */
	u32 seq;
	u32 starts;			/* of the engine */
	unsigned long *busy;		/* a bit for each slot in use */
	struct zcdma_desc *ring;
	dma_addr_t ring_bus;
	__le32 *cancel_words;		/* one for each slot, used by a chain's first */
	dma_addr_t cancel_bus;
	struct completion stopped;	/* the stop was acknowledged */
	struct workqueue_struct *wq;
	struct work_struct reap_work;
	struct work_struct recover_work;
	struct work_struct dirty_work;

	spinlock_t live_lock;		/* irq-safe: live, undirty, and the counts of live */
	struct list_head live;		/* all requests, oldest first */
	unsigned int nr_live;
	u64 next_number;
	struct list_head undirty;	/* lost a page's dirty bit, for dirty_work */
	wait_queue_head_t drained;	/* a request was freed */

	wait_queue_head_t readable;
	wait_queue_head_t writable;
	atomic_t queued[2];		/* not completed, by direction */

	atomic_long_t pinned_pages;
	atomic_long_t mapped_descs;
	atomic64_t counts[ZC_NR_COUNTS];
	struct dentry *books;
	atomic_t interrupted;		/* handlers under way */
	bool told_gone;			/* an interrupt has told of it, and was handled */
	struct zc_look *look;
};

static inline void zc_count(struct zc_dev *dev, enum zc_count which)
{
	atomic64_inc(&dev->counts[which]);
}

static inline u32 zc_read(const struct zc_dev *dev, enum zcdma_reg reg)
{
	return dev->ops->read(dev->engine, reg);
}

static inline void zc_write(const struct zc_dev *dev, enum zcdma_reg reg, u32 value)
{
	dev->ops->write(dev->engine, reg, value);
}

/* zcdma.c: module parameters and the hooks of the fault injector */
extern unsigned int zc_timeout_ms, zc_stop_ms, zc_look_ns;
extern bool zc_widen;

/* zcdma_pages.c: user memory and the bus */
int zc_pin(struct zc_req *req, struct iov_iter *iter);
int zc_map(struct zc_req *req);
void zc_unmap(struct zc_req *req);
bool zc_lost_dirty(struct zc_req *req);
void zc_redirty(struct zc_req *req);
void zc_unpin(struct zc_req *req);

/* zcdma_request.c: the life of a request */
struct zc_req *zc_alloc(struct zc_file *file, u32 cookie);
void zc_step(struct zc_req *req, enum at_phase to);
void zc_get(struct zc_req *req, enum zc_holder holder);
void zc_put(struct zc_req *req, enum zc_holder holder);
int zc_reserve(struct zc_req *req);
void zc_queue(struct zc_req *req, int error);
int zc_cancel(struct zc_req *req);
void zc_interrupt(void *arg);
void zc_reap_work(struct work_struct *work);
void zc_recover_work(struct work_struct *work);
void zc_dirty_work(struct work_struct *work);
void zc_start_engine(struct zc_dev *dev);
unsigned long zc_patience(void);
void zc_file_put(struct zc_file *file);

/* zcdma_looks.c */
void zc_looks_begin(struct zc_dev *dev);
void zc_looks_at_removal(struct zc_dev *dev);
void zc_looks_end(struct zc_dev *dev);
void zc_look_at_release(const spinlock_t *lock, ktime_t *not_before);
bool zc_is_unguarded(const struct list_head *head);
struct zc_dev *zc_counted_by(const atomic_t *queued);

static inline bool zc_is_unlocked(const struct zc_dev *dev, const spinlock_t *lock)
{
	return dev->look && !spin_is_locked((spinlock_t *)lock);
}

/* Those of <linux/spinlock.h>, without a look. */
static inline void zc_unlock_irq(spinlock_t *lock)
{
	spin_unlock_irq(lock);
}

static inline void zc_unlock_irqrestore(spinlock_t *lock, unsigned long flags)
{
	spin_unlock_irqrestore(lock, flags);
}

/*
 * What is broken only from where a lock is let go of to the next line, a look at any
 * moment hardly meets: each such place is looked at in its turn.  The model has no
 * such moment, and these as macros.
 */
#ifndef spin_unlock_irq
#define ZC_LOCKS_ARE_FUNCTIONS

#define ZC_LOOK_AT_RELEASE(lock) do {			\
	static ktime_t zc_not_before;			\
							\
	zc_look_at_release(lock, &zc_not_before);	\
} while (0)

#define spin_unlock_irq(lock) do {			\
	spinlock_t *zc_lock = (lock);			\
							\
	ZC_LOOK_AT_RELEASE(zc_lock);			\
	zc_unlock_irq(zc_lock);				\
} while (0)

#define spin_unlock_irqrestore(lock, flags) do {	\
	spinlock_t *zc_lock = (lock);			\
							\
	ZC_LOOK_AT_RELEASE(zc_lock);			\
	zc_unlock_irqrestore(zc_lock, flags);		\
} while (0)
#endif

/* zcdma_books.c */
void zc_books_init(void);
void zc_books_exit(void);
void zc_books_add(struct zc_dev *dev);
void zc_books_remove(struct zc_dev *dev);

#endif /* ZCDMA_H */
