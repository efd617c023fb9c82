/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * Whether a rule fires: one pure function, for the kernel, the
 * stressors' tests and the model alike
 *
 * A decision depends on (seed, rule, count) alone, where count is the number
 * of this event among those that match the rule, from 1.  No state is carried
 * from one decision to the next, so that the same seed fires at the same
 * counts however the racers interleave, and whoever knows the three numbers
 * can tell afterwards what was decided.
 *
 * The checks keep the order and the meaning of should_fail() in
 * lib/fault-inject.c with size 1: space, interval, probability, times.
 * nth stands for the kernel's fail-nth and goes past interval and space.
 */
#ifndef AT_DECIDE_H
#define AT_DECIDE_H

#include "fail_injector.h"

#ifdef __KERNEL__
#include <linux/math64.h>
#endif

#define AT_PPM		1000000U	/* certain */
#define AT_NO_LIMIT	(-1)		/* times: fires as often as it likes */
#define AT_SCAN_EVENTS	65536U		/* how far at_last_firing() looks, about 1 ms */

/* The attributes of a rule that a decision reads. */
struct at_chance {
	__u32 probability_ppm;	/* 0..AT_PPM */
	__u32 interval;		/* 0, 1: every event; n: each n-th event */
	__u32 space;		/* the first space - 1 events never fire */
	__s32 times;		/* AT_NO_LIMIT, or how often at most */
	__u64 nth;		/* 0: off; else the only event that may fire */
};

/* The finaliser of splitmix64 (Steele, Lea, Flood 2014): a bijection. */
static inline __u64 at_mix64(__u64 z)
{
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

/* 64 bits of the decision number @count of rule @rule. */
static inline __u64 at_draw(__u64 seed, __u32 rule, __u64 count)
{
	const __u64 gamma = 0x9e3779b97f4a7c15ULL;
	__u64 z = at_mix64(seed + gamma);

	z = at_mix64(z ^ ((rule + 1ULL) * gamma));
	return at_mix64(z + count * gamma);
}

/* What a firing hands to the driver: independent of the bits that decided. */
static inline __u64 at_draw_random(__u64 seed, __u32 rule, __u64 count)
{
	return at_mix64(at_draw(seed, rule, count) ^ 0xd1b54a32d192ed03ULL);
}

/* Maps 64 random bits to 0..@range - 1, @range > 0, without division. */
static inline __u32 at_reduce(__u64 random, __u32 range)
{
	return (__u32)(((random >> 32) * range) >> 32);
}

static inline __u32 at_remainder(__u64 dividend, __u32 divisor)
{
#ifdef __KERNEL__
	u32 remainder;

	div_u64_rem(dividend, divisor, &remainder);
	return remainder;
#else
	return (__u32)(dividend % divisor);
#endif
}

/* Whether event number @count (from 1) would fire, times aside. */
static inline int at_would_fire(const struct at_chance *chance, __u64 seed,
				__u32 rule, __u64 count)
{
	__u32 ppm = chance->probability_ppm;

	if (chance->nth) {
		if (count != chance->nth)
			return 0;
		if (!ppm)
			return 1;
	} else {
		__u32 spared = chance->space ? chance->space - 1 : 0;

		if (count <= spared)
			return 0;
		if (chance->interval > 1 &&
		    at_remainder(count - spared, chance->interval))
			return 0;
	}
	return at_reduce(at_draw(seed, rule, count), AT_PPM) < ppm;
}

/*
 * The event at which times (above 0) is used up: what would fire after it does
 * not.  0: not among the first AT_SCAN_EVENTS, and the firings must be counted.
 */
static inline __u64 at_last_firing(const struct at_chance *chance, __u64 seed,
				   __u32 rule)
{
	__u32 left = (__u32)chance->times;
	__u64 count;

	if (chance->nth)
		return chance->nth;
	if (chance->probability_ppm >= AT_PPM)
		return (chance->space ? chance->space - 1 : 0) +
		       (__u64)left * (chance->interval ? chance->interval : 1);
	for (count = 1; count <= AT_SCAN_EVENTS; count++)
		if (at_would_fire(chance, seed, rule, count) && !--left)
			return count;
	return 0;
}

/*
 * The whole decision, for a caller that counts alone (the model, a test):
 * *@fired is what the rule has fired so far.
 */
static inline int at_decide(const struct at_chance *chance, __u64 seed,
			    __u32 rule, __u64 count, __u64 *fired)
{
	if (!at_would_fire(chance, seed, rule, count))
		return 0;
	if (chance->times >= 0 && *fired >= (__u64)chance->times)
		return 0;
	++*fired;
	return 1;
}

#define AT_BIT(n)	(1U << (n))

/* The actions that mean something at a phase, as AT_BIT(action). */
static inline __u32 at_phase_actions(enum at_phase phase)
{
	const __u32 device = AT_BIT(AT_DELAY) | AT_BIT(AT_DROP) | AT_BIT(AT_DUP) |
			     AT_BIT(AT_RESET) | AT_BIT(AT_REMOVE);

	switch (phase) {
	case AT_SUBMIT:
	case AT_PIN:
	case AT_MAP:
	case AT_QUEUE:
		return AT_BIT(AT_FAIL) | AT_BIT(AT_DELAY) | AT_BIT(AT_NOMEM);
	case AT_START:
		return device | AT_BIT(AT_REORDER) | AT_BIT(AT_CORRUPT) |
		       AT_BIT(AT_SHORT) | AT_BIT(AT_STALL) | AT_BIT(AT_LATE);
	case AT_IRQ:
		return device | AT_BIT(AT_STEER) | AT_BIT(AT_SPURIOUS);
	case AT_COMPLETE:
	case AT_CANCEL:
	case AT_UNMAP:
	case AT_UNPIN:
	case AT_FREE:
		return AT_BIT(AT_DELAY);
	default:
		return 0;
	}
}

static inline int at_action_means(enum at_phase phase, enum at_action action)
{
	return action != AT_NONE && (at_phase_actions(phase) & AT_BIT(action));
}

/* The device executes start and irq: a delay there is the device's to keep. */
static inline int at_phase_of_device(enum at_phase phase)
{
	return phase == AT_START || phase == AT_IRQ;
}

/* The errno (positive) of a fail whose rule names none. */
static inline int at_default_errno(enum at_phase phase)
{
	return phase == AT_QUEUE ? 11 /* EAGAIN */ : 12 /* ENOMEM */;
}

/* The words of plans, debugfs and reports; NULL beyond the enum. */
static inline const char *at_phase_name(unsigned int phase)
{
	static const char *const name[AT_NR_PHASES] = {
		"submit", "pin", "map", "queue", "start", "irq",
		"complete", "cancel", "unmap", "unpin", "free",
	};

	return phase < AT_NR_PHASES ? name[phase] : (const char *)0;
}

static inline const char *at_action_name(unsigned int action)
{
	static const char *const name[AT_NR_ACTIONS] = {
		"", "delay", "drop", "dup", "reorder", "corrupt", "short",
		"fail", "stall", "late", "steer", "reset", "remove", "spurious",
		"nomem",
	};

	return action < AT_NR_ACTIONS ? name[action] : (const char *)0;
}

static inline const char *at_racer_name(unsigned int racer)
{
	static const char *const name[AT_NR_RACERS] = {
		"submitter", "device", "canceller", "destroyer",
	};

	return racer < AT_NR_RACERS ? name[racer] : (const char *)0;
}

#endif /* AT_DECIDE_H */
