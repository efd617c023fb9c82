// SPDX-License-Identifier: GPL-2.0
/*
 * A zero-copy DMA character driver for asynchronous I/O
 *
 * /dev/zcdmaN is a device's memory.  Reads and writes, vectored and of any
 * alignment, pin the user's pages and hand them to a descriptor ring; the
 * answer comes by interrupt.  docs/driver.md draws a request's life.
 *
 * This file holds the module, the file operations and the probe, and is the
 * module's one translation unit: the name zcdma.o and one set of phase marks
 * serve all parts.  The engines come first, where nothing of the driver's is
 * declared that they must not see.
 */
#include <linux/aio.h>
#include <linux/dma-mapping.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/poll.h>
#include <linux/slab.h>
#include <linux/uio.h>

#include "aiotorture.h"
AT_DEFINE_MARKS("zcdma");

#include "zcdma_engine_soft.c"
#ifdef CONFIG_PCI
#include "zcdma_engine_edu.c"
#else
#include "zcdma_engine_none.h"
#endif
#include "zcdma.h"
#include "zcdma_guard.h"

/* ------------------------------------------------------------------- marks */

/* Delays are spent inside.  Of these phases, only cancel is under a lock. */
static __always_inline void zc_mark(enum at_racer racer, enum at_phase phase, u32 cookie)
{
	AT_OUTCOME(out);

	if (phase == AT_CANCEL)
		at_mark(racer, phase, cookie, &out);
	else
		at_mark_may_sleep(racer, phase, cookie, &out);
}

/* A submitter's phase, which may be told to fail. */
static __always_inline int zc_mark_fails(enum at_phase phase, u32 cookie)
{
	AT_OUTCOME(out);

	if (at_mark_may_sleep(AT_SUBMITTER, phase, cookie, &out) &&
	    out.action == AT_FAIL)
		return out.err;
	return 0;
}

#include "zcdma_pages.c"
#include "zcdma_request.c"
#include "zcdma_looks.c"
#include "zcdma_books.c"

static char *engine = "soft";
module_param(engine, charp, 0444);
MODULE_PARM_DESC(engine, "who moves the bytes: soft, a timer; edu, QEMU's PCI device");
static unsigned int devices = 1;
module_param(devices, uint, 0444);
MODULE_PARM_DESC(devices, "nodes, 1..8");
static unsigned int mem_mb = 16;
module_param(mem_mb, uint, 0444);
MODULE_PARM_DESC(mem_mb, "soft engine: memory of each device, 1..256 MiB");
static unsigned int ring = 256;
module_param(ring, uint, 0444);
MODULE_PARM_DESC(ring, "descriptors, 2..4096, a power of two");
static char *cancel = "callback";
module_param(cancel, charp, 0444);
MODULE_PARM_DESC(cancel, "how a request in flight is cancelled: callback flush flag none");
unsigned int zc_timeout_ms = 200;
module_param_named(timeout_ms, zc_timeout_ms, uint, 0444);
MODULE_PARM_DESC(timeout_ms, "bound of a request, 1..60000");
unsigned int zc_stop_ms = 50;
module_param_named(stop_ms, zc_stop_ms, uint, 0444);
MODULE_PARM_DESC(stop_ms, "bound of a stop, then reset, 1..1000");
static unsigned int latency_ns = 20000;
module_param(latency_ns, uint, 0444);
MODULE_PARM_DESC(latency_ns, "soft engine: from doorbell to the first descriptor, 0..10^9");
static unsigned int burst = 4;
module_param(burst, uint, 0444);
MODULE_PARM_DESC(burst, "soft engine: descriptors a tick, 1..256");
static unsigned int irq_gap_ns;
module_param(irq_gap_ns, uint, 0444);
MODULE_PARM_DESC(irq_gap_ns, "soft engine: least time between two interrupts, 0..10^9");
static unsigned int ack_ns = 3000;
module_param(ack_ns, uint, 0444);
MODULE_PARM_DESC(ack_ns, "soft engine: from a stop or reset to its acknowledgement, 0..10^9");
static int engine_cpu = -1;
module_param(engine_cpu, int, 0444);
MODULE_PARM_DESC(engine_cpu, "soft engine: CPU of its timer, -1: any");
unsigned int zc_look_ns;
module_param_named(look_ns, zc_look_ns, uint, 0444);
MODULE_PARM_DESC(look_ns, "from one look at what the lock guards to the next, 10000..10^9, 0: none");
bool zc_widen = true;
module_param_named(widen, zc_widen, bool, 0444);
MODULE_PARM_DESC(widen, "where it is looked at: bring about what a window of two statements hides");
static bool poll_wake;
module_param(poll_wake, bool, 0444);
MODULE_PARM_DESC(poll_wake, "wake the queues from inside ->poll");

