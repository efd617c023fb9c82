// SPDX-License-Identifier: GPL-2.0
/*
 * Requests, contexts and cancellation of fs/aio.c as of v6.1.192, by its own
 * names and in its own order of statements, without what zcdma cannot meet:
 * ring pages, eventfd, fsync, poll, the accounting of ring slots.
 *
 * The event ring is the ledger: aio_complete() says there what it would write.
 * percpu_ref keeps its count in one word; its kill goes through an RCU grace
 * period as percpu_ref_switch_to_atomic_rcu() does, and the release runs there
 * or in whoever drops the last reference later.
 */
#define MARKED_LISTS
#include <linux/aio.h>
#include <linux/list.h>
#include <linux/spinlock.h>

#include "aio_model.h"

struct percpu_ref {
	atomic_long_t count;
	int dead;
	void (*release)(struct percpu_ref *ref);
	const char *name;
};

struct ctx_rq_wait {
	struct completion comp;
	atomic_t count;
};

struct kioctx {
	struct percpu_ref users;
	atomic_t dead;
	struct percpu_ref reqs;
	struct ctx_rq_wait *rq_wait;
	spinlock_t ctx_lock;
	struct list_head active_reqs;	/* used for cancellation */
	spinlock_t completion_lock;
	unsigned int completed_events;
};

struct aio_kiocb {
	struct kiocb rw;
	struct kioctx *ki_ctx;
	kiocb_cancel_fn *ki_cancel;
	u64 ki_res_obj;
	long ki_res_res;
	struct list_head ki_list;	/* the aio core uses this for cancellation */
	refcount_t ki_refcnt;
};

/* mm->ioctx_lock, mm->ioctx_table */
struct mm_struct {
	spinlock_t ioctx_lock;
	struct kioctx *ioctx_table;
};

static struct mm_struct *mm;
static struct kmem_cache *kiocb_cachep, *kioctx_cachep;

/* ------------------------------------------------- lib/percpu-refcount.c */

static void percpu_ref_init(struct percpu_ref *ref, void (*release)(struct percpu_ref *ref),
			    const char *name)
{
	atomic_long_set(&ref->count, 1);
	ref->dead = 0;
	ref->release = release;
	ref->name = name;
}

static void percpu_ref_get(struct percpu_ref *ref)
{
	atomic_long_inc(&ref->count);
}

static bool percpu_ref_tryget_live(struct percpu_ref *ref)
{
	rcu_read_lock();
	if (READ_ONCE(ref->dead)) {
		rcu_read_unlock();
		return false;
	}
	percpu_ref_get(ref);
	rcu_read_unlock();
	return true;
}

static void percpu_ref_put(struct percpu_ref *ref)
{
	if (atomic_long_dec_and_test(&ref->count))
		ref->release(ref);
}

/* percpu_ref_switch_to_atomic_rcu(): from here on the count can reach zero */
static void percpu_ref_switch_to_atomic_rcu(void *ref)
{
	percpu_ref_put(ref);
}

static void percpu_ref_kill(struct percpu_ref *ref)
{
	WARN_ON(READ_ONCE(ref->dead));
	WRITE_ONCE(ref->dead, 1);
	at_call_rcu(ref, percpu_ref_switch_to_atomic_rcu, ref->name, AT_HERE);
}

/* -------------------------------------------------------------- fs/aio.c */

void kiocb_set_cancel_fn(struct kiocb *iocb, kiocb_cancel_fn *cancel)
{
	struct aio_kiocb *req;
	struct kioctx *ctx;
	unsigned long flags;

	if (!(iocb->ki_flags & IOCB_AIO_RW))
		return;

	req = container_of(iocb, struct aio_kiocb, rw);

	if (WARN_ON_ONCE(!list_empty(&req->ki_list)))
		return;

	ctx = req->ki_ctx;

	spin_lock_irqsave(&ctx->ctx_lock, flags);
	list_add_tail(&req->ki_list, &ctx->active_reqs);
	req->ki_cancel = cancel;
	spin_unlock_irqrestore(&ctx->ctx_lock, flags);
}

/* queue_rcu_work(): a grace period, then a work item; here its softirq half */
static void free_ioctx(void *at)
{
	struct kioctx *ctx = at;

	kmem_cache_free(kioctx_cachep, ctx);
}

