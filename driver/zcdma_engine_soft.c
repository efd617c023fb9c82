// SPDX-License-Identifier: GPL-2.0
/*
 * A DMA engine made of a timer
 *
 * It behaves as zcdma_regs.h says and knows nothing else: this file comes
 * before zcdma.h in the module's one translation unit, so that no request,
 * page or lock of the driver's is even declared here.
 *
 * Each tick of a high resolution timer takes up to `burst` descriptors; the
 * interrupt is a call at the end of the tick, outside the engine's lock.  The
 * faults of the phases start and irq happen here.
 */
#include <linux/atomic.h>
#include <linux/delay.h>
#include <linux/dma-direct.h>
#include <linux/hrtimer.h>
#include <linux/ktime.h>
#include <linux/slab.h>
#include <linux/smp.h>
#include <linux/spinlock.h>
#include <linux/vmalloc.h>
#include <linux/workqueue.h>

#include "aiotorture.h"
#include "compat.h"
#include "zcdma_regs.h"
#include "zcdma_told.h"
#include "zcdma_unordered.h"

#define SOFT_MAX_LATE		16	/* transfers that hang at a time; more run as usual */
#define SOFT_LATE_BYTES		4096U	/* a hung transfer writes so much each tick */
#define SOFT_WRITE_ON		4U	/* descriptors that go on at each tick of a stop */
#define SOFT_MIN_TICK_NS	2000U	/* a shorter period starves the CPU under emulation */
#define SOFT_MAX_TICK_NS	20000U
#define SOFT_LATE_TICK_NS	50000U	/* a hung transfer must not take the whole CPU */
#define SOFT_MAX_HELD		8	/* interrupts that wait for a racer; more go on */
#define SOFT_MAX_BAD		8	/* transfers that hang whenever they are tried */
#define SOFT_ENDING_NS		50000U	/* between the first status of an ended chain and the rest */
#define SOFT_LOOK_NS		50000U	/* from a thread's acknowledgement to its look, and more */
#define SOFT_LEAVE_NAPS		200U	/* of 50 to 100 us, for a stop */
#define SOFT_ABSENT_US		100U	/* from a card's last answer to that of none */

/* A transfer that hangs in the engine and writes on when asked to stop. */
struct soft_late {
	bool active;
	bool asked;		/* a stop or an abort has come */
	bool aborted;		/* post CANCELLED at the end */
	u32 first;		/* its chain */
	struct zcdma_desc desc;	/* as fetched */
	u64 delay_ns;
	ktime_t end_at;
};

/* A request whose transfer hangs again when it is tried again. */
struct soft_bad {
	u32 tag;
	u64 delay_ns;
};

/* A timer that can be started on a CPU from any other. */
struct soft_remote {
	struct zcdma_engine *engine;
	struct hrtimer timer;
	ktime_t at;
	call_single_data_t call;
};

struct zcdma_engine {
	struct zcdma_engine_config config;
	u8 *mem;
	spinlock_t lock;	/* nests inside the driver's; all below */

	/* registers */
	enum zcdma_state state;
	bool stalled;
	enum zcdma_desc_status ending;	/* of the rest of the chain at HEAD; 0: none */
	bool leaves;		/* it goes when it has said that it stands still */
	bool gone;
	bool isolated;
	u32 ring_lo, ring_hi, size, head, tail, irq_status;
	bool stopped_late;	/* a stop was acknowledged, and irq_status does not say so yet */
	u32 told;		/* of irq_status: by an interrupt, and not acknowledged */
	DECLARE_BITMAP(aborts, ZCDMA_MAX_RING);	/* see zcdma_told.h */

	struct zcdma_desc *ring;
	u32 chain_first;	/* of the descriptor at head */
	bool head_delayed;	/* its fault was drawn: do not draw again */
	ktime_t not_before;	/* no descriptor is taken earlier */
	ktime_t ack_at;		/* of the stop or reset under way */
	u64 stop_delay_ns;	/* a stall makes the next stop take so long */
	u32 written_on;		/* transfers that went on while it stopped */
	bool deferred;		/* a chain waits for a later one to go first */
	u32 deferred_first;
	struct soft_late late[SOFT_MAX_LATE];
	struct soft_bad bad[SOFT_MAX_BAD];
	unsigned int next_bad;

	unsigned int raise;	/* interrupts to raise at the end of the tick */
	ktime_t quiet_until;	/* none is raised earlier */
	/* tags whose interrupt is held: the line is quiet for all meanwhile */
	u32 held[SOFT_MAX_HELD];
	unsigned int nr_held;
	ktime_t ask_at;		/* when to ask for them again */
	unsigned int delivering;	/* handlers that run and are no thread */
	bool wants_thread;	/* what is done and not told is to be handled in a thread */
	bool threaded;		/* the line is quiet until irq_work has acknowledged */
	bool in_thread;
	struct workqueue_struct *irq_thread;
	struct work_struct irq_work;
	bool spurious;		/* one for nothing at the next tick's begin */

	struct soft_remote tick;
	bool armed;
	struct soft_remote irq;		/* a delayed interrupt */
	struct soft_remote steered;	/* one on another CPU */
	atomic_t calls;			/* cross-CPU calls under way */
};