/* --------------------------------------------------------- read and write */

static int zcdma_ki_cancel(struct kiocb *iocb)
{
	return zc_cancel(iocb->private);
}

/*
 * A killed waiter cancels and waits on: the request ends by its cancellation
 * or, at the latest, by its timeout.
 */
static ssize_t zc_wait(struct zc_req *req)
{
	if (wait_for_completion_killable(&req->done)) {
		zc_cancel(req);
		if (!wait_for_completion_timeout(&req->done, zc_patience()))
			return -EIO;	/* its pages stay pinned until the engine answers */
	}
	return req->result;
}

/* From the pages to the bus; what fails here is undone by the caller. */
static int zc_prepare(struct zc_req *req, bool nowait)
{
	int err;

	zc_step(req, AT_MAP);
	err = zc_mark_fails(AT_MAP, req->cookie);
	if (!err)
		err = zc_map(req);
	if (!err && nowait)
		err = zc_reserve(req);
	if (err) {
		zc_step(req, AT_UNMAP);
		zc_unmap(req);
	}
	return err;
}

static int zc_enter(struct zc_dev *dev, bool nowait)
{
	if (nowait) {
		if (!down_read_trylock(&dev->gate))
			return -EAGAIN;
	} else if (down_read_killable(&dev->gate)) {
		return -EINTR;
	}
	if (READ_ONCE(dev->gone)) {
		up_read(&dev->gate);
		return -ENODEV;
	}
	return 0;
}

static ssize_t zc_submit(struct zc_req *req, struct kiocb *iocb, struct iov_iter *iter)
{
	struct zc_dev *dev = req->dev;
	bool nowait = iocb->ki_flags & IOCB_NOWAIT;
	int err;

	zc_step(req, AT_PIN);
	err = zc_mark_fails(AT_PIN, req->cookie);
	if (!err)
		err = zc_pin(req, iter);
	if (err)
		return err;
	err = zc_enter(dev, nowait);
	if (err)
		return err;
	err = zc_prepare(req, nowait);
	if (err)
		goto leave;

	if (!req->sync) {
		req->iocb = iocb;
		iocb->private = req;
		zc_get(req, ZC_CORE);
		/* after all that the callback reads, before completion is possible */
		if (dev->cancel_mode != ZC_CANCEL_NONE)
			kiocb_set_cancel_fn(iocb, zcdma_ki_cancel);
	}
	zc_queue(req, zc_mark_fails(AT_QUEUE, req->cookie));
	/* an asynchronous iocb may be complete and freed by now */
	up_read(&dev->gate);
	return req->sync ? zc_wait(req) : -EIOCBQUEUED;

leave:
	up_read(&dev->gate);
	return err;
}

