/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * Phases, racers, actions, and the phase slots that
 * /dev/fail_injector maps; shared by modules and user space
 */
#ifndef FAIL_INJECTOR_H
#define FAIL_INJECTOR_H

#include <linux/types.h>

enum at_racer {
	AT_SUBMITTER,
	AT_DEVICE,
	AT_CANCELLER,
	AT_DESTROYER,
	AT_NR_RACERS
};

enum at_phase {
	AT_SUBMIT,
	AT_PIN,
	AT_MAP,
	AT_QUEUE,
	AT_START,
	AT_IRQ,
	AT_COMPLETE,
	AT_CANCEL,
	AT_UNMAP,
	AT_UNPIN,
	AT_FREE,
	AT_NR_PHASES
};

enum at_action {
	AT_NONE,
	AT_DELAY,
	AT_DROP,
	AT_DUP,
	AT_REORDER,
	AT_CORRUPT,
	AT_SHORT,
	AT_FAIL,
	AT_STALL,
	AT_LATE,
	AT_STEER,
	AT_RESET,
	AT_REMOVE,
	AT_SPURIOUS,
	AT_NOMEM,
	AT_NR_ACTIONS
};

/* A cookie names a request: (generation << 12) | slot, 0 names none. */
#define AT_SLOT_BITS	12
#define AT_NR_SLOTS	(1U << AT_SLOT_BITS)
#define AT_COOKIE_BITS	22
#define AT_COOKIE_SHIFT	40	/* where the cookie lies in a file offset */

#define AT_COOKIE_SLOT(cookie)	((cookie) & (AT_NR_SLOTS - 1))
#define AT_COOKIE_GEN(cookie)	((cookie) >> AT_SLOT_BITS)

#define AT_NR_RULES	16

/*
 * The mapping of /dev/fail_injector, read-only, one physically contiguous
 * range whose address the module prints at load:
 *
 *	0			AT_NR_SLOTS x AT_NR_RACERS phase words (u64)
 *	AT_HEADER_OFFSET	struct at_header, one page
 *	header.rings_offset	header.nr_rings x struct at_ring, one a CPU,
 *				header.ring_bytes apart
 *
 * A reader maps AT_HEADER_OFFSET + AT_HEADER_BYTES first, then
 * header.total_bytes.
 *
 * One phase word for each (slot, racer), at index slot * AT_NR_RACERS + racer,
 * written with store-release by that racer alone, before a fault of this phase
 * is carried out: (sequence << 8) | (phase + 1); 0 means never reached.
 * sequence holds the cookie in its low AT_SEQUENCE_COOKIE_BITS and a count of
 * the racer's steps at this slot above, so that a reader knows which request of
 * the slot it sees.
 */
#define AT_SLOTS_BYTES	(AT_NR_SLOTS * AT_NR_RACERS * 8U)

#define AT_SEQUENCE_COOKIE_BITS	24
#define AT_WORD(steps, cookie, phase)					\
	((((__u64)(steps) << AT_SEQUENCE_COOKIE_BITS | (cookie)) << 8) |	\
	 ((phase) + 1U))
#define AT_WORD_PHASE(word)	((int)((word) & 0xff) - 1)	/* -1: none */
#define AT_WORD_COOKIE(word)	((__u32)((word) >> 8) & 0xffffffU)
#define AT_WORD_STEPS(word)	((__u32)((word) >> (8 + AT_SEQUENCE_COOKIE_BITS)))

#define AT_HEADER_OFFSET	AT_SLOTS_BYTES
#define AT_HEADER_BYTES		4096U
#define AT_MAGIC		0x5554524f544f4941ULL	/* "AIOTORTU" in memory */
#define AT_LAYOUT_VERSION	2U

struct at_header {
	__u64 magic;
	__u32 version;
	__u32 nr_slots;
	__u32 nr_racers;
	__u32 nr_rings;		/* possible CPUs: ring n is CPU n's */
	__u32 ring_entries;	/* a power of two */
	__u32 ring_bytes;	/* from one ring to the next */
	__u64 slots_offset;
	__u64 rings_offset;
	__u64 total_bytes;
	__u64 physical;		/* address of the slots */
	__u64 holds_offset;	/* of struct at_holds, page-aligned */
	__u64 holds_bytes;	/* a multiple of the page */
	__u64 reserved[8];
};

#define AT_RULE_NONE	0xff

/*
 * One step of one racer.  Written without a lock from any context: an
 * interrupt takes the next entry and finishes first.  sequence is 0 while the
 * entry is written and the entry's number on its CPU, from 1, when it is
 * whole: a reader loads it (acquire), copies, loads again, and drops the copy
 * when the two differ.
 */