static struct zcdma_desc *soft_desc(struct zcdma_engine *e, u32 index)
{
	return &e->ring[index & (e->size - 1)];
}

static void *soft_bus_to_virt(struct zcdma_engine *e, u64 bus_addr)
{
	return phys_to_virt(dma_to_phys(e->config.dma_dev, bus_addr));
}

/* ------------------------------------------------------------ timers */

static void soft_start_here(void *arg)
{
	struct soft_remote *remote = arg;

	hrtimer_start(&remote->timer, READ_ONCE(remote->at), ZC_ENGINE_MODE_PINNED);
	/* pairs with soft_destroy(): the engine is freed when this is seen */
	(void)atomic_dec_return_release(&remote->engine->calls);
}

/*
 * smp_call_function_single_async() answers -EBUSY while an earlier call has
 * not begun; that one will then read our `at`.
 */
static void soft_start(struct soft_remote *remote, ktime_t at, int cpu)
{
	WRITE_ONCE(remote->at, at);
	if (cpu < 0) {
		hrtimer_start(&remote->timer, at, ZC_ENGINE_MODE);
	} else if (cpu == raw_smp_processor_id() || !cpu_online(cpu)) {
		hrtimer_start(&remote->timer, at, ZC_ENGINE_MODE_PINNED);
	} else {
		atomic_inc(&remote->engine->calls);
		if (smp_call_function_single_async(cpu, &remote->call))
			atomic_dec(&remote->engine->calls);
	}
}

static void soft_arm(struct zcdma_engine *e, ktime_t at)
{
	if (e->isolated || (e->armed && ktime_compare(e->tick.at, at) <= 0))
		return;
	e->armed = true;
	soft_start(&e->tick, at, e->config.cpu);
}

static void soft_arm_in(struct zcdma_engine *e, u64 ns)
{
	soft_arm(e, ktime_add_ns(ktime_get(), ns));
}

/* ------------------------------------------------------------ states */

static void soft_forget_work(struct zcdma_engine *e)
{
	memset(e->late, 0, sizeof(e->late));
	e->stalled = false;
	e->head_delayed = false;
	e->deferred = false;
	e->ending = ZCDMA_DESC_NONE;
	e->not_before = 0;
	e->stop_delay_ns = 0;
	e->nr_held = 0;
}

static void soft_power_on(struct zcdma_engine *e)
{
	soft_forget_work(e);
	e->state = ZCDMA_POWERON;
	e->ring = NULL;
	e->ring_lo = 0;
	e->ring_hi = 0;
	e->size = 0;
	e->head = 0;
	e->tail = 0;
	e->irq_status = 0;
	e->stopped_late = false;
	e->told = 0;
	memset(e->bad, 0, sizeof(e->bad));
}

/* The bus tells of a removal by one last interrupt. */
static void soft_go_away(struct zcdma_engine *e)
{
	soft_power_on(e);
	e->gone = true;
	e->raise = 1;
}

/* ------------------------------------------------------- interrupts */

static void soft_begin_thread(struct zcdma_engine *e)
{
	if (e->threaded)
		return;
	e->threaded = true;
	queue_work(e->irq_thread, &e->irq_work);
}

/*
 * A message, as MSI sends it: what it has told of and is not acknowledged is
 * not told again.
 */
static void soft_deliver(struct zcdma_engine *e)
{
	unsigned long flags;
	bool in_thread;

	spin_lock_irqsave(&e->lock, flags);
	in_thread = e->wants_thread;
	if (in_thread) {
		soft_begin_thread(e);
	} else {
		e->told = e->irq_status;
		e->delivering++;
	}
	spin_unlock_irqrestore(&e->lock, flags);
	if (in_thread)
		return;
	e->config.interrupt(e->config.arg);
	spin_lock_irqsave(&e->lock, flags);
	e->delivering--;
	spin_unlock_irqrestore(&e->lock, flags);
}

/* Another interrupt would take what this one is to be handled for in its thread. */
static void soft_unmask(struct zcdma_engine *e)
{
	if (!e->in_thread)
		return;
	e->in_thread = false;
	e->threaded = false;
	e->wants_thread = false;
	e->quiet_until = ktime_add_ns(ktime_get(), max(e->config.irq_gap_ns, SOFT_LOOK_NS));
}

/* The line's handler in a thread: interrupts are on, no lock is held. */
static void soft_irq_work(struct work_struct *work)
{
	struct zcdma_engine *e = container_of(work, struct zcdma_engine, irq_work);

	spin_lock_irq(&e->lock);
	e->in_thread = true;
	e->told = e->irq_status;
	spin_unlock_irq(&e->lock);
	e->config.interrupt(e->config.arg);
	spin_lock_irq(&e->lock);
	soft_unmask(e);
	spin_unlock_irq(&e->lock);
}

static bool soft_is_quiet(const struct zcdma_engine *e)
{
	return e->nr_held || e->threaded;
}

static void soft_raise(struct zcdma_engine *e, u32 bit)
{
	if (e->told & bit)
		return;
	if (e->wants_thread && !e->nr_held)
		soft_begin_thread(e);
	else
		e->raise = max(e->raise, 1U);
}

