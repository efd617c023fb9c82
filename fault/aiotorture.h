/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Phase marks: the one header a driver includes
 *
 * A request to an asynchronous driver has four racers.  A mark says "this
 * racer of the request with this cookie is now at this phase", and may be
 * told that the device shall misbehave here:
 *
 *	submitter   submit -> pin -> map -> queue
 *	device                               start -> irq -> complete
 *	canceller                    cancel ...
 *	destroyer                                    unmap -> unpin -> free
 *
 * Use, in one source file of the module:
 *
 *	AT_DEFINE_MARKS("mydriver");
 *	...
 *	init:	at_marks_attach();		exit:	at_marks_detach();
 *	...
 *	AT_OUTCOME(out);
 *	...
 *	if (at_mark(AT_SUBMITTER, AT_PIN, cookie, &out) && out.action == AT_FAIL)
 *		return out.err;
 *
 * at_mark() returns true when the caller has something to do, and only then
 * has written *out.  A delay at a phase of the driver is over when it returns
 * (a busy wait of at most AT_DRIVER_DELAY_MAX_NS; a longer one sleeps, at most
 * AT_DRIVER_SLEEP_MAX_NS, at at_mark_may_sleep(), below); at a phase of the device
 * (start, irq) it is reported in out->delay_ns, and the engine defers its
 * event.  out may be NULL where only a delay means something.  Any context.
 *
 * at_mark() holds the caller, when user space placed a racer's window here
 * (docs/windows.md), by spinning at most 100 us and only while another CPU is
 * online.  at_mark_may_sleep() says that no lock is held: from a task whose
 * interrupts are on it sleeps instead, at most 20 ms, and elsewhere it spins.
 *
 * A device's phase is held by asking: at_hold() before the mark answers for how
 * long the engine shall defer its event before it asks again; 0: go on, and mark.
 *
 * at_threaded() asks whether to handle this request's interrupt in a thread, as
 * a kernel with threaded interrupts does: what follows can then be held longer
 * than a spin, and on one CPU too.
 *
 * at_stall() at a register of a device keeps the driver there now and then, by
 * spinning at most 100 us: a slow bus, which draws out what the driver does with
 * its locks held.
 *
 * Without fail_injector.ko, or with it and nothing enabled, a mark costs one
 * static branch.  The injector must be loaded before the module; at_marks_attach()
 * takes a reference on it (symbol_get), so it cannot go away under a mark.
 * Attach and detach sleep.  At detach no mark may be under way, nor come.
 */
#ifndef AIOTORTURE_H
#define AIOTORTURE_H

#include <linux/jump_label.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/time64.h>
#include <linux/types.h>

#include "fail_injector.h"	/* enums and layout, shared with user space */

#define AT_DRIVER_DELAY_MAX_NS	(100 * NSEC_PER_USEC)
#define AT_DRIVER_SLEEP_MAX_NS	(10 * NSEC_PER_MSEC)

/* What the injector wants to happen at a mark. */
struct at_outcome {
	enum at_action action;	/* never AT_NONE when at_mark() returned true */
	int err;		/* AT_FAIL: negative errno to answer with */
	int cpu;		/* AT_STEER: CPU to interrupt, online when it was drawn */
	u64 delay_ns;		/* AT_DELAY, AT_LATE: above 0; else the rule's, or 0 */
	u64 random;		/* 64 bits of this decision, for what else must be drawn */
};

/*
 * Declares an outcome.  at_mark() alone writes it, so that a kernel which clears
 * what lies on the stack (CONFIG_INIT_STACK_ALL_ZERO) need not.
 */
#if defined(__has_attribute)
#if __has_attribute(uninitialized)
#define AT_OUTCOME(name)	struct at_outcome name __attribute__((uninitialized))
#endif
#endif
#ifndef AT_OUTCOME
#define AT_OUTCOME(name)	struct at_outcome name
#endif

/* A module that carries marks, as the injector knows it. */
struct at_client {
	const char *name;
	struct module *owner;
	struct static_key_false *armed;
	/* The injector's, set while attached. */
	bool (*mark)(struct at_client *client, enum at_racer racer,
		     enum at_phase phase, u32 cookie, bool may_sleep,
		     struct at_outcome *out);
	u64 (*hold)(struct at_client *client, enum at_racer racer,
		    enum at_phase phase, u32 cookie);
	bool (*threaded)(struct at_client *client, u32 cookie);
	void (*stall)(struct at_client *client);
	void (*put)(struct at_client *client);
	struct list_head node;
};