struct at_event {
	__u64 sequence;
	__u64 time_ns;		/* CLOCK_MONOTONIC, taken as the mark was entered */
	__u32 cookie;
	__u32 pid;		/* thread; 0 in interrupt context */
	__u16 cpu;
	__u8 racer;
	__u8 phase;
	__u8 action;		/* what fired, or AT_NONE */
	__u8 rule;		/* whose firing it was, or AT_RULE_NONE */
	__u16 reserved;
};

/* ring_entries events follow: number n at index (n - 1) % ring_entries. */
struct at_ring {
	__u64 head;		/* entries ever taken; the newest is number head */
	__u64 reserved[3];
};

/*
 * Holds: header.holds_offset, the one part that user space may map writable.
 *
 * A try places racers inside one stretch of one request.  User space fills a
 * record, stores its number + 1 into the byte of the request's slot (release),
 * submits the request, and empties the byte when it is done:
 *
 *	request   ---- phase A ==== held ==== | -- A's work -- phase B --
 *	racer               enter [ call ] return
 *	                                      ^ release: after the last arrival,
 *	                                        and release_delay_ns more
 *
 * All times are CLOCK_MONOTONIC in nanoseconds, 0 when not yet.  The kernel
 * believes nothing of what stands here: a wrong byte costs at most a hold of
 * AT_HOLD_MAX_NS.
 */
#define AT_NR_TRIES		64U
#define AT_NR_CALLS		256U
#define AT_NR_HOLDS		2U
#define AT_HOLD_MAX_NS		20000000U	/* of any hold */
#define AT_HOLD_SPIN_MAX_NS	100000U		/* of one that cannot sleep: it spins */
#define AT_NO_PHASE		0xffU

#define AT_HOLD_EXPIRED		1U	/* its bound was over before it was released */
#define AT_HOLD_SPUN		2U	/* interrupts off or a lock held */
#define AT_HOLD_SLEPT		4U
#define AT_HOLD_DEFERRED	8U	/* the device's event waited, and no CPU */
#define AT_HOLD_NO_CPU		16U	/* would have spun on the only CPU: not held */

struct at_hold {
	__u32 phase;		/* user: held at this mark, AT_NO_PHASE: not at all */
	__u32 bound_ns;		/* user: at most so long */
	__u64 release_at_ns;	/* user, or the last arrival: not held beyond */
	__u64 held_ns;		/* kernel: when it began */
	__u64 released_ns;	/* kernel: when it was over */
	__u32 flags;		/* kernel: AT_HOLD_… */
	__u32 cpu;		/* kernel: whose interrupt or task it was, last */
};

/* The first hold assembles the racers, where the second is too short for that. */
struct at_try {
	__u32 number;		/* user: of this use of the record, never the last one's */
	__u32 cookie;		/* user: the request; a mark of another does not see the try */
	struct at_hold hold[AT_NR_HOLDS];
	__u32 release_phase;	/* user: passing it is an arrival; AT_NO_PHASE: none is */
	__u32 release_delay_ns;	/* user: from the last arrival to the release of hold[1] */
	__s32 arrivals_left;	/* user: how many hold[1] waits for; the kernel counts down */
	__u32 threaded;		/* user: this request's interrupt is handled in a thread */
	__u64 phase_ns[AT_NR_PHASES];	/* kernel: when the request first passed it */
	__u32 start_cpu;	/* kernel: which CPU took the device's start, + 1 */
	__u32 reserved;
	__u64 reserved2[7];
};

/* When a racer's system call arrives at its try. */
#define AT_ARRIVES_NEVER	0U	/* it is timed only */
#define AT_ARRIVES_AT_ENTRY	1U
#define AT_ARRIVES_AT_RETURN	2U
#define AT_ARRIVES_BEFORE_ENTRY	3U	/* and enters delay_ns later */

/* A thread's next system call, at index tid % AT_NR_CALLS; the thread's own. */
struct at_call {
	__u32 tid;		/* user: 0 when it expects none */
	__u32 arrives;		/* user: AT_ARRIVES_… */
	__u32 try_index;	/* user: at which record */
	__u32 try_number;	/* user: at which use of it */
	__u64 enter_ns;		/* kernel: its first instruction */
	__u64 exit_ns;		/* kernel: its return */
	__u64 delay_ns;		/* user: from its arrival to its entry, if it arrives before */
	__u64 reserved[3];
};

struct at_holds {
	__u32 stretch_ppm;	/* user: share of passages that are drawn out (probes, registers) */
	__u32 stretch_ns;	/* user: at most so long, and at most AT_HOLD_SPIN_MAX_NS */
	__u64 stretched_ns;	/* kernel: waited in all at probes, registers and sites */
	__u64 reserved[6];
	__u8 try_of_slot[AT_NR_SLOTS];	/* user: number of the record + 1; 0: none */
	struct at_try tries[AT_NR_TRIES];
	struct at_call calls[AT_NR_CALLS];
};

#endif /* FAIL_INJECTOR_H */