/* For a bit of IRQ_STATUS.  What is of no request has tag 0. */
static void soft_interrupt_for(struct zcdma_engine *e, u32 tag, u32 bit)
{
	AT_OUTCOME(out);

	if (!at_mark(AT_DEVICE, AT_IRQ, tag, &out)) {
		soft_raise(e, bit);
		return;
	}
	if (bit == ZCDMA_IRQ_STOPPED && (out.action == AT_DROP || out.action == AT_DELAY)) {
		e->irq_status &= ~bit;
		e->stopped_late = true;
	}
	switch (out.action) {
	case AT_DROP:
		break;
	case AT_DELAY:
		/* one that is under way already tells of this descriptor too */
		if (!hrtimer_is_queued(&e->irq.timer))
			soft_start(&e->irq, ktime_add_ns(ktime_get(), out.delay_ns), -1);
		break;
	case AT_DUP:
		e->raise = 2;
		break;
	case AT_STEER:
		soft_start(&e->steered, ktime_get(), out.cpu);
		break;
	case AT_SPURIOUS:
		e->spurious = true;
		soft_raise(e, bit);
		break;
	case AT_RESET:
		soft_power_on(e);
		break;
	case AT_REMOVE:
		soft_go_away(e);
		break;
	default:
		soft_raise(e, bit);
	}
}

/* What was held up comes now at the latest: with another stop's beginning. */
static void soft_say_stopped(struct zcdma_engine *e)
{
	if (!e->stopped_late)
		return;
	e->stopped_late = false;
	e->irq_status |= ZCDMA_IRQ_STOPPED;
	soft_raise(e, ZCDMA_IRQ_STOPPED);
}

static void soft_request_irq(struct zcdma_engine *e, u32 tag)
{
	u64 wait_ns = 0;

	e->wants_thread |= at_threaded(tag);
	if (e->nr_held < SOFT_MAX_HELD)
		wait_ns = at_hold(AT_DEVICE, AT_IRQ, tag);
	if (!wait_ns) {
		soft_interrupt_for(e, tag, ZCDMA_IRQ_DONE);
		return;
	}
	if (!e->nr_held)
		e->ask_at = ktime_add_ns(ktime_get(), wait_ns);
	e->held[e->nr_held++] = tag;
	soft_arm(e, e->ask_at);
}

/* Those that are held no more interrupt now. */
static void soft_ask_held(struct zcdma_engine *e, ktime_t now)
{
	unsigned int i, kept = 0, nr_released = 0;
	u32 released[SOFT_MAX_HELD];
	u64 next_ns = ~0ULL;

	if (!e->nr_held || ktime_compare(now, e->ask_at) < 0)
		return;
	for (i = 0; i < e->nr_held; i++) {
		u64 wait_ns = at_hold(AT_DEVICE, AT_IRQ, e->held[i]);

		if (wait_ns) {
			e->held[kept++] = e->held[i];
			next_ns = min(next_ns, wait_ns);
		} else {
			released[nr_released++] = e->held[i];
		}
	}
	e->nr_held = kept;
	if (kept)
		e->ask_at = ktime_add_ns(now, next_ns);
	/* a reset or a removal drawn here forgets what is held with the rest */
	for (i = 0; i < nr_released; i++)
		soft_interrupt_for(e, released[i], ZCDMA_IRQ_DONE);
}

static enum hrtimer_restart soft_irq_timer(struct hrtimer *timer)
{
	struct soft_remote *remote = container_of(timer, struct soft_remote, timer);
	struct zcdma_engine *e = remote->engine;
	unsigned long flags;
	bool held;

	spin_lock_irqsave(&e->lock, flags);
	held = soft_is_quiet(e);
	if (e->stopped_late)
		e->irq_status |= ZCDMA_IRQ_STOPPED;
	e->stopped_late = false;
	if (held)	/* comes with theirs */
		e->raise = max(e->raise, 1U);
	spin_unlock_irqrestore(&e->lock, flags);
	if (!held)
		soft_deliver(e);
	return HRTIMER_NORESTART;
}

/* ------------------------------------------------------- descriptors */

static void soft_write_status(struct zcdma_engine *e, struct zcdma_desc *d,
			      enum zcdma_desc_status status, u32 residue)
{
	if (e->config.widens)
		zc_leave_unordered(d, residue);
	else
		d->residue = cpu_to_le32(residue);
	d->echo = d->seq;
	dma_wmb();
	WRITE_ONCE(d->status, cpu_to_le32(status));
	e->irq_status |= ZCDMA_IRQ_DONE;
}

static void soft_post(struct zcdma_engine *e, struct zcdma_desc *d,
		      enum zcdma_desc_status status, u32 residue)
{
	bool irq = le32_to_cpu(d->flags) & ZCDMA_DESC_IRQ;
	u32 tag = le32_to_cpu(d->tag);

	soft_write_status(e, d, status, residue);
	if (irq)
		soft_request_irq(e, tag);
}

