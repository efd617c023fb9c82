/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * fail_injector.h - phases, racers, actions, and the phase slots that
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

/*
 * The mapping of /dev/fail_injector begins with one word for each (slot,
 * racer): (sequence << 8) | (phase + 1), written with store-release by that
 * racer alone; 0 means never reached.  sequence holds the low 24 bits of the
 * cookie in bits 8..31 and a count of the racer's steps above, so that a
 * reader knows which request of the slot it sees.
 */
#define AT_SLOTS_BYTES	(AT_NR_SLOTS * AT_NR_RACERS * 8U)

#endif /* FAIL_INJECTOR_H */