static ssize_t zcdma_rw(struct kiocb *iocb, struct iov_iter *iter, bool to_device)
{
	struct zc_file *file = iocb->ki_filp->private_data;
	struct zc_dev *dev = file->dev;
	u64 addr = iocb->ki_pos & ((1ULL << AT_COOKIE_SHIFT) - 1);
	u32 cookie = (iocb->ki_pos >> AT_COOKIE_SHIFT) & ((1U << AT_COOKIE_BITS) - 1);
	struct zc_req *req;
	ssize_t result;
	bool sync = is_sync_kiocb(iocb);

	if (READ_ONCE(dev->gone))
		return -ENODEV;
	if (!zc_iter_is_user(iter))
		return -EOPNOTSUPP;
	if (!iov_iter_count(iter))
		return 0;
	if (addr >= dev->mem_bytes)
		return to_device ? -ENOSPC : 0;

	result = zc_mark_fails(AT_SUBMIT, cookie);
	if (result)
		return result;
	req = zc_alloc(file, cookie);
	if (!req)
		return -ENOMEM;
	req->sync = sync;
	req->to_device = to_device;
	req->dev_addr = addr;
	req->len = min_t(u64, iov_iter_count(iter), dev->mem_bytes - addr);
	result = zc_submit(req, iocb, iter);
	zc_put(req, ZC_SUBMIT);
	if (sync && result > 0)
		iocb->ki_pos += result;
	return result;
}

static ssize_t zcdma_read_iter(struct kiocb *iocb, struct iov_iter *to)
{
	return zcdma_rw(iocb, to, false);
}

static ssize_t zcdma_write_iter(struct kiocb *iocb, struct iov_iter *from)
{
	return zcdma_rw(iocb, from, true);
}

/* -------------------------------------------------- the other operations */

static bool zc_drained_to(struct zc_dev *dev, u64 number)
{
	struct zc_req *oldest;
	bool drained;

	spin_lock_irq(&dev->live_lock);
	oldest = list_first_entry_or_null(&dev->live, struct zc_req, live_node);
	drained = !oldest || oldest->number >= number;
	spin_unlock_irq(&dev->live_lock);
	return drained;
}

/* Waits for the requests submitted before; each of them ends in bounded time. */
static int zcdma_fsync(struct file *filp, loff_t start, loff_t end, int datasync)
{
	struct zc_file *file = filp->private_data;
	struct zc_dev *dev = file->dev;
	u64 number;
	long left;

	spin_lock_irq(&dev->live_lock);
	number = dev->next_number;
	spin_unlock_irq(&dev->live_lock);
	left = wait_event_killable_timeout(dev->drained, zc_drained_to(dev, number),
					   zc_patience());
	if (left < 0)
		return -EINTR;
	if (!left)
		return -EIO;
	return READ_ONCE(dev->gone) ? -ENODEV : 0;
}

/* Readable, writable: half the ring is not yet taken by that direction. */
static __poll_t zcdma_poll(struct file *filp, poll_table *wait)
{
	struct zc_file *file = filp->private_data;
	struct zc_dev *dev = file->dev;
	int limit = dev->size / 2;
	__poll_t mask = 0;

	poll_wait(filp, &dev->readable, wait);
	poll_wait(filp, &dev->writable, wait);
	if (poll_wake) {
		wake_up_interruptible_poll(&dev->readable, EPOLLIN | EPOLLRDNORM);
		wake_up_interruptible_poll(&dev->writable, EPOLLOUT | EPOLLWRNORM);
	}
	if (READ_ONCE(dev->gone))
		return EPOLLHUP | EPOLLERR | EPOLLIN | EPOLLOUT;
	if (atomic_read(&dev->queued[0]) < limit)
		mask |= EPOLLIN | EPOLLRDNORM;
	if (atomic_read(&dev->queued[1]) < limit)
		mask |= EPOLLOUT | EPOLLWRNORM;
	return mask;
}

static int zcdma_open(struct inode *inode, struct file *filp)
{
	/* misc_open() holds misc_mtx, as misc_deregister() does: probe's reference lives */
	struct zc_dev *dev = container_of(filp->private_data, struct zc_dev, misc);
	struct zc_file *file = kzalloc(sizeof(*file), GFP_KERNEL);

	if (!file)
		return -ENOMEM;
	kref_get(&dev->kref);
	file->dev = dev;
	refcount_set(&file->refs, 1);
	filp->private_data = file;
	filp->f_mode |= FMODE_NOWAIT;
	return 0;
}