/* Moves the first @len bytes; false if they lie outside the device's memory. */
static bool soft_move(struct zcdma_engine *e, const struct zcdma_desc *d, u32 len)
{
	u64 dev_addr = le64_to_cpu(d->dev_addr);
	u32 flags = le32_to_cpu(d->flags);
	void *memory;

	if (flags & ZCDMA_DESC_NOP)
		return true;
	if (dev_addr > e->config.mem_bytes || len > e->config.mem_bytes - dev_addr)
		return false;
	memory = soft_bus_to_virt(e, le64_to_cpu(d->bus_addr));
	if (flags & ZCDMA_DESC_TO_DEVICE)
		memcpy(e->mem + dev_addr, memory, len);
	else
		memcpy(memory, e->mem + dev_addr, len);
	return true;
}

static bool soft_is_end(const struct zcdma_desc *d)
{
	return le32_to_cpu(d->flags) & ZCDMA_DESC_END;
}

/*
 * HEAD passes what an abort has posted already, and before the status is there
 * that lets a driver reuse those slots: see the promise on HEAD in zcdma_regs.h.
 */
static void soft_pass_posted(struct zcdma_engine *e)
{
	while (e->head != e->tail && soft_desc(e, e->head)->status)
		e->head++;
}

/* Posts @status for the rest of the chain at HEAD, with nothing moved. */
static void soft_post_rest(struct zcdma_engine *e, enum zcdma_desc_status status)
{
	struct zcdma_desc *d;
	bool end;

	do {
		d = soft_desc(e, e->head++);
		end = soft_is_end(d);
		if (end)
			soft_pass_posted(e);
		if (!d->status)
			soft_post(e, d, status, le32_to_cpu(d->len));
	} while (!end && e->state == ZCDMA_RUNNING && e->head != e->tail);
}

static void soft_finish_ending(struct zcdma_engine *e)
{
	enum zcdma_desc_status status = e->ending;

	e->ending = ZCDMA_DESC_NONE;
	if (status != ZCDMA_DESC_NONE)
		soft_post_rest(e, status);
}

/* As soft_post_rest(), one by one: that the first has a status says nothing of the others. */
static void soft_end_chain(struct zcdma_engine *e, enum zcdma_desc_status status)
{
	struct zcdma_desc *d = soft_desc(e, e->head);

	if (!e->config.widens || soft_is_end(d) || d->status) {
		soft_post_rest(e, status);
		return;
	}
	e->head++;
	soft_post(e, d, status, le32_to_cpu(d->len));
	if (e->state != ZCDMA_RUNNING || e->head == e->tail)
		return;
	e->ending = status;
	e->not_before = ktime_add_ns(ktime_get(), SOFT_ENDING_NS);
}

static void soft_skip_chain(struct zcdma_engine *e)
{
	while (!soft_is_end(soft_desc(e, e->head)) && e->head + 1 != e->tail)
		e->head++;
	e->head++;
	soft_pass_posted(e);
}

static void soft_hangs_always(struct zcdma_engine *e, u32 tag, u64 delay_ns)
{
	e->bad[e->next_bad++ % SOFT_MAX_BAD] = (struct soft_bad) { tag, delay_ns };
}

/* Untagged requests are not told apart, and hang once. */
static const struct soft_bad *soft_hung_before(const struct zcdma_engine *e, u32 tag)
{
	unsigned int i;

	for (i = 0; tag && i < SOFT_MAX_BAD; i++)
		if (e->bad[i].tag == tag)
			return &e->bad[i];
	return NULL;
}

/* The transfer at HEAD hangs; the rest of its chain never gets a status. */
static bool soft_hang(struct zcdma_engine *e, u64 delay_ns)
{
	unsigned int i;

	for (i = 0; i < SOFT_MAX_LATE; i++) {
		if (e->late[i].active)
			continue;
		e->late[i] = (struct soft_late) {
			.active = true,
			.first = e->chain_first,
			.desc = *soft_desc(e, e->head),
			.delay_ns = delay_ns,
		};
		soft_skip_chain(e);
		return true;
	}
	return false;
}

/* Lets the chain behind the one at HEAD go first, if there is one. */
static bool soft_defer(struct zcdma_engine *e)
{
	u32 first = e->head;

	if (e->deferred || !(le32_to_cpu(soft_desc(e, first)->flags) & ZCDMA_DESC_START))
		return false;
	soft_skip_chain(e);
	if (e->head == e->tail) {
		e->head = first;
		return false;
	}
	e->deferred = true;
	e->deferred_first = first;
	return true;
}

static void soft_run_deferred(struct zcdma_engine *e)
{
	u32 index = e->deferred_first;
	struct zcdma_desc *d;
	bool end, ok;

	e->deferred = false;
	do {
		d = soft_desc(e, index++);
		end = soft_is_end(d);
		ok = soft_move(e, d, le32_to_cpu(d->len));
		soft_post(e, d, ok ? ZCDMA_DESC_DONE : ZCDMA_DESC_ERR, 0);
	} while (!end && e->state == ZCDMA_RUNNING);
}

static bool soft_is_flagged(struct zcdma_engine *e, const struct zcdma_desc *d)
{
	u64 cancel_addr = le64_to_cpu(d->cancel_addr);

	return cancel_addr &&
	       READ_ONCE(*(__le32 *)soft_bus_to_virt(e, cancel_addr));
}

