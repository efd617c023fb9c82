/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What a driver tells its engine, held to zcdma_regs.h
 *
 * An engine of silicon takes no notice of a register that is written at the wrong
 * time, or does what was not meant.  These engines say so, at the write itself: what
 * follows of it is far away, or heals.  A correct driver does none of it, whatever
 * faults befall the engine: one that was reset by itself, isolated or pulled is
 * excused.
 */
#ifndef ZCDMA_TOLD_H
#define ZCDMA_TOLD_H

#include <linux/bitmap.h>
#include <linux/spinlock.h>
#include <linux/types.h>

#include "zcdma_regs.h"

/* An engine's registers before a write, under its lock. */
struct zcdma_told {
	enum zcdma_state state;
	u64 base;
	u32 size;
	u32 head;
	u32 tail;
	struct zcdma_engine *engine;
	unsigned long *aborts;		/* by index: it was told to abort its chain */
	/* of an index, while the engine runs; NULL: the bus reaches none */
	const struct zcdma_desc *(*desc)(struct zcdma_engine *engine, u32 index);
};

#define ZCDMA_TOLD_WRONG(what)	WARN_ONCE(1, "zcdma: the device " what "\n")

static void zcdma_told_control(const struct zcdma_told *now, enum zcdma_ctrl ctrl)
{
	switch (ctrl) {
	case ZCDMA_CTRL_RUN:
		bitmap_zero(now->aborts, ZCDMA_MAX_RING);
		if (now->state != ZCDMA_STOPPED && now->state != ZCDMA_POWERON)
			ZCDMA_TOLD_WRONG("was told to run before it stood still");
		else if (!now->base || !now->size)
			ZCDMA_TOLD_WRONG("was told to run without a ring");
		break;
	case ZCDMA_CTRL_STOP:
		if (now->state == ZCDMA_STOPPING || now->state == ZCDMA_RESETTING)
			ZCDMA_TOLD_WRONG("was told to stop while it did so for another");
		break;
	case ZCDMA_CTRL_RESET:
		if (now->state == ZCDMA_RESETTING)
			ZCDMA_TOLD_WRONG("was reset while it was for another");
		break;
	}
}

/* Chains come whole, and into slots that hold nothing of their last use. */
static void zcdma_told_chains(const struct zcdma_told *now, u32 tail)
{
	bool inside = false;
	u32 index, flags;

	for (index = now->tail; index != tail; index++) {
		const struct zcdma_desc *d = now->desc(now->engine, index);

		if (!d)
			return;
		__clear_bit(index % ZCDMA_MAX_RING, now->aborts);
		flags = le32_to_cpu(d->flags);
		if (READ_ONCE(d->status) != cpu_to_le32(ZCDMA_DESC_NONE))
			ZCDMA_TOLD_WRONG("was given a descriptor that has a status");
		if (inside == !!(flags & ZCDMA_DESC_START))
			ZCDMA_TOLD_WRONG("was given a chain that begins in another, or nowhere");
		inside = !(flags & ZCDMA_DESC_END);
	}
	if (inside)
		ZCDMA_TOLD_WRONG("was given a chain without its end");
}

/* One that was reset by itself stands still, and its driver does not know. */
static void zcdma_told_tail(const struct zcdma_told *now, u32 tail)
{
	if (now->state == ZCDMA_POWERON)
		return;
	if (now->state != ZCDMA_RUNNING)
		ZCDMA_TOLD_WRONG("was given descriptors while it was being stopped");
	else if (tail - now->tail > now->size)
		ZCDMA_TOLD_WRONG("had descriptors taken back by its doorbell");
	else if (tail - now->head > now->size)
		ZCDMA_TOLD_WRONG("was given a slot that it has not passed");
	else
		zcdma_told_chains(now, tail);
}

static void zcdma_told_abort(const struct zcdma_told *now, u32 first)
{
	u32 behind = now->tail - first;
	const struct zcdma_desc *d;

	if (now->state != ZCDMA_RUNNING)
		return;
	__set_bit(first % ZCDMA_MAX_RING, now->aborts);
	if (!behind || behind > now->size) {
		ZCDMA_TOLD_WRONG("was told to abort what its ring does not hold");
		return;
	}
	d = now->desc(now->engine, first);
	if (d && !(le32_to_cpu(d->flags) & ZCDMA_DESC_START))
		ZCDMA_TOLD_WRONG("was told to abort from the middle of a chain");
}

/* Whether it was told to abort the chain that begins at @first; takes its lock. */
static bool zcdma_told_aborted(spinlock_t *lock, const unsigned long *aborts, u32 first)
{
	unsigned long flags;
	bool aborted;

	spin_lock_irqsave(lock, flags);
	aborted = test_bit(first % ZCDMA_MAX_RING, aborts);
	spin_unlock_irqrestore(lock, flags);
	return aborted;
}

/* Before @reg is written, by a driver whose engine is there and was not isolated. */
static void zcdma_told(const struct zcdma_told *now, enum zcdma_reg reg, u32 value)
{
	switch (reg) {
	case ZCDMA_CTRL:
		zcdma_told_control(now, value);
		break;
	case ZCDMA_RING_LO:
	case ZCDMA_RING_HI:
	case ZCDMA_RING_SIZE:
		if (now->state != ZCDMA_STOPPED && now->state != ZCDMA_POWERON)
			ZCDMA_TOLD_WRONG("was given a ring before it stood still");
		break;
	case ZCDMA_TAIL:
		zcdma_told_tail(now, value);
		break;
	case ZCDMA_ABORT:
		zcdma_told_abort(now, value);
		break;
	default:
		break;
	}
}

#endif