static void free_ioctx_reqs(struct percpu_ref *ref)
{
	struct kioctx *ctx = container_of(ref, struct kioctx, reqs);

	/* At this point we know that there are no any in-flight requests */
	if (ctx->rq_wait && atomic_dec_and_test(&ctx->rq_wait->count))
		complete(&ctx->rq_wait->comp);

	/* Synchronize against RCU protected table->table[] dereferences */
	at_call_rcu(ctx, free_ioctx, "free_ioctx", AT_HERE);
}

static void free_ioctx_users(struct percpu_ref *ref)
{
	struct kioctx *ctx = container_of(ref, struct kioctx, users);
	struct aio_kiocb *req;

	spin_lock_irq(&ctx->ctx_lock);

	while (!list_empty(&ctx->active_reqs)) {
		req = list_first_entry(&ctx->active_reqs, struct aio_kiocb, ki_list);
		req->ki_cancel(&req->rw);
		list_del_init(&req->ki_list);
	}

	spin_unlock_irq(&ctx->ctx_lock);

	percpu_ref_kill(&ctx->reqs);
	percpu_ref_put(&ctx->reqs);
}

static struct kioctx *ioctx_alloc(void)
{
	struct kioctx *ctx = kmem_cache_alloc(kioctx_cachep, GFP_KERNEL);

	memset(ctx, 0, sizeof(*ctx));
	spin_lock_init(&ctx->ctx_lock);
	spin_lock_init(&ctx->completion_lock);
	INIT_LIST_HEAD(&ctx->active_reqs);
	percpu_ref_init(&ctx->users, free_ioctx_users, "free_ioctx_users");
	percpu_ref_init(&ctx->reqs, free_ioctx_reqs, "free_ioctx_reqs");
	atomic_set(&ctx->dead, 0);
	percpu_ref_get(&ctx->reqs);	/* free_ioctx_users() will drop this */
	return ctx;
}

static int kill_ioctx(struct kioctx *ctx, struct ctx_rq_wait *wait)
{
	spin_lock(&mm->ioctx_lock);
	if (atomic_xchg(&ctx->dead, 1)) {
		spin_unlock(&mm->ioctx_lock);
		return -EINVAL;
	}
	WRITE_ONCE(mm->ioctx_table, NULL);
	spin_unlock(&mm->ioctx_lock);

	ctx->rq_wait = wait;
	percpu_ref_kill(&ctx->users);
	return 0;
}

static struct aio_kiocb *aio_get_req(struct kioctx *ctx)
{
	struct aio_kiocb *req = kmem_cache_alloc(kiocb_cachep, GFP_KERNEL);

	if (unlikely(!req))
		return NULL;

	percpu_ref_get(&ctx->reqs);
	req->ki_ctx = ctx;
	INIT_LIST_HEAD(&req->ki_list);
	refcount_set(&req->ki_refcnt, 2);
	return req;
}

static struct kioctx *lookup_ioctx(void)
{
	struct kioctx *ctx, *ret = NULL;

	rcu_read_lock();
	ctx = READ_ONCE(mm->ioctx_table);
	if (ctx) {
		if (percpu_ref_tryget_live(&ctx->users))
			ret = ctx;
	}
	rcu_read_unlock();
	return ret;
}

static void iocb_destroy(struct aio_kiocb *iocb)
{
	if (iocb->rw.ki_filp)
		fput(iocb->rw.ki_filp);
	percpu_ref_put(&iocb->ki_ctx->reqs);
	kmem_cache_free(kiocb_cachep, iocb);
}

static void aio_complete(struct aio_kiocb *iocb)
{
	struct kioctx *ctx = iocb->ki_ctx;
	unsigned long flags;

	spin_lock_irqsave(&ctx->completion_lock, flags);
	at_ledger_event(iocb->ki_res_obj, iocb->ki_res_res, AT_HERE);
	ctx->completed_events++;
	spin_unlock_irqrestore(&ctx->completion_lock, flags);
}

static void iocb_put(struct aio_kiocb *iocb)
{
	if (refcount_dec_and_test(&iocb->ki_refcnt)) {
		aio_complete(iocb);
		iocb_destroy(iocb);
	}
}

static void aio_remove_iocb(struct aio_kiocb *iocb)
{
	struct kioctx *ctx = iocb->ki_ctx;
	unsigned long flags;

	spin_lock_irqsave(&ctx->ctx_lock, flags);
	list_del(&iocb->ki_list);
	spin_unlock_irqrestore(&ctx->ctx_lock, flags);
}