static void soft_execute(struct zcdma_engine *e, struct zcdma_desc *d,
			 u32 short_by, bool twice)
{
	u32 len = le32_to_cpu(d->len);
	bool end = soft_is_end(d);

	e->head_delayed = false;
	if (!soft_move(e, d, len - short_by) ||
	    (twice && !soft_move(e, d, len - short_by))) {
		soft_end_chain(e, ZCDMA_DESC_ERR);
		return;
	}
	e->head++;
	soft_pass_posted(e);
	soft_post(e, d, ZCDMA_DESC_DONE, short_by);
	if (short_by && !end && e->state == ZCDMA_RUNNING)
		soft_end_chain(e, ZCDMA_DESC_DONE);
	if (end && e->deferred && e->state == ZCDMA_RUNNING)
		soft_run_deferred(e);
}

/* Takes the descriptor at HEAD.  False: nothing more can be done now. */
static bool soft_step(struct zcdma_engine *e)
{
	AT_OUTCOME(out);
	const struct soft_bad *bad;
	struct zcdma_desc *d;
	u64 wait_ns;
	u32 len;

	if (e->head == e->tail) {
		if (!e->deferred)
			return false;
		soft_run_deferred(e);
		return true;
	}
	if (e->ending != ZCDMA_DESC_NONE) {
		soft_finish_ending(e);
		return true;
	}
	d = soft_desc(e, e->head);
	len = le32_to_cpu(d->len);
	/* a handler that is looking would take it */
	if (e->delivering && at_threaded(le32_to_cpu(d->tag)))
		return false;
	if (le32_to_cpu(d->flags) & ZCDMA_DESC_START)
		e->chain_first = e->head;
	if (d->status) {	/* aborted before it was taken */
		e->head++;
		return true;
	}
	if (soft_is_flagged(e, d)) {
		e->head_delayed = false;
		soft_end_chain(e, ZCDMA_DESC_CANCELLED);
		return true;
	}
	bad = soft_hung_before(e, le32_to_cpu(d->tag));
	if (bad && soft_hang(e, bad->delay_ns)) {
		e->head_delayed = false;
		return true;
	}
	wait_ns = e->head_delayed ? 0 : at_hold(AT_DEVICE, AT_START, le32_to_cpu(d->tag));
	if (wait_ns) {
		e->not_before = ktime_add_ns(ktime_get(), wait_ns);
		return false;
	}
	if (e->head_delayed || !at_mark(AT_DEVICE, AT_START, le32_to_cpu(d->tag), &out))
		out.action = AT_NONE;

	switch (out.action) {
	case AT_DELAY:
		e->head_delayed = true;
		e->not_before = ktime_add_ns(ktime_get(), out.delay_ns);
		return false;
	case AT_DROP:
		e->head++;
		soft_pass_posted(e);
		return true;
	case AT_STALL:
		e->stalled = true;
		e->stop_delay_ns = out.delay_ns;
		return false;
	case AT_LATE:
		/* half of them whenever a stop lets the driver try again */
		if (out.random & 1)
			soft_hangs_always(e, le32_to_cpu(d->tag), out.delay_ns);
		if (!soft_hang(e, out.delay_ns))
			soft_execute(e, d, 0, false);
		return true;
	case AT_REORDER:
		if (!soft_defer(e))
			soft_execute(e, d, 0, false);
		return true;
	case AT_CORRUPT:
		soft_end_chain(e, ZCDMA_DESC_ERR);
		return true;
	case AT_SHORT:
		/* from one byte less to one byte left: 0 would read as an end */
		soft_execute(e, d, len > 1 ? 1 + (u32)out.random % (len - 1) : 0, false);
		return true;
	case AT_RESET:
		soft_power_on(e);
		return false;
	case AT_REMOVE:
		soft_go_away(e);
		return false;
	default:
		soft_execute(e, d, 0, out.action == AT_DUP);
		return true;
	}
}

/* ------------------------------------------------------ stop and abort */

/*
 * Takes the chain out, executed in part or not at all.  HEAD has passed it before its
 * last status is there: then its slots may have their next owner.
 */
static void soft_cancel_chain(struct zcdma_engine *e, u32 first)
{
	u32 index = first, tag = le32_to_cpu(soft_desc(e, first)->tag);
	struct zcdma_desc *d;
	bool end;

	if (e->deferred && e->deferred_first == first)
		e->deferred = false;
	do {
		d = soft_desc(e, index);
		end = soft_is_end(d);
		if (index == e->head) {
			e->head_delayed = false;
			e->not_before = 0;
		}
		index++;
		if (end && e->head - first < index - first) {
			e->head = index;
			soft_pass_posted(e);
		}
		if (!d->status)
			soft_write_status(e, d, ZCDMA_DESC_CANCELLED, le32_to_cpu(d->len));
	} while (!end && index - first < e->size);

	soft_request_irq(e, tag);
}

