// SPDX-License-Identifier: GPL-2.0
/*
 * Tries and holds: where racers are placed
 *
 * User space names a request before it submits it (struct at_try in
 * fail_injector.h).  Each mark of that request leaves its time in the record,
 * and one or two of them keep the request where it is until the racers have
 * arrived, or until a bound is over:
 *
 *	start, irq		the engine asks, defers its event, and asks again
 *	no lock held, a task	sleeps
 *	anywhere else		spins, while another CPU is online
 *
 * A mark of a request without a try reads one byte.  What user space writes is
 * believed nowhere: indices are checked, waits have bounds of their own.
 */
#include <linux/delay.h>

#define AT_ASK_AGAIN_NS		(50 * NSEC_PER_USEC)	/* a tick of a waiting engine */
#define AT_NAP_US		20U

static struct at_holds *holds(void)
{
	return injector.memory + injector.header->holds_offset;
}

static struct at_try *try_of(u32 cookie)
{
	/* Pairs with user space's store-release: the record is filled. */
	u8 number = smp_load_acquire(&holds()->try_of_slot[AT_COOKIE_SLOT(cookie)]);
	struct at_try *try;

	if (likely(!number) || number > AT_NR_TRIES)
		return NULL;
	try = &holds()->tries[number - 1];
	return READ_ONCE(try->cookie) == cookie ? try : NULL;
}

/* One of those that hold[1] waits for is there; the last one lets it go. */
static void arrive(struct at_try *try, u64 now)
{
	u64 at = now + READ_ONCE(try->release_delay_ns);

	if (atomic_dec_return((atomic_t *)&try->arrivals_left) == 0)
		cmpxchg64(&try->hold[1].release_at_ns, 0, at);
}

static void pass_phase(struct at_try *try, enum at_phase phase, u64 now)
{
	if (cmpxchg64(&try->phase_ns[phase], 0, now))
		return;
	if (phase == AT_START)
		WRITE_ONCE(try->start_cpu, raw_smp_processor_id() + 1);
	if (READ_ONCE(try->release_phase) == phase)
		arrive(try, now);
}

static struct at_hold *hold_at(struct at_try *try, enum at_phase phase)
{
	unsigned int i;

	for (i = 0; i < AT_NR_HOLDS; i++)
		if (READ_ONCE(try->hold[i].phase) == phase)
			return &try->hold[i];
	return NULL;
}

static void end_hold(struct at_hold *hold, u64 now, u32 flags)
{
	WRITE_ONCE(hold->flags, READ_ONCE(hold->flags) | flags);
	/* Pairs with user space's load-acquire: the flags are there. */
	smp_store_release(&hold->released_ns, now);
}

/*
 * Nanoseconds left; 0: over, and told.  @number is that of the record when the
 * hold began: user space gave the record away when it differs.
 */
static u64 hold_left(struct at_try *try, struct at_hold *hold, u32 number, u64 bound_ns)
{
	u64 now = ktime_get_mono_fast_ns();
	u64 release_at, passed;

	if (READ_ONCE(try->number) != number || !rcu_access_pointer(injector.live))
		return 0;
	passed = now - READ_ONCE(hold->held_ns);
	release_at = READ_ONCE(hold->release_at_ns);
	if (release_at && (s64)(now - release_at) >= 0) {
		end_hold(hold, now, 0);
		return 0;
	}
	if (passed >= bound_ns) {
		end_hold(hold, now, AT_HOLD_EXPIRED);
		return 0;
	}
	bound_ns -= passed;
	return release_at ? min(bound_ns, release_at - now) : bound_ns;
}

static u64 hold_bound_ns(const struct at_hold *hold)
{
	return min(READ_ONCE(hold->bound_ns), AT_HOLD_MAX_NS);
}

static void begin_hold(struct at_hold *hold, u64 now, u32 flags)
{
	WRITE_ONCE(hold->flags, flags);
	/* Pairs with user space's load-acquire. */
	smp_store_release(&hold->held_ns, now);
}

/* Is this a task that may sleep, if its caller holds no lock? */
static bool may_nap(void)
{
	/* with softirqs off PREEMPT_RT is inside an RCU section, and shows it nowhere else */
	return in_task() && !irqs_disabled() && !in_atomic() && !softirq_count() &&
	       !rcu_preempt_depth();
}

/*
 * A delay of the driver.  What is longer than a spin may be is slept through, where
 * that may be; no window that is so long needs another CPU, and none is spent on it.
 */
static void delay_here(u64 delay_ns, bool may_sleep)
{
	u64 us;

	if (delay_ns <= AT_DRIVER_DELAY_MAX_NS || !may_sleep || !may_nap()) {
		busy_wait(delay_ns);
		return;
	}
	us = div_u64(min_t(u64, delay_ns, AT_DRIVER_SLEEP_MAX_NS), NSEC_PER_USEC);
	usleep_range(us, us + AT_NAP_US);
}

/* At a mark of the driver: waits in the caller's place, once for each hold. */
static void hold_here(struct at_try *try, struct at_hold *hold, u64 now, bool may_sleep)
{
	bool sleeps = may_sleep && may_nap();
	u32 number = READ_ONCE(try->number);
	u64 bound_ns = hold_bound_ns(hold);
	u64 left, turns;

	if (READ_ONCE(hold->held_ns))
		return;
	if (!sleeps && num_online_cpus() < 2) {
		begin_hold(hold, now, AT_HOLD_NO_CPU);
		end_hold(hold, now, 0);
		return;
	}
	if (!sleeps)
		bound_ns = min_t(u64, bound_ns, AT_HOLD_SPIN_MAX_NS);
	begin_hold(hold, now, sleeps ? AT_HOLD_SLEPT : AT_HOLD_SPUN);
	/* A turn takes more than 1 ns: bounds the wait where the clock stands still. */
	for (turns = 0; turns < bound_ns; turns++) {
		left = hold_left(try, hold, number, bound_ns);
		if (!left)
			return;
		if (sleeps)
			usleep_range(1, min_t(u64, AT_NAP_US, 1 + left / NSEC_PER_USEC));
		else
			cpu_relax();
	}
}

/*
 * From an engine, under its lock, any context, before its mark: 0, or for how
 * many nanoseconds to defer the event before it asks again.
 */
static u64 injector_hold(struct at_client *client, enum at_racer racer,
			 enum at_phase phase, u32 cookie)
{
	struct at_hold *hold;
	struct at_try *try;
	u64 now, left;

	if (!cookie || !rcu_access_pointer(injector.live))
		return 0;
	try = try_of(cookie);
	if (likely(!try))
		return 0;
	hold = hold_at(try, phase);
	if (!hold || READ_ONCE(hold->released_ns))
		return 0;
	if (!READ_ONCE(hold->held_ns)) {
		now = ktime_get_mono_fast_ns();
		store_phase(racer, phase, cookie);
		pass_phase(try, phase, now);
		begin_hold(hold, now, AT_HOLD_DEFERRED);
	}
	WRITE_ONCE(hold->cpu, raw_smp_processor_id());
	left = hold_left(try, hold, READ_ONCE(try->number), hold_bound_ns(hold));
	return min_t(u64, left, AT_ASK_AGAIN_NS);
}

static bool injector_threaded(struct at_client *client, u32 cookie)
{
	struct at_try *try;

	if (!cookie || !rcu_access_pointer(injector.live))
		return false;
	try = try_of(cookie);
	return unlikely(try) && READ_ONCE(try->threaded);
}