static bool zc_file_idle(struct zc_file *file)
{
	bool idle;

	spin_lock_irq(&file->dev->live_lock);
	idle = !file->live;
	spin_unlock_irq(&file->dev->live_lock);
	return idle;
}

/*
 * Each kiocb pins the file, so the last completion is over; what is left is
 * the tail of it and the work that dirties pages.
 */
static int zcdma_release(struct inode *inode, struct file *filp)
{
	struct zc_file *file = filp->private_data;

	if (!wait_event_timeout(file->dev->drained, zc_file_idle(file), zc_patience()))
		pr_warn("zcdma: closed with %u requests alive\n", file->live);
	zc_file_put(file);
	return 0;
}

static const struct file_operations zcdma_fops = {
	.owner = THIS_MODULE,
	.open = zcdma_open,
	.release = zcdma_release,
	.read_iter = zcdma_read_iter,
	.write_iter = zcdma_write_iter,
	.fsync = zcdma_fsync,
	.poll = zcdma_poll,
	.llseek = noop_llseek,
};

/* ------------------------------------------------------- probe and removal */

static int zc_alloc_ring(struct zc_dev *dev)
{
	dev->busy = bitmap_zalloc(dev->size, GFP_KERNEL);
	dev->ring = dma_alloc_coherent(dev->dma_dev, dev->size * sizeof(*dev->ring),
				       &dev->ring_bus, GFP_KERNEL);
	dev->cancel_words = dma_alloc_coherent(dev->dma_dev, dev->size * sizeof(__le32),
					       &dev->cancel_bus, GFP_KERNEL);
	return dev->busy && dev->ring && dev->cancel_words ? 0 : -ENOMEM;
}

static void zc_free_ring(struct zc_dev *dev)
{
	if (dev->ring)
		dma_free_coherent(dev->dma_dev, dev->size * sizeof(*dev->ring),
				  dev->ring, dev->ring_bus);
	if (dev->cancel_words)
		dma_free_coherent(dev->dma_dev, dev->size * sizeof(__le32),
				  dev->cancel_words, dev->cancel_bus);
}

static enum zc_cancel_mode zc_parse_cancel(const char *name)
{
	static const char * const names[] = { "callback", "flush", "flag", "none" };

	return match_string(names, ARRAY_SIZE(names), name);
}

static int zc_parse_engine(const char *name)
{
	static const char * const names[] = { "soft", "edu" };

	return match_string(names, ARRAY_SIZE(names), name);
}

static bool zc_is_edu(void)
{
	return zc_parse_engine(engine) == 1;
}

/* Of a card it is the card that accesses memory. */
static struct device *zc_dma_device(struct platform_device *pdev)
{
	return zc_is_edu() ? pdev->dev.parent : &pdev->dev;
}

/* Counts the handlers under way, and keeps what they were told, for who looks meanwhile. */
static void zc_line(void *arg)
{
	struct zc_dev *dev = arg;
	bool gone = dev->look && zc_read(dev, ZCDMA_IRQ_STATUS) == ZCDMA_GONE;

	atomic_inc(&dev->interrupted);
	zc_interrupt(dev);
	if (gone)
		smp_store_release(&dev->told_gone, true);
	atomic_dec(&dev->interrupted);
}

static struct zc_dev *zc_new_dev(struct platform_device *pdev)
{
	struct zc_dev *dev = kzalloc(sizeof(*dev), GFP_KERNEL);