static void soft_abort(struct zcdma_engine *e, u32 first)
{
	unsigned int i;

	if (e->state != ZCDMA_RUNNING)
		return;
	soft_finish_ending(e);
	for (i = 0; i < SOFT_MAX_LATE; i++) {
		struct soft_late *late = &e->late[i];

		if (!late->active || late->first != first)
			continue;
		if (!late->asked)
			late->end_at = ktime_add_ns(ktime_get(), late->delay_ns);
		late->asked = true;
		late->aborted = true;
		soft_arm_in(e, SOFT_MIN_TICK_NS);
		return;
	}
	soft_cancel_chain(e, first);
	soft_arm_in(e, SOFT_MIN_TICK_NS);
}

/* Hung transfers write on; those whose time is over end.  True: some are left. */
static bool soft_write_late(struct zcdma_engine *e, ktime_t now)
{
	bool left = false;
	unsigned int i;

	for (i = 0; i < SOFT_MAX_LATE; i++) {
		struct soft_late *late = &e->late[i];

		if (!late->active || !late->asked)
			continue;
		soft_move(e, &late->desc,
			  min(le32_to_cpu(late->desc.len), SOFT_LATE_BYTES));
		if (ktime_compare(now, late->end_at) < 0) {
			left = true;
			continue;
		}
		late->active = false;
		if (late->aborted && e->state == ZCDMA_RUNNING)
			soft_cancel_chain(e, late->first);
	}
	return left;
}

static void soft_stop(struct zcdma_engine *e)
{
	ktime_t now = ktime_get();
	unsigned int i;

	if (e->state != ZCDMA_RUNNING)
		return;
	e->state = ZCDMA_STOPPING;
	e->ack_at = ktime_add_ns(now, e->config.ack_ns + e->stop_delay_ns);
	soft_say_stopped(e);
	for (i = 0; i < SOFT_MAX_LATE; i++) {
		struct soft_late *late = &e->late[i];

		if (late->active && !late->asked)
			late->end_at = ktime_add_ns(now, late->delay_ns);
		late->asked = late->active;
	}
	soft_arm_in(e, min(e->config.ack_ns, SOFT_LATE_TICK_NS));
}

/*
 * Until a stop is acknowledged any transfer without a status may go on.  Some
 * do at each tick, others each time, and get none.
 */
static void soft_write_on(struct zcdma_engine *e)
{
	u32 left = e->tail - e->head;
	struct zcdma_desc *d;
	unsigned int i;

	if (e->state != ZCDMA_STOPPING || left > e->size)
		return;
	for (i = 0; i < min(left, SOFT_WRITE_ON); i++) {
		d = soft_desc(e, e->head + e->written_on++ % left);
		if (!d->status)
			soft_move(e, d, min(le32_to_cpu(d->len), SOFT_LATE_BYTES));
	}
}

static void soft_acknowledge(struct zcdma_engine *e, ktime_t now, bool writing)
{
	if (ktime_compare(now, e->ack_at) < 0)
		return;
	if (e->state == ZCDMA_RESETTING) {
		soft_power_on(e);
	} else if (e->state == ZCDMA_STOPPING && !writing) {
		soft_forget_work(e);
		e->state = ZCDMA_STOPPED;
		e->irq_status |= ZCDMA_IRQ_STOPPED;
		soft_interrupt_for(e, 0, ZCDMA_IRQ_STOPPED);
	}
}

static void soft_run(struct zcdma_engine *e)
{
	u64 base = ((u64)e->ring_hi << 32) | e->ring_lo;

	if ((e->state != ZCDMA_STOPPED && e->state != ZCDMA_POWERON) || !base || !e->size)
		return;
	e->ring = soft_bus_to_virt(e, base);
	e->head = 0;
	e->tail = 0;
	e->state = ZCDMA_RUNNING;
}

/* ------------------------------------------------------------ the tick */

static void soft_arm_next(struct zcdma_engine *e)
{
	ktime_t now = ktime_get();
	ktime_t next = ktime_add_ns(now, clamp_t(u32, e->config.latency_ns,
						 SOFT_MIN_TICK_NS, SOFT_MAX_TICK_NS));
	bool late = e->state == ZCDMA_STOPPING || e->state == ZCDMA_RESETTING;
	unsigned int i;

	if (e->gone && !e->raise)
		return;
	for (i = 0; i < SOFT_MAX_LATE; i++)
		late |= e->late[i].active && e->late[i].asked;
	if (soft_is_quiet(e) && !e->nr_held)
		soft_arm(e, ktime_add_ns(now, SOFT_LATE_TICK_NS));
	else if (e->nr_held)
		soft_arm(e, ktime_compare(e->ask_at, next) > 0 ? e->ask_at : next);
	else if (e->raise && !e->spurious)
		soft_arm(e, ktime_compare(e->quiet_until, next) > 0 ? e->quiet_until : next);
	else if (e->spurious)
		soft_arm(e, next);
	if (late)
		soft_arm(e, ktime_add_ns(now, SOFT_LATE_TICK_NS));
	if (e->state == ZCDMA_RUNNING && !e->stalled &&
	    (e->head != e->tail || e->deferred))
		soft_arm(e, ktime_compare(e->not_before, next) > 0 ? e->not_before : next);
}

