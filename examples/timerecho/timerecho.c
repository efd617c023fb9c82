// SPDX-License-Identifier: GPL-2.0
/*
 * timerecho: a memory that answers late
 *
 * A character device of 1 MiB.  Bytes move at once; the answer to an asynchronous
 * request comes a few milliseconds later, from a timer, as a device's would from
 * an interrupt.  A request that waits can be cancelled.
 *
 * It is the example of docs/your-driver.md, and it has a bug.  Linux 6.1 and later.
 */
#include <linux/aio.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/timer.h>
#include <linux/uio.h>
#include <linux/vmalloc.h>
#include <linux/workqueue.h>

#define ECHO_BYTES	(1UL << 20)

static unsigned int latency_ms = 4;
module_param(latency_ms, uint, 0444);
MODULE_PARM_DESC(latency_ms, "from a request to its answer");

static char *echo_memory;
static DEFINE_MUTEX(echo_lock);
static struct workqueue_struct *echo_queue;

struct echo_request {
	struct kiocb *iocb;
	struct timer_list timer;
	struct work_struct work;
	ssize_t result;
};

static void echo_finish(struct echo_request *request, long result)
{
	struct kiocb *iocb = request->iocb;

	/* A cancel may look at the request until ki_complete() has returned. */
	iocb->ki_complete(iocb, result);
	kfree(request);
}

static void echo_timer(struct timer_list *timer)
{
	struct echo_request *request = container_of(timer, struct echo_request, timer);

	echo_finish(request, request->result);
}

static void echo_cancelled(struct work_struct *work)
{
	struct echo_request *request = container_of(work, struct echo_request, work);

	echo_finish(request, -ECANCELED);
}

/* Under ctx_lock with interrupts off, so the answer is left to a work item. */
static int echo_cancel(struct kiocb *iocb)
{
	struct echo_request *request = iocb->private;

	timer_delete(&request->timer);
	queue_work(echo_queue, &request->work);
	return 0;
}

static ssize_t echo_move(struct kiocb *iocb, struct iov_iter *iter, bool write)
{
	size_t length = iov_iter_count(iter);
	size_t moved;

	if (iocb->ki_pos < 0 || iocb->ki_pos >= ECHO_BYTES)
		return write ? -ENOSPC : 0;
	length = min_t(size_t, length, ECHO_BYTES - iocb->ki_pos);
	mutex_lock(&echo_lock);
	moved = write ? copy_from_iter(echo_memory + iocb->ki_pos, length, iter)
		      : copy_to_iter(echo_memory + iocb->ki_pos, length, iter);
	mutex_unlock(&echo_lock);
	return moved || !length ? (ssize_t)moved : -EFAULT;
}

static ssize_t echo_io(struct kiocb *iocb, struct iov_iter *iter, bool write)
{
	struct echo_request *request;
	ssize_t moved;

	if (is_sync_kiocb(iocb)) {
		moved = echo_move(iocb, iter, write);
		if (moved > 0)
			iocb->ki_pos += moved;
		return moved;
	}
	request = kzalloc(sizeof(*request), GFP_KERNEL);
	if (!request)
		return -ENOMEM;
	moved = echo_move(iocb, iter, write);
	if (moved < 0) {
		kfree(request);
		return moved;
	}
	request->iocb = iocb;
	request->result = moved;
	timer_setup(&request->timer, echo_timer, 0);
	INIT_WORK(&request->work, echo_cancelled);
	iocb->private = request;
	kiocb_set_cancel_fn(iocb, echo_cancel);
	/* From here on the request may end, and is not ours. */
	mod_timer(&request->timer, jiffies + msecs_to_jiffies(latency_ms));
	return -EIOCBQUEUED;
}

static ssize_t echo_read_iter(struct kiocb *iocb, struct iov_iter *iter)
{
	return echo_io(iocb, iter, false);
}

static ssize_t echo_write_iter(struct kiocb *iocb, struct iov_iter *iter)
{
	return echo_io(iocb, iter, true);
}

static const struct file_operations echo_operations = {
	.owner = THIS_MODULE,
	.read_iter = echo_read_iter,
	.write_iter = echo_write_iter,
	.llseek = default_llseek,
};

static struct miscdevice echo_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "timerecho",
	.fops = &echo_operations,
};

static int __init echo_init(void)
{
	int ret = -ENOMEM;

	echo_memory = vzalloc(ECHO_BYTES);
	echo_queue = alloc_workqueue("timerecho", WQ_UNBOUND, 0);
	if (echo_memory && echo_queue)
		ret = misc_register(&echo_device);
	if (ret) {
		if (echo_queue)
			destroy_workqueue(echo_queue);
		vfree(echo_memory);
	}
	return ret;
}

static void __exit echo_exit(void)
{
	misc_deregister(&echo_device);
	destroy_workqueue(echo_queue);
	vfree(echo_memory);
}

module_init(echo_init);
module_exit(echo_exit);
MODULE_DESCRIPTION("memory that answers late");
MODULE_LICENSE("GPL");