	if (!dev)
		return NULL;
	kref_init(&dev->kref);
	dev->dma_dev = zc_dma_device(pdev);
	dev->number = pdev->id;
	snprintf(dev->name, sizeof(dev->name), ZC_NAME "%d", pdev->id);
	dev->cancel_mode = zc_parse_cancel(cancel);
	dev->size = ring;
	dev->halted = true;
	dev->ops = zc_is_edu() ? &zcdma_engine_edu : &zcdma_engine_soft;
	init_rwsem(&dev->gate);
	spin_lock_init(&dev->lock);
	spin_lock_init(&dev->live_lock);
	INIT_LIST_HEAD(&dev->pending);
	INIT_LIST_HEAD(&dev->inflight);
	INIT_LIST_HEAD(&dev->reap);
	INIT_LIST_HEAD(&dev->live);
	INIT_LIST_HEAD(&dev->undirty);
	init_completion(&dev->stopped);
	INIT_WORK(&dev->reap_work, zc_reap_work);
	INIT_WORK(&dev->recover_work, zc_recover_work);
	INIT_WORK(&dev->dirty_work, zc_dirty_work);
	init_waitqueue_head(&dev->drained);
	init_waitqueue_head(&dev->readable);
	init_waitqueue_head(&dev->writable);
	return dev;
}

static int zcdma_probe(struct platform_device *pdev)
{
	struct zcdma_engine_config config = {
		.dma_dev = zc_dma_device(pdev),
		.mem_bytes = mem_mb << 20,
		.latency_ns = latency_ns,
		.burst = burst,
		.irq_gap_ns = irq_gap_ns,
		.ack_ns = ack_ns,
		.cpu = engine_cpu,
		.widens = zc_look_ns && zc_widen,
		.interrupt = zc_line,
	};
	struct zc_dev *dev;
	int err;

	err = dma_coerce_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64));
	if (err)
		return err;
	dev = zc_new_dev(pdev);
	if (!dev)
		return -ENOMEM;
	config.arg = dev;
	err = zc_alloc_ring(dev);
	if (err)
		goto free_ring;
	err = -ENOMEM;
	dev->wq = alloc_workqueue("%s", WQ_UNBOUND | WQ_HIGHPRI | WQ_MEM_RECLAIM, 0, dev->name);
	if (!dev->wq)
		goto free_ring;
	dev->engine = dev->ops->create(&config);
	if (!dev->engine)
		goto free_wq;
	spin_lock_irq(&dev->lock);
	zc_start_engine(dev);
	spin_unlock_irq(&dev->lock);

	dev->mem_bytes = zc_read(dev, ZCDMA_MEM_BYTES);
	dev->misc.minor = MISC_DYNAMIC_MINOR;
	dev->misc.name = dev->name;
	dev->misc.fops = &zcdma_fops;
	dev->misc.mode = 0666;
	dev->misc.parent = &pdev->dev;
	err = misc_register(&dev->misc);
	if (err)
		goto destroy_engine;
	platform_set_drvdata(pdev, dev);
	zc_books_add(dev);
	return 0;

destroy_engine:
	dev->ops->destroy(dev->engine);
free_wq:
	destroy_workqueue(dev->wq);
free_ring:
	zc_free_ring(dev);
	kref_put(&dev->kref, zc_dev_free);
	return err;
}

static bool zc_dev_idle(struct zc_dev *dev)
{
	bool idle;

	spin_lock_irq(&dev->live_lock);
	idle = !dev->nr_live;
	spin_unlock_irq(&dev->live_lock);
	return idle;
}

/* Files may be open (unbind); they answer -ENODEV from here on. */
static ZC_REMOVE_RETURNS zcdma_remove(struct platform_device *pdev)
{
	struct zc_dev *dev = platform_get_drvdata(pdev);

	misc_deregister(&dev->misc);
	zc_books_remove(dev);

	/* no submission is between its check and its queueing */
	down_write(&dev->gate);
	spin_lock_irq(&dev->lock);
	dev->removing = true;
	spin_unlock_irq(&dev->lock);
	queue_work(dev->wq, &dev->recover_work);
	flush_work(&dev->recover_work);
	up_write(&dev->gate);

	if (!wait_event_timeout(dev->drained, zc_dev_idle(dev), zc_patience()))
		dev_warn(&pdev->dev, "removed with %u requests alive\n", dev->nr_live);
	zc_looks_end(dev);
	dev->ops->destroy(dev->engine);
	destroy_workqueue(dev->wq);
	zc_free_ring(dev);
	kref_put(&dev->kref, zc_dev_free);
	return ZC_REMOVE_RESULT;
}