static enum hrtimer_restart soft_tick(struct hrtimer *timer)
{
	struct zcdma_engine *e = container_of(timer, struct zcdma_engine, tick.timer);
	unsigned int i, raise;
	unsigned long flags;
	bool spurious;
	ktime_t now;

	spin_lock_irqsave(&e->lock, flags);
	e->armed = false;
	spurious = e->spurious && !e->gone && !soft_is_quiet(e);
	e->spurious &= soft_is_quiet(e);
	if (spurious) {		/* says DONE, and nothing is */
		e->irq_status |= ZCDMA_IRQ_DONE;
		spin_unlock_irqrestore(&e->lock, flags);
		soft_deliver(e);
		spin_lock_irqsave(&e->lock, flags);
	}
	now = ktime_get();
	if (!e->gone && !e->isolated) {
		soft_ask_held(e, now);
		soft_write_on(e);
		soft_acknowledge(e, now, soft_write_late(e, now));
		for (i = 0; i < e->config.burst; i++)
			if (e->state != ZCDMA_RUNNING || e->stalled ||
			    ktime_compare(now, e->not_before) < 0 || !soft_step(e))
				break;
	}
	raise = soft_is_quiet(e) || ktime_compare(now, e->quiet_until) < 0 ? 0 : e->raise;
	e->raise -= raise;
	if (raise)
		e->quiet_until = ktime_add_ns(now, e->config.irq_gap_ns);
	spin_unlock_irqrestore(&e->lock, flags);

	for (i = 0; i < raise; i++) {
		if (i) {	/* the duplicate looks like the first */
			spin_lock_irqsave(&e->lock, flags);
			e->irq_status |= e->gone ? 0 : ZCDMA_IRQ_DONE;
			spin_unlock_irqrestore(&e->lock, flags);
		}
		soft_deliver(e);
	}

	/*
	 * The next tick counts from here, not from the last: hrtimer_interrupt()
	 * takes a timer that expires while it runs for a hang.
	 */
	spin_lock_irqsave(&e->lock, flags);
	soft_arm_next(e);
	spin_unlock_irqrestore(&e->lock, flags);
	return HRTIMER_NORESTART;
}

/* ------------------------------------------------------------ registers */

static u32 soft_read_locked(struct zcdma_engine *e, enum zcdma_reg reg)
{
	if (e->gone)
		return ZCDMA_GONE;
	switch (reg) {
	case ZCDMA_STATUS:
		return e->state | (e->stalled ? ZCDMA_STATUS_STALLED : 0);
	case ZCDMA_RING_LO:
		return e->ring_lo;
	case ZCDMA_RING_HI:
		return e->ring_hi;
	case ZCDMA_RING_SIZE:
		return e->size;
	case ZCDMA_HEAD:
		return e->head;
	case ZCDMA_TAIL:
		return e->tail;
	case ZCDMA_IRQ_STATUS:
		return e->irq_status;
	case ZCDMA_MEM_BYTES:
		return e->config.mem_bytes;
	default:
		return 0;
	}
}

static void soft_leave(struct zcdma_engine *e)
{
	WRITE_ONCE(e->leaves, false);
	if (e->gone)
		return;
	soft_go_away(e);
	soft_arm_in(e, SOFT_MIN_TICK_NS);
}

static u32 soft_read(struct zcdma_engine *e, enum zcdma_reg reg)
{
	unsigned long flags;
	bool leaves;
	u32 value;

	at_stall();
	spin_lock_irqsave(&e->lock, flags);
	value = soft_read_locked(e, reg);
	leaves = e->leaves && reg == ZCDMA_STATUS && value == ZCDMA_STOPPED;
	if (leaves)
		soft_leave(e);
	spin_unlock_irqrestore(&e->lock, flags);
	/* the interrupt that tells of it comes meanwhile, where it may */
	if (leaves && !irqs_disabled())
		udelay(SOFT_ABSENT_US);
	return value;
}

static void soft_doorbell(struct zcdma_engine *e, u32 tail)
{
	ktime_t now;

	if (e->state != ZCDMA_RUNNING)
		return;
	if (e->head == e->tail && !e->head_delayed) {
		now = ktime_get();
		e->not_before = ktime_add_ns(now, e->config.latency_ns);
	}
	e->tail = tail;
	if (!e->stalled)
		soft_arm(e, e->not_before);
}

static void soft_control(struct zcdma_engine *e, enum zcdma_ctrl ctrl)
{
	soft_finish_ending(e);
	switch (ctrl) {
	case ZCDMA_CTRL_RUN:
		soft_run(e);
		break;
	case ZCDMA_CTRL_STOP:
		soft_stop(e);
		break;
	case ZCDMA_CTRL_RESET:
		e->state = ZCDMA_RESETTING;
		e->ack_at = ktime_add_ns(ktime_get(), e->config.ack_ns);
		soft_arm(e, e->ack_at);
		break;
	}
}

