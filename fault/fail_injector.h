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
#define AT_LAYOUT_VERSION	1U

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
	__u64 holds_offset;	/* where holds are asked for and told; 0: not built in */
	__u64 holds_bytes;
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

#endif /* FAIL_INJECTOR_H */
