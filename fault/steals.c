// SPDX-License-Identifier: GPL-2.0
/*
 * Steals: a CPU is taken away from the driver, at any instruction
 *
 *	racer A   ... instruction | an interrupt, which stays | instruction ...
 *	racer B             ... comes in between ...
 *
 * FROM BYTES PERIOD_NS (hex, decimal, decimal) written to the file `steals` start a
 * timer on each CPU; nothing stops them.  While rules are armed, an interrupt that
 * has come between two instructions of that text stays there, as an SMI or the host
 * of a virtual CPU would: evenly over the logarithm of 1 to 100 us, to 1 ms where
 * the driver could have been preempted.  The only CPU is given to others instead,
 * where the kernel preempts there.  No instruction need be probed beforehand, as for
 * sites.c; where interrupts are off none comes.
 */
#include <linux/hrtimer.h>
#include <linux/ptrace.h>

#include <asm/irq_regs.h>

#define AT_STEAL_RULE		(AT_SITE_RULE + AT_SITES)	/* draws of its own, for each CPU */
#define AT_STEAL_SHARE		12	/* of a CPU's time */
#define AT_STEAL_PERIOD_MIN_NS	10000U

struct at_steal {
	struct hrtimer timer;
	bool begun;
	u64 looks;
	u64 inside;
	u64 waited_ns;
};

static DEFINE_PER_CPU(struct at_steal, at_steals);

/* Under injector.lock; the timers that read them are stopped meanwhile. */
static unsigned long steal_from, steal_bytes;
static u32 steal_period_ns;
static u64 steals_since_ns;

static void take_cpu(struct at_steal *mine, u64 random)
{
	bool preemptible = IS_ENABLED(CONFIG_PREEMPT_COUNT) && preempt_count() == HARDIRQ_OFFSET;
	u64 elapsed_ns = ktime_get_mono_fast_ns() - steals_since_ns;
	u64 waited_ns;

	if (mine->waited_ns > div_u64(elapsed_ns, AT_STEAL_SHARE))
		return;
	mine->inside++;
	if (num_online_cpus() < 2) {
		if (preemptible) {
			set_tsk_thread_flag(current, TIF_NEED_RESCHED);
			set_preempt_need_resched();
		}
		return;
	}
	waited_ns = wait_busily(site_wait_ns(random, preemptible));
	mine->waited_ns += waited_ns;
	tell_stretched(waited_ns);
}

static enum hrtimer_restart steal(struct hrtimer *timer)
{
	struct at_steal *mine = container_of(timer, struct at_steal, timer);
	struct pt_regs *regs = get_irq_regs();
	u64 random = at_draw(READ_ONCE(injector.seed), AT_STEAL_RULE + raw_smp_processor_id(),
			     ++mine->looks);

	if (regs && instruction_pointer(regs) - steal_from < steal_bytes &&
	    rcu_access_pointer(injector.live))
		take_cpu(mine, at_mix64(random));
	hrtimer_forward_now(timer, ns_to_ktime(steal_period_ns / 2 +
					       at_reduce(random, steal_period_ns)));
	return HRTIMER_RESTART;
}

static void begin_steals_here(void *unused)
{
	struct at_steal *mine = this_cpu_ptr(&at_steals);

	memset(mine, 0, sizeof(*mine));
	mine->begun = true;
	at_hrtimer_setup(&mine->timer, steal, CLOCK_MONOTONIC, HRTIMER_MODE_REL_PINNED_HARD);
	hrtimer_start(&mine->timer, ns_to_ktime(steal_period_ns), HRTIMER_MODE_REL_PINNED_HARD);
}

/* Under injector.lock. */
static void end_steals(void)
{
	int cpu;

	for_each_possible_cpu(cpu) {
		struct at_steal *its = per_cpu_ptr(&at_steals, cpu);

		if (its->begun)
			hrtimer_cancel(&its->timer);
		its->begun = false;
	}
}

static ssize_t steals_write(struct file *file, const char __user *from, size_t len, loff_t *pos)
{
	unsigned long begin = 0, bytes = 0;
	u32 period_ns = 0;
	char text[64] = {};
	int ret = len;

	if (len >= sizeof(text) || copy_from_user(text, from, len))
		return -EINVAL;
	if (*strim(text) && sscanf(text, "%lx %lu %u", &begin, &bytes, &period_ns) != 3)
		return -EINVAL; /* a blank line: no more */
	if (period_ns && (period_ns < AT_STEAL_PERIOD_MIN_NS || period_ns > NSEC_PER_SEC))
		return -ERANGE;
	mutex_lock(&injector.lock);
	end_steals();
	if (period_ns) {
		steal_from = begin;
		steal_bytes = bytes;
		steal_period_ns = period_ns;
		steals_since_ns = ktime_get_mono_fast_ns();
		on_each_cpu(begin_steals_here, NULL, 1);
	}
	mutex_unlock(&injector.lock);
	return ret;
}

static int steals_show(struct seq_file *seq, void *unused)
{
	u64 looks = 0, inside = 0, waited_ns = 0;
	int cpu;

	mutex_lock(&injector.lock);
	for_each_possible_cpu(cpu) {
		looks += per_cpu(at_steals, cpu).looks;
		inside += per_cpu(at_steals, cpu).inside;
		waited_ns += per_cpu(at_steals, cpu).waited_ns;
	}
	mutex_unlock(&injector.lock);
	seq_printf(seq, "looks %llu\ninside %llu\nwaited_us %llu\n", looks, inside,
		   div_u64(waited_ns, NSEC_PER_USEC));
	return 0;
}

static int steals_open(struct inode *inode, struct file *file)
{
	return single_open(file, steals_show, NULL);
}

static const struct file_operations steals_fops = {
	.owner = THIS_MODULE,
	.open = steals_open,
	.read = seq_read,
	.write = steals_write,
	.llseek = seq_lseek,
	.release = single_release,
};