static void soft_write_locked(struct zcdma_engine *e, enum zcdma_reg reg, u32 value)
{
	bool halted = e->state == ZCDMA_STOPPED || e->state == ZCDMA_POWERON;

	switch (reg) {
	case ZCDMA_CTRL:
		soft_control(e, value);
		break;
	case ZCDMA_RING_LO:
		e->ring_lo = halted ? value : e->ring_lo;
		break;
	case ZCDMA_RING_HI:
		e->ring_hi = halted ? value : e->ring_hi;
		break;
	case ZCDMA_RING_SIZE:
		e->size = halted ? value : e->size;
		break;
	case ZCDMA_TAIL:
		soft_doorbell(e, value);
		break;
	case ZCDMA_ABORT:
		soft_abort(e, value);
		break;
	case ZCDMA_IRQ_STATUS:
		e->irq_status &= ~value;
		e->told &= ~value;
		soft_unmask(e);
		break;
	default:
		break;
	}
}

static const struct zcdma_desc *soft_told_desc(struct zcdma_engine *e, u32 index)
{
	return soft_desc(e, index);
}

static void soft_judge(struct zcdma_engine *e, enum zcdma_reg reg, u32 value)
{
	const struct zcdma_told now = {
		.state = e->state,
		.base = (u64)e->ring_hi << 32 | e->ring_lo,
		.size = e->size,
		.head = e->head,
		.tail = e->tail,
		.engine = e,
		.aborts = e->aborts,
		.desc = soft_told_desc,
	};

	zcdma_told(&now, reg, value);
}

static bool soft_aborted(struct zcdma_engine *e, u32 first)
{
	return zcdma_told_aborted(&e->lock, e->aborts, first);
}

static void soft_write(struct zcdma_engine *e, enum zcdma_reg reg, u32 value)
{
	unsigned long flags;

	at_stall();
	spin_lock_irqsave(&e->lock, flags);
	if (!e->gone && !e->isolated) {
		soft_judge(e, reg, value);
		soft_write_locked(e, reg, value);
	}
	spin_unlock_irqrestore(&e->lock, flags);
}

/* ------------------------------------------------------------ the card */

/* The card goes when it has answered that it stands still, if it is stopped soon. */
static void soft_await_stop(struct zcdma_engine *e)
{
	unsigned int naps = 0;
	unsigned long flags;

	spin_lock_irqsave(&e->lock, flags);
	WRITE_ONCE(e->leaves, true);
	spin_unlock_irqrestore(&e->lock, flags);
	while (naps++ < SOFT_LEAVE_NAPS && READ_ONCE(e->leaves))
		usleep_range(50, 100);
}

static void soft_unplug(struct zcdma_engine *e)
{
	static atomic_t unplugs;
	unsigned long flags;

	if (e->config.widens && !(atomic_inc_return(&unplugs) % 2))
		soft_await_stop(e);
	spin_lock_irqsave(&e->lock, flags);
	soft_leave(e);
	spin_unlock_irqrestore(&e->lock, flags);
}

/* All accesses to memory happen under the lock, and none without !isolated. */
static void soft_isolate(struct zcdma_engine *e)
{
	unsigned long flags;

	spin_lock_irqsave(&e->lock, flags);
	e->isolated = true;
	soft_power_on(e);
	spin_unlock_irqrestore(&e->lock, flags);
	zc_order_reads();
}

static void soft_remote_init(struct soft_remote *remote, struct zcdma_engine *e,
			     enum hrtimer_restart (*function)(struct hrtimer *))
{
	remote->engine = e;
	remote->call.func = soft_start_here;
	remote->call.info = remote;
	zc_hrtimer_setup(&remote->timer, function, ZC_ENGINE_MODE);
}

static void soft_destroy(struct zcdma_engine *e)
{
	soft_isolate(e);
	/* a call under way on another CPU starts a timer */
	while (atomic_read_acquire(&e->calls))
		cpu_relax();
	hrtimer_cancel(&e->tick.timer);
	hrtimer_cancel(&e->irq.timer);
	hrtimer_cancel(&e->steered.timer);
	destroy_workqueue(e->irq_thread);
	vfree(e->mem);
	vfree(e);
}

static struct zcdma_engine *soft_create(const struct zcdma_engine_config *config)
{
	/* unmapped when it goes, as registers are: who touches them later faults */
	struct zcdma_engine *e = vzalloc(sizeof(*e));

	if (!e)
		return NULL;
	e->config = *config;
	e->mem = vzalloc(config->mem_bytes);
	e->irq_thread = alloc_workqueue("zcdma-irq", WQ_UNBOUND | WQ_HIGHPRI, 1);
	if (!e->mem || !e->irq_thread) {
		if (e->irq_thread)
			destroy_workqueue(e->irq_thread);
		vfree(e->mem);
		vfree(e);
		return NULL;
	}
	spin_lock_init(&e->lock);
	INIT_WORK(&e->irq_work, soft_irq_work);
	soft_remote_init(&e->tick, e, soft_tick);
	soft_remote_init(&e->irq, e, soft_irq_timer);
	soft_remote_init(&e->steered, e, soft_irq_timer);
	return e;
}

static const struct zcdma_engine_ops zcdma_engine_soft = {
	.name = "soft",
	.create = soft_create,
	.destroy = soft_destroy,
	.read = soft_read,
	.write = soft_write,
	.isolate = soft_isolate,
	.unplug = soft_unplug,
	.aborted = soft_aborted,
};