static void aio_complete_rw(struct kiocb *kiocb, long res)
{
	struct aio_kiocb *iocb = container_of(kiocb, struct aio_kiocb, rw);

	if (!list_empty_careful(&iocb->ki_list))
		aio_remove_iocb(iocb);

	iocb->ki_res_res = res;
	iocb_put(iocb);
}

static void aio_rw_done(struct kiocb *req, ssize_t ret)
{
	switch (ret) {
	case -EIOCBQUEUED:
		break;
	default:
		req->ki_complete(req, ret);
	}
}

static int aio_rw(struct kiocb *req, const struct at_iocb *iocb)
{
	struct iovec inline_vec = { (void *)iocb->aio_buf, iocb->aio_nbytes };
	struct iov_iter iter = { .iov = &inline_vec, .count = iocb->aio_nbytes };
	struct file *file = req->ki_filp;

	req->ki_complete = aio_complete_rw;
	req->private = NULL;
	req->ki_pos = iocb->aio_offset;
	req->ki_flags = IOCB_AIO_RW | (iocb->nowait ? IOCB_NOWAIT : 0);
	if (iocb->write) {
		req->ki_flags |= IOCB_WRITE;
		aio_rw_done(req, file->f_op->write_iter(req, &iter));
	} else {
		aio_rw_done(req, file->f_op->read_iter(req, &iter));
	}
	return 0;
}

static int __io_submit_one(const struct at_iocb *iocb, struct aio_kiocb *req)
{
	req->rw.ki_filp = at_fget(iocb->aio_fildes);
	if (unlikely(!req->rw.ki_filp))
		return -EBADF;
	req->ki_res_obj = iocb->obj;
	req->ki_res_res = 0;
	return aio_rw(&req->rw, iocb);
}

static int io_submit_one(struct kioctx *ctx, const struct at_iocb *iocb)
{
	struct aio_kiocb *req;
	int err;

	req = aio_get_req(ctx);
	if (unlikely(!req))
		return -EAGAIN;

	err = __io_submit_one(iocb, req);

	/* Done with the synchronous reference */
	iocb_put(req);

	if (unlikely(err))
		iocb_destroy(req);
	return err;
}

/* --------------------------------------------------------- system calls */

void at_aio_init(void)
{
	kiocb_cachep = at_cache_create("aio_kiocb", sizeof(struct aio_kiocb));
	kioctx_cachep = at_cache_create("kioctx", sizeof(struct kioctx));
	mm = kzalloc(sizeof(*mm), GFP_KERNEL);
	spin_lock_init(&mm->ioctx_lock);
	mm->ioctx_table = ioctx_alloc();
}

int at_io_submit(const struct at_iocb *iocb)
{
	struct kioctx *ctx = lookup_ioctx();
	int ret;

	if (unlikely(!ctx))
		return -EINVAL;
	ret = io_submit_one(ctx, iocb);
	percpu_ref_put(&ctx->users);
	return ret;
}

int at_io_cancel(u64 obj)
{
	struct kioctx *ctx;
	struct aio_kiocb *kiocb;
	int ret = -EINVAL;

	ctx = lookup_ioctx();
	if (unlikely(!ctx))
		return -EINVAL;

	spin_lock_irq(&ctx->ctx_lock);
	list_for_each_entry(kiocb, &ctx->active_reqs, ki_list) {
		if (kiocb->ki_res_obj == obj) {
			ret = kiocb->ki_cancel(&kiocb->rw);
			list_del_init(&kiocb->ki_list);
			break;
		}
	}
	spin_unlock_irq(&ctx->ctx_lock);

	if (!ret)
		ret = -EINPROGRESS;

	percpu_ref_put(&ctx->users);

	return ret;
}

int at_io_destroy(void)
{
	struct kioctx *ioctx = lookup_ioctx();
	struct ctx_rq_wait wait;
	int ret;

	if (!ioctx)
		return -EINVAL;

	init_completion(&wait.comp);
	atomic_set(&wait.count, 1);

	ret = kill_ioctx(ioctx, &wait);
	percpu_ref_put(&ioctx->users);

	if (!ret)
		wait_for_completion(&wait.comp);

	return ret;
}

/* exit_aio(): no other task of this mm is left, and nobody looks the context up */
void at_exit_aio(void)
{
	struct kioctx *ctx = READ_ONCE(mm->ioctx_table);
	struct ctx_rq_wait wait;

	if (!ctx)
		return;
	init_completion(&wait.comp);
	atomic_set(&wait.count, 1);
	kill_ioctx(ctx, &wait);
	wait_for_completion(&wait.comp);
}
