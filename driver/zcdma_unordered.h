/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What a CPU may have read before its dma_rmb()
 *
 * One that orders its reads weakly may see a status that was posted, and with it what
 * had been there before it.  x86 does not, and a window of two reads is hardly met.
 * Here the residue that belongs to the last status comes with the driver's dma_rmb():
 * who reads it before that, or has none, finds that nothing was moved.  Of engines
 * that this module plays and of devices that are looked at (zcdma_looks.c), but in
 * blind stress (widen).
 */
#ifndef ZCDMA_UNORDERED_H
#define ZCDMA_UNORDERED_H

#include <linux/spinlock.h>

#include "zcdma_regs.h"

#ifdef spin_unlock_irq	/* the model, which looks at nothing and has all orders of accesses */
static inline void zc_order_reads(void)
{
}

static inline void zc_leave_unordered(struct zcdma_desc *d, u32 residue)
{
	d->residue = cpu_to_le32(residue);
}
#else

/* Nests inside all others.  One status at a time: the next one orders the last. */
static DEFINE_SPINLOCK(zc_unordered_lock);
static struct zcdma_desc *zc_unordered;
static __le32 zc_unordered_residue;

static void zc_order_locked(void)
{
	if (!zc_unordered)
		return;
	zc_unordered->residue = zc_unordered_residue;
	/* pairs with zc_order_reads(): the residue is there */
	smp_store_release(&zc_unordered, NULL);
}

static void zc_order_reads(void)
{
	unsigned long flags;

	/* a status that was seen was written after this */
	smp_rmb();
	if (!smp_load_acquire(&zc_unordered))
		return;
	spin_lock_irqsave(&zc_unordered_lock, flags);
	zc_order_locked();
	spin_unlock_irqrestore(&zc_unordered_lock, flags);
}

/* In place of the write of @d's residue, before its status. */
static void zc_leave_unordered(struct zcdma_desc *d, u32 residue)
{
	unsigned long flags;

	spin_lock_irqsave(&zc_unordered_lock, flags);
	zc_order_locked();
	d->residue = d->len;
	zc_unordered_residue = cpu_to_le32(residue);
	zc_unordered = d;
	spin_unlock_irqrestore(&zc_unordered_lock, flags);
}
#endif

#endif /* ZCDMA_UNORDERED_H */