static struct platform_driver zcdma_driver = {
	.probe = zcdma_probe,
	.remove = zcdma_remove,
	.driver = { .name = ZC_NAME },
};

static struct platform_device *zc_pdevs[ZC_MAX_DEVICES];

static bool zc_parameters_valid(void)
{
	return zc_parse_engine(engine) >= 0 &&
	       devices >= 1 && devices <= ZC_MAX_DEVICES && mem_mb >= 1 && mem_mb <= 256 &&
	       ring >= 2 && ring <= ZCDMA_MAX_RING && is_power_of_2(ring) &&
	       zc_timeout_ms >= 1 && zc_timeout_ms <= 60000 &&
	       zc_stop_ms >= 1 && zc_stop_ms <= 1000 && latency_ns <= NSEC_PER_SEC &&
	       burst >= 1 && burst <= 256 && irq_gap_ns <= NSEC_PER_SEC && ack_ns <= NSEC_PER_SEC &&
	       (!zc_look_ns || (zc_look_ns >= 10000 && zc_look_ns <= NSEC_PER_SEC)) &&
	       engine_cpu >= -1 &&
	       (engine_cpu < 0 || (engine_cpu < nr_cpu_ids && cpu_online(engine_cpu))) &&
	       (int)zc_parse_cancel(cancel) >= 0;
}

static void zc_unregister_device(unsigned int i)
{
	platform_device_unregister(zc_pdevs[i]);
	zc_pdevs[i] = NULL;
}

static void zc_unregister_devices(void)
{
	unsigned int i;

	for (i = 0; i < ZC_MAX_DEVICES; i++)
		zc_unregister_device(i);
	if (zc_is_edu())
		zcdma_edu_exit();
}

static int zc_register_devices(void)
{
	struct platform_device_info info = {
		.name = ZC_NAME,
		.dma_mask = DMA_BIT_MASK(64),
	};
	int err = zc_is_edu() ? zcdma_edu_init(zc_unregister_device) : 0;
	unsigned int i;

	if (err)
		return err;
	for (i = 0; i < devices; i++) {
		struct platform_device *pdev;

		info.id = i;
		info.parent = zc_is_edu() ? zcdma_edu_card(i) : NULL;
		if (zc_is_edu() && !info.parent) {
			pr_err("zcdma: %u devices asked for, and %u edu cards are there\n", devices, i);
			zc_unregister_devices();
			return -ENODEV;
		}
		pdev = platform_device_register_full(&info);
		if (IS_ERR(pdev)) {
			zc_unregister_devices();
			return PTR_ERR(pdev);
		}
		zc_pdevs[i] = pdev;
	}
	return 0;
}

static int __init zcdma_init(void)
{
	int err;

	if (!zc_parameters_valid()) {
		pr_err("zcdma: parameter out of range\n");
		return -EINVAL;
	}
	zc_cache = kmem_cache_create("zcdma_req", sizeof(struct zc_req), 0,
				     SLAB_HWCACHE_ALIGN, NULL);
	if (!zc_cache)
		return -ENOMEM;
	at_marks_attach();
	zc_books_init();
	err = platform_driver_register(&zcdma_driver);
	if (err)
		goto free_books;
	err = zc_register_devices();
	if (err)
		goto unregister;
	return 0;

unregister:
	platform_driver_unregister(&zcdma_driver);
free_books:
	zc_books_exit();
	at_marks_detach();
	kmem_cache_destroy(zc_cache);
	return err;
}

static void __exit zcdma_exit(void)
{
	zc_unregister_devices();
	platform_driver_unregister(&zcdma_driver);
	zc_books_exit();
	/* a timer's function may still be on its way out of zc_put() */
	synchronize_rcu();
	at_marks_detach();
	kmem_cache_destroy(zc_cache);
}

module_init(zcdma_init);
module_exit(zcdma_exit);
MODULE_DESCRIPTION("Zero-copy DMA character driver with phase marks for aiotorture");
MODULE_LICENSE("GPL");