/* Exported by fail_injector.ko; found with symbol_get(). */
int fail_injector_attach(struct at_client *client);
void fail_injector_detach(struct at_client *client);

#ifdef AT_WITHOUT_MARKS
/* What a driver is without marks: to measure what they cost (bench/). */
#define AT_DEFINE_MARKS(client_name)					\
	static inline void __maybe_unused at_marks_attach(void) { }	\
	static inline void __maybe_unused at_marks_detach(void) { }	\
	static __always_inline bool __maybe_unused			\
	at_mark(enum at_racer racer, enum at_phase phase, u32 cookie,	\
		struct at_outcome *out)					\
	{								\
		return false;						\
	}								\
	static __always_inline bool __maybe_unused			\
	at_mark_may_sleep(enum at_racer racer, enum at_phase phase,	\
			  u32 cookie, struct at_outcome *out)		\
	{								\
		return false;						\
	}								\
	static __always_inline u64 __maybe_unused			\
	at_hold(enum at_racer racer, enum at_phase phase, u32 cookie)	\
	{								\
		return 0;						\
	}								\
	static __always_inline bool __maybe_unused			\
	at_threaded(u32 cookie)						\
	{								\
		return false;						\
	}								\
	static __always_inline void __maybe_unused at_stall(void) { }
#else
#define AT_DEFINE_MARKS(client_name)					\
	static DEFINE_STATIC_KEY_FALSE(at_marks_armed);			\
	static struct at_client at_marks_client = {			\
		.name = client_name,					\
		.owner = THIS_MODULE,					\
		.armed = &at_marks_armed,				\
	};								\
									\
	static inline void __maybe_unused at_marks_attach(void)		\
	{								\
		int (*attach)(struct at_client *client) =		\
			symbol_get(fail_injector_attach);		\
									\
		if (!attach)						\
			return;						\
		if (attach(&at_marks_client))				\
			symbol_put(fail_injector_attach);		\
	}								\
	static inline void __maybe_unused at_marks_detach(void)		\
	{								\
		if (!at_marks_client.put)				\
			return;						\
		at_marks_client.put(&at_marks_client);			\
		symbol_put(fail_injector_attach);			\
	}								\
	/* Out of the way of code that carries marks, which are idle */	\
	static noinline __cold bool __maybe_unused			\
	at_marks_met(enum at_racer racer, enum at_phase phase, u32 cookie, \
		     bool may_sleep, struct at_outcome *out)		\
	{								\
		return at_marks_client.mark(&at_marks_client, racer,	\
					    phase, cookie, may_sleep, out); \
	}								\
	static noinline __cold u64 __maybe_unused			\
	at_marks_held(enum at_racer racer, enum at_phase phase, u32 cookie) \
	{								\
		return at_marks_client.hold(&at_marks_client, racer,	\
					    phase, cookie);		\
	}								\
	static noinline __cold void __maybe_unused at_marks_stalled(void) \
	{								\
		at_marks_client.stall(&at_marks_client);		\
	}								\
	static __always_inline bool __maybe_unused			\
	at_mark(enum at_racer racer, enum at_phase phase, u32 cookie,	\
		struct at_outcome *out)					\
	{								\
		if (!static_branch_unlikely(&at_marks_armed))		\
			return false;					\
		return at_marks_met(racer, phase, cookie, false, out);	\
	}								\
	static __always_inline bool __maybe_unused			\
	at_mark_may_sleep(enum at_racer racer, enum at_phase phase,	\
			  u32 cookie, struct at_outcome *out)		\
	{								\
		if (!static_branch_unlikely(&at_marks_armed))		\
			return false;					\
		return at_marks_met(racer, phase, cookie, true, out);	\
	}								\
	static __always_inline u64 __maybe_unused			\
	at_hold(enum at_racer racer, enum at_phase phase, u32 cookie)	\
	{								\
		if (!static_branch_unlikely(&at_marks_armed))		\
			return 0;					\
		return at_marks_held(racer, phase, cookie);		\
	}								\
	static __always_inline bool __maybe_unused			\
	at_threaded(u32 cookie)						\
	{								\
		if (!static_branch_unlikely(&at_marks_armed))		\
			return false;					\
		return at_marks_client.threaded(&at_marks_client, cookie); \
	}								\
	static __always_inline void __maybe_unused at_stall(void)	\
	{								\
		if (static_branch_unlikely(&at_marks_armed))		\
			at_marks_stalled();				\
	}

#endif /* AT_WITHOUT_MARKS */

#endif /* AIOTORTURE_H */
