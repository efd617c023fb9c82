/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What a driver and an engine agree on, and nothing else
 *
 * The engine is a device.  It sees descriptors in coherent memory, the bus
 * addresses in them, and its registers.  The driver learns from it by status
 * words and interrupts, and stops it by a register whose acknowledgement it
 * must wait for.
 *
 *	driver                              engine
 *	fill descriptors, dma_wmb
 *	TAIL = index behind the last  --->  takes descriptors HEAD..TAIL
 *	                                    reads *cancel_addr (if any) first
 *	                                    moves the bytes
 *	                                    residue, echo, dma_wmb, status
 *	                              <---  IRQ_STATUS |= DONE, interrupt
 *	IRQ_STATUS = bits (acknowledge)
 *	scan the statuses, dma_rmb
 *
 * An interrupt is a message, as MSI's are: for what one has told of and IRQ_STATUS
 * still holds, no other comes.  A status that is posted between a driver's look
 * and its acknowledgement is therefore told by nobody.
 *
 * A ring's size is a power of two; HEAD and TAIL run freely and are masked.
 * A chain is CHAIN_START .. CHAIN_END, contiguous in the ring; a single
 * descriptor carries both.  Chains are taken in order, but may be completed
 * out of order, and each descriptor posts its own status: a chain is done
 * when all its descriptors are.  A chain ends at its first error or short
 * transfer: the engine then posts the rest of it with nothing moved.
 *
 * HEAD never lies before a descriptor without a status, except one whose
 * status will never come (or comes out of order).  A driver that reuses only
 * slots whose chains are complete therefore never overtakes the engine.
 *
 * Stop:  CTRL = STOP; STATUS goes to STOPPING, and to STOPPED when the engine
 *	  touches no memory any more.  Before that it may write any byte of any
 *	  transfer without a status.  IRQ_STOPPED tells of it too, but may be held
 *	  up until another stop has begun: STATUS alone is about this one.  Ring
 *	  registers may be written only in STOPPED and POWERON.
 * Reset: CTRL = RESET; STATUS goes to RESETTING, and to POWERON when the engine
 *	  touches no memory any more; all registers have power-on values (0).
 * Abort: ABORT = index of a chain's first descriptor: the engine takes this
 *	  chain out and posts CANCELLED in each of its descriptors without a
 *	  status, then interrupts.  If all were executed, they keep their status.
 *	  Until the status is there it may write the chain's bytes.
 * Gone:  every register reads as all ones, writes are lost, no memory access.
 */
#ifndef ZCDMA_REGS_H
#define ZCDMA_REGS_H

#include <linux/types.h>

struct device;

enum zcdma_reg {
	ZCDMA_CTRL,		/* enum zcdma_ctrl, write */
	ZCDMA_STATUS,		/* enum zcdma_state | ZCDMA_STATUS_STALLED, read */
	ZCDMA_RING_LO,		/* bus address of the ring */
	ZCDMA_RING_HI,
	ZCDMA_RING_SIZE,	/* descriptors, a power of two */
	ZCDMA_HEAD,		/* next descriptor the engine takes, read */
	ZCDMA_TAIL,		/* doorbell: one behind the last descriptor */
	ZCDMA_ABORT,		/* index of a chain's first descriptor, write */
	ZCDMA_IRQ_STATUS,	/* ZCDMA_IRQ_*; a written 1 acknowledges */
	ZCDMA_MEM_BYTES,	/* size of the device's memory, read */
	ZCDMA_NR_REGS
};

#define ZCDMA_GONE		0xffffffffU	/* what a removed device reads as */

enum zcdma_ctrl {
	ZCDMA_CTRL_RUN = 1,
	ZCDMA_CTRL_STOP = 2,
	ZCDMA_CTRL_RESET = 3,
};

enum zcdma_state {
	ZCDMA_POWERON = 0,
	ZCDMA_RUNNING = 1,
	ZCDMA_STOPPING = 2,
	ZCDMA_STOPPED = 3,
	ZCDMA_RESETTING = 4,
};

#define ZCDMA_STATUS_STATE	0x0000000fU
#define ZCDMA_STATUS_STALLED	0x00000010U

#define ZCDMA_IRQ_DONE		0x00000001U	/* some descriptor has a status */
#define ZCDMA_IRQ_STOPPED	0x00000002U	/* a stop was acknowledged */

#define ZCDMA_DESC_TO_DEVICE	0x00000001U	/* else from the device to memory */
#define ZCDMA_DESC_START	0x00000002U
#define ZCDMA_DESC_END		0x00000004U
#define ZCDMA_DESC_IRQ		0x00000008U	/* interrupt when it has a status */
#define ZCDMA_DESC_NOP		0x00000010U	/* moves nothing, posts DONE */

enum zcdma_desc_status {
	ZCDMA_DESC_NONE = 0,
	ZCDMA_DESC_DONE = 1,
	ZCDMA_DESC_ERR = 2,
	ZCDMA_DESC_CANCELLED = 3,
};

#define ZCDMA_MAX_RING		4096

/* Little endian, 64 bytes, in coherent memory. */
struct zcdma_desc {
	__le64 bus_addr;
	__le64 dev_addr;
	__le64 cancel_addr;	/* bus address of a __le32, 0: none */
	__le32 len;
	__le32 flags;
	__le32 tag;		/* the request's cookie, for traces and faults */
	__le32 seq;		/* number of this use of the slot, never 0 */
	/* written by the engine, status last */
	__le32 residue;		/* bytes not moved */
	__le32 echo;		/* seq of the use that the status is for */
	__le32 status;
	__le32 pad[3];
};

/* What an engine gets from its driver. */
struct zcdma_engine_config {
	struct device *dma_dev;		/* whose bus addresses the descriptors hold */
	u32 mem_bytes;
	unsigned int latency_ns;
	unsigned int burst;
	unsigned int irq_gap_ns;	/* interrupt moderation: at most one in so long */
	unsigned int ack_ns;		/* from a stop or reset to its acknowledgement */
	int cpu;			/* -1: any */
	bool widens;			/* brings about what is seldom, see zcdma_guard.h */
	void (*interrupt)(void *arg);	/* hard interrupt or softirq, see compat.h */
	void *arg;
};

struct zcdma_engine;

/*
 * A back end.  read and write never sleep.  After isolate (bus mastering off)
 * and after destroy the engine accesses no memory, whatever its registers
 * said; after destroy it does not interrupt either.  unplug is no register:
 * it is what a hand does that pulls the card, and may be NULL.  Neither is aborted:
 * it tells whether ABORT was written for the chain that begins at an index.
 */
struct zcdma_engine_ops {
	const char *name;
	struct zcdma_engine *(*create)(const struct zcdma_engine_config *config);
	void (*destroy)(struct zcdma_engine *engine);
	u32 (*read)(struct zcdma_engine *engine, enum zcdma_reg reg);
	void (*write)(struct zcdma_engine *engine, enum zcdma_reg reg, u32 value);
	void (*isolate)(struct zcdma_engine *engine);
	void (*unplug)(struct zcdma_engine *engine);
	bool (*aborted)(struct zcdma_engine *engine, u32 first);
};

#endif /* ZCDMA_REGS_H */
