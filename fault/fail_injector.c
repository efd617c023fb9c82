// SPDX-License-Identifier: GPL-2.0
/*
 * Decides which mark of a driver fires, and keeps where each
 * racer of each request is
 *
 * Drivers carry marks (aiotorture.h).  Sixteen rules under debugfs say what
 * shall go wrong at which phase of which request; docs/faults.md lists what
 * means something where.  Writing 1 to enable freezes the rules into an arming:
 * an immutable copy with counts that start at 0, which marks read under RCU.
 * What is written to a rule afterwards waits for the next 1.  That makes a
 * decision a function of seed, rule and count (at_decide.h), whatever the
 * racers do to each other, and leaves no lock on the way of a mark, which may
 * come from any context.
 *
 * Beside the decisions, a mark stores its phase in the slot of its request and
 * appends to the event ring of its CPU; /dev/fail_injector maps both read-only
 * (layout in fail_injector.h).  holds.c keeps requests at a phase until racers
 * have arrived, calls.c times the racers, probes.c, sites.c and steals.c draw out what
 * has no mark.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/cpumask.h>
#include <linux/debugfs.h>
#include <linux/io.h>
#include <linux/log2.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/processor.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/timekeeping.h>
#include <linux/uaccess.h>

#include "aiotorture.h"
#include "at_decide.h"
#include "at_split.h"
#include "compat.h"

#define AT_DEVICE_DELAY_DRAWN_NS	(1 * NSEC_PER_MSEC)
#define AT_DELAY_MAX_NS			(10ULL * NSEC_PER_SEC)
#define AT_ERRNO_MAX			511	/* from 512 on they are the kernel's own */
#define AT_LOG_ENTRIES			1024	/* of each log */
#define AT_MAX_TASKS			64
#define AT_ANY_SLOT			(-1)
#define AT_ANY_CPU			(-1)

static unsigned int ring_entries = 1024;
module_param(ring_entries, uint, 0444);
MODULE_PARM_DESC(ring_entries, "events kept for each CPU, 64..65536 (rounded up to a power of two)");

/* A rule as debugfs shows it; changed under injector.lock. */
struct at_rule {
	unsigned int number;
	/*
	 * The kernel's attributes, and no call of should_fail(): that draws
	 * from a generator which takes no seed, and changes times and space as
	 * it goes, so that a firing could not be repeated.
	 */
	struct at_fault_attr attr;
	u32 probability_ppm;
	enum at_phase phase;
	enum at_action action;	/* AT_NONE: rule unused */
	u64 nth;
	u32 cookie;		/* 0: any */
	int slot;		/* AT_ANY_SLOT, or instead of cookie */
	u64 delay_ns;		/* 0: drawn (delay, late), the engine's choice (else) */
	int cpu;
	int err;		/* 0: at_default_errno() */
};

/* A rule of an arming. */
struct at_armed_rule {
	struct at_chance chance;
	u64 last;		/* event that uses up times; 0: count in spent */
	enum at_phase phase;
	enum at_action action;
	u32 cookie;
	int slot;
	u64 delay_ns;
	int cpu;
	int err;
	unsigned int verbose;
	bool task_filter;
	bool spins;		/* a delay that the mark itself waits out */
	atomic64_t tried;	/* events that matched: the count of at_decide.h */
	atomic64_t fired;
	atomic64_t shadowed;	/* would have fired, but a lower rule did */
	atomic64_t spent;
};

/* The rules as they stood when 1 was written to enable. */
struct at_arming {
	u64 seed;
	unsigned long rules_at[AT_NR_PHASES];	/* bit n: rule n */
	struct at_armed_rule rule[AT_NR_RULES];
};

struct at_firing {
	u64 sequence;		/* as in struct at_event */
	u64 time_ns;
	u64 count;
	u64 delay_ns;
	u32 cookie;
	u16 cpu;
	u8 rule;
	u8 phase;
	u8 action;
};

struct at_log {
	atomic64_t head;
	struct at_firing firing[AT_LOG_ENTRIES];
};

static struct {
	struct mutex lock;		/* rules, seed, clients, tasks, arming and disarming */
	struct list_head clients;
	struct at_rule rule[AT_NR_RULES];
	u64 seed;
	struct at_arming __rcu *live;	/* what marks read; NULL: disarmed */
	struct at_arming *shown;	/* the last arming, for its counts */
	pid_t tasks[AT_MAX_TASKS];	/* thread groups that task-filter lets pass */
	struct at_log log;		/* all firings */
	struct at_log losses;		/* those after which requests wait for their time-out */
	void *memory;			/* what /dev/fail_injector maps */
	struct at_header *header;
	struct dentry *dir;
} injector = {
	.lock = __MUTEX_INITIALIZER(injector.lock),
	.clients = LIST_HEAD_INIT(injector.clients),
	.seed = 1,
};

/* ---- marks: any context, no locks ---- */

/* No two marks of one racer of one request run at once: nobody else writes it. */
static void store_phase(enum at_racer racer, enum at_phase phase, u32 cookie)
{
	u64 *words = injector.memory;
	u64 *word = &words[AT_COOKIE_SLOT(cookie) * AT_NR_RACERS + racer];
	u32 steps = AT_WORD_STEPS(READ_ONCE(*word)) + 1;

	cookie &= (1U << AT_SEQUENCE_COOKIE_BITS) - 1;
	/* Pairs with the load-acquire of whoever waits for the phase. */
	smp_store_release(word, AT_WORD(steps, cookie, phase));
}

static void append_event(u64 now, enum at_racer racer, enum at_phase phase,
			 u32 cookie, enum at_action action, unsigned int rule)
{
	const struct at_header *header = injector.header;
	struct at_event *event;
	struct at_ring *ring;
	unsigned int cpu;
	u64 number;

	preempt_disable_notrace();
	cpu = raw_smp_processor_id();
	ring = injector.memory + header->rings_offset +
	       (size_t)cpu * header->ring_bytes;
	/* Atomic against interrupts and NMIs of this CPU; no other comes here. */
	number = atomic64_inc_return((atomic64_t *)&ring->head);
	event = (struct at_event *)(ring + 1) +
		((number - 1) & (header->ring_entries - 1));
	WRITE_ONCE(event->sequence, 0);
	/* Readers see that the entry is not whole before they see it change. */
	smp_wmb();
	event->time_ns = now;
	event->cookie = cookie;
	event->pid = in_task() ? current->pid : 0;
	event->cpu = cpu;
	event->racer = racer;
	event->phase = phase;
	event->action = action;
	event->rule = rule;
	/* Pairs with the load-acquire of readers: now it is whole. */
	smp_store_release(&event->sequence, number);
	preempt_enable_notrace();
}

static void log_to(struct at_log *log, u64 now, enum at_phase phase, u32 cookie,
		   const struct at_armed_rule *rule, unsigned int number,
		   u64 count, u64 delay_ns)
{
	u64 entry = atomic64_inc_return(&log->head);
	struct at_firing *firing = &log->firing[(entry - 1) % AT_LOG_ENTRIES];

	WRITE_ONCE(firing->sequence, 0);
	/* Pairs with smp_rmb() in log_show(). */
	smp_wmb();
	firing->time_ns = now;
	firing->count = count;
	firing->delay_ns = delay_ns;
	firing->cookie = cookie;
	firing->cpu = raw_smp_processor_id();
	firing->rule = number;
	firing->phase = phase;
	firing->action = rule->action;
	/* Pairs with smp_load_acquire() in log_show(). */
	smp_store_release(&firing->sequence, entry);
}

static void log_firing(u64 now, enum at_phase phase, u32 cookie,
		       const struct at_armed_rule *rule, unsigned int number,
		       u64 count, u64 delay_ns)
{
	const u32 losses = AT_BIT(AT_DROP) | AT_BIT(AT_STALL) | AT_BIT(AT_LATE) |
			   AT_BIT(AT_RESET) | AT_BIT(AT_REMOVE);

	log_to(&injector.log, now, phase, cookie, rule, number, count, delay_ns);
	if (losses & AT_BIT(rule->action))
		log_to(&injector.losses, now, phase, cookie, rule, number, count, delay_ns);
	if (!rule->verbose)
		return;
	pr_notice_ratelimited("rule %u: %s %s cookie 0x%x event %llu\n", number,
			      at_phase_name(phase), at_action_name(rule->action),
			      cookie, count);
	if (rule->verbose > 1)
		dump_stack();
}

static bool task_marked(void)
{
#ifdef CONFIG_FAULT_INJECTION
	return in_task() && current->make_it_fail;
#else
	unsigned int i;

	if (!in_task())
		return false;
	for (i = 0; i < AT_MAX_TASKS; i++)
		if (READ_ONCE(injector.tasks[i]) == current->tgid)
			return true;
	return false;
#endif
}

static bool rule_matches(const struct at_armed_rule *rule, u32 cookie,
			 const struct at_outcome *out)
{
	if (!out && !rule->spins)
		return false;
	if (rule->cookie && rule->cookie != cookie)
		return false;
	if (rule->slot != AT_ANY_SLOT &&
	    (!cookie || AT_COOKIE_SLOT(cookie) != rule->slot))
		return false;
	return !rule->task_filter || task_marked();
}

static bool rule_fires(struct at_armed_rule *rule, u64 seed,
		       unsigned int number, u64 count)
{
	if (!rule->chance.times ||
	    !at_would_fire(&rule->chance, seed, number, count))
		return false;
	if (rule->chance.times < 0)
		return true;
	if (rule->last)
		return count <= rule->last;
	return atomic64_inc_return(&rule->spent) <= rule->chance.times;
}

/* The rule's CPU, or another than this one, drawn. */
static int steer_cpu(const struct at_armed_rule *rule, u64 random)
{
	int here = raw_smp_processor_id();
	unsigned int others = num_online_cpus() - 1;
	int cpu;

	if (rule->cpu != AT_ANY_CPU && cpu_online(rule->cpu))
		return rule->cpu;
	if (!others)
		return here;
	others = at_reduce(random, others);
	for_each_online_cpu(cpu)
		if (cpu != here && !others--)
			return cpu;
	return here;
}

static u64 firing_delay_ns(const struct at_armed_rule *rule, u64 random)
{
	u32 bound = rule->spins ? AT_DRIVER_DELAY_MAX_NS : AT_DEVICE_DELAY_DRAWN_NS;

	if (rule->delay_ns ||
	    (rule->action != AT_DELAY && rule->action != AT_LATE))
		return rule->delay_ns;
	return 1 + at_reduce(random, bound);
}

/*
 * By the clock and not by udelay(), whose calibration is wrong by a multiple in
 * a guest that booted on a busy host.  Each turn takes more than 1 ns, which
 * bounds the wait where the clock stands still (suspend).  How long it was.
 */
static u64 wait_busily(s64 delay_ns)
{
	u64 start = ktime_get_mono_fast_ns();
	s64 waited_ns = 0;
	s64 turns;

	for (turns = 0; turns < delay_ns && waited_ns < delay_ns; turns++) {
		cpu_relax();
		waited_ns = ktime_get_mono_fast_ns() - start;
	}
	return max_t(s64, waited_ns, 0);
}

static u64 busy_wait(u64 delay_ns)
{
	return wait_busily(min_t(u64, delay_ns, AT_DRIVER_DELAY_MAX_NS));
}

static notrace noinline void return_at_once(void)
{
	barrier();
}
NOKPROBE_SYMBOL(return_at_once);

/* A probe at a function's entry returns to its caller, with @value: what the probe's handler returns. */
static int return_from_probed(struct pt_regs *regs, long value)
{
	regs_set_return_value(regs, value);
	instruction_pointer_set(regs, (unsigned long)return_at_once);
	return 1;
}
NOKPROBE_SYMBOL(return_from_probed);

/* With one, such a probe is not optimised, so that its handler may change where it returns to. */
static void after_probed(struct kprobe *probe, struct pt_regs *regs, unsigned long flags)
{
}
NOKPROBE_SYMBOL(after_probed);

#include "holds.c"
#include "calls.c"
#include "probes.c"
#include "placing.c"
#include "sites.c"
#include "steals.c"
#include "allocations.c"
#include "coherent.c"

static bool injector_mark(struct at_client *client, enum at_racer racer,
			  enum at_phase phase, u32 cookie, bool may_sleep,
			  struct at_outcome *out)
{
	u64 now = ktime_get_mono_fast_ns();
	struct at_hold *hold = NULL;
	struct at_try *try = NULL;
	enum at_action action = AT_NONE;
	unsigned int by = AT_RULE_NONE;
	struct at_arming *arming;
	bool answered = false;
	unsigned int number;
	u64 delayed_ns = 0;

	if (WARN_ON_ONCE(racer >= AT_NR_RACERS || phase >= AT_NR_PHASES))
		return false;

	feed_task();
	rcu_read_lock();
	arming = rcu_dereference(injector.live);
	if (!arming) {
		rcu_read_unlock();
		return false;
	}
	/* Before any fault: a racer may enter the window that a delay opens. */
	if (cookie) {
		store_phase(racer, phase, cookie);
		try = try_of(cookie);
		note_submitting(phase, try);
	}
	if (unlikely(try)) {
		pass_phase(try, phase, now);
		if (!at_phase_of_device(phase))
			hold = hold_at(try, phase);
	}

	for_each_set_bit(number, &arming->rules_at[phase], AT_NR_RULES) {
		struct at_armed_rule *rule = &arming->rule[number];
		u64 count, random, delay_ns;

		if (!rule_matches(rule, cookie, out))
			continue;
		if (rule->action == AT_NOMEM && !can_starve())
			continue;
		count = atomic64_inc_return(&rule->tried);
		if (!rule_fires(rule, arming->seed, number, count))
			continue;
		if (!rule->spins && answered) {
			atomic64_inc(&rule->shadowed);
			continue;
		}

		atomic64_inc(&rule->fired);
		random = at_draw_random(arming->seed, number, count);
		delay_ns = firing_delay_ns(rule, random);
		if (rule->action == AT_NOMEM) {
			starve_task(random);
		} else if (rule->spins) {
			delayed_ns += delay_ns;
		} else {
			out->action = rule->action;
			out->err = -rule->err;
			out->cpu = steer_cpu(rule, random);
			out->delay_ns = delay_ns;
			out->random = random;
			answered = true;
		}
		/* Of several, the event tells the one that the caller sees. */
		if (action == AT_NONE || !rule->spins) {
			action = rule->action;
			by = number;
		}
		log_firing(now, phase, cookie, rule, number, count, delay_ns);
	}
	append_event(now, racer, phase, cookie, action, by);
	rcu_read_unlock();

	/* The memory stays: the caller's module holds a reference on this one. */
	if (unlikely(hold))
		hold_here(try, hold, now, may_sleep);
	if (delayed_ns)
		delay_here(delayed_ns, may_sleep);
	return answered;
}

/* ---- clients ---- */

/**
 * fail_injector_attach() - make a module's marks known
 * @client: name and armed set; lives until fail_injector_detach()
 *
 * Marks are switched on at once when rules are enabled.  May sleep.
 *
 * Return: 0, or -EBUSY when @client is attached already.
 */
int fail_injector_attach(struct at_client *client)
{
	int ret = 0;

	mutex_lock(&injector.lock);
	if (client->put) {
		ret = -EBUSY;
	} else {
		client->mark = injector_mark;
		client->hold = injector_hold;
		client->threaded = injector_threaded;
		client->stall = injector_stall;
		client->put = fail_injector_detach;
		list_add_tail(&client->node, &injector.clients);
		own_devices(client->owner, NULL);
		if (rcu_access_pointer(injector.live))
			static_branch_enable(client->armed);
	}
	mutex_unlock(&injector.lock);
	return ret;
}
EXPORT_SYMBOL_GPL(fail_injector_attach);

/**
 * fail_injector_detach() - forget a module's marks
 * @client: as attached; none of its marks is under way or comes afterwards
 *
 * May sleep.
 */
void fail_injector_detach(struct at_client *client)
{
	mutex_lock(&injector.lock);
	static_branch_disable(client->armed);
	list_del(&client->node);
	own_devices(NULL, client->owner);
	client->put = NULL;
	mutex_unlock(&injector.lock);
}
EXPORT_SYMBOL_GPL(fail_injector_detach);

/* ---- arming: process context, injector.lock held ---- */

static void arm_rule(struct at_armed_rule *armed, const struct at_rule *rule,
		     u64 seed)
{
	const struct at_fault_attr *attr = &rule->attr;
	struct at_chance *chance = &armed->chance;

	if (rule->probability_ppm)
		chance->probability_ppm = rule->probability_ppm;
	else
		chance->probability_ppm =
			min(attr->probability, 100UL) * (AT_PPM / 100);
	chance->interval = min_t(unsigned long, attr->interval, U32_MAX);
	chance->space = max(atomic_read(&attr->space), 0);
	chance->times = max(atomic_read(&attr->times), AT_NO_LIMIT);
	chance->nth = rule->nth;
	if (chance->times > 0)
		armed->last = at_last_firing(chance, seed, rule->number);

	armed->phase = rule->phase;
	armed->action = rule->action;
	armed->cookie = rule->cookie;
	armed->slot = rule->slot;
	armed->delay_ns = rule->delay_ns;
	armed->cpu = rule->cpu;
	armed->err = rule->err ?: at_default_errno(rule->phase);
	armed->verbose = attr->verbose;
	armed->task_filter = attr->task_filter;
	armed->spins = rule->action == AT_NOMEM ||
		       (rule->action == AT_DELAY && !at_phase_of_device(rule->phase));
	if (rule->action == AT_NOMEM)
		place_failslab_probe();
}

/* Marks see @arming, and none uses what they saw before. */
static void replace_live(struct at_arming *arming)
{
	if (!rcu_access_pointer(injector.live)) {
		rcu_assign_pointer(injector.live, arming);
		return;
	}
	rcu_assign_pointer(injector.live, arming);
	synchronize_rcu();
}

static int arm(void)
{
	struct at_arming *arming = kzalloc(sizeof(*arming), GFP_KERNEL);
	struct at_client *client;
	unsigned int i;

	if (!arming)
		return -ENOMEM;
	arming->seed = injector.seed;
	for (i = 0; i < AT_NR_RULES; i++) {
		const struct at_rule *rule = &injector.rule[i];

		if (rule->action == AT_NONE)
			continue;
		arm_rule(&arming->rule[i], rule, arming->seed);
		__set_bit(i, &arming->rules_at[rule->phase]);
	}
	replace_live(arming);
	kfree(injector.shown);
	injector.shown = arming;
	list_for_each_entry(client, &injector.clients, node)
		static_branch_enable(client->armed);
	return 0;
}

/*
 * When it returns, no mark is under way but for the wait of a delay, or of a
 * hold, which sees that nothing is live and ends.
 */
static void disarm(void)
{
	struct at_client *client;

	list_for_each_entry(client, &injector.clients, node)
		static_branch_disable(client->armed);
	replace_live(NULL);
}

static void reset_rule(struct at_rule *rule)
{
	struct at_fault_attr *attr = &rule->attr;

	attr->probability = 0;
	attr->interval = 1;
	atomic_set(&attr->times, AT_NO_LIMIT);
	atomic_set(&attr->space, 0);
	attr->verbose = 0;
	attr->task_filter = false;
	rule->probability_ppm = 0;
	rule->phase = AT_SUBMIT;
	rule->action = AT_NONE;
	rule->nth = 0;
	rule->cookie = 0;
	rule->slot = AT_ANY_SLOT;
	rule->delay_ns = 0;
	rule->cpu = AT_ANY_CPU;
	rule->err = 0;
}

/* Back to what a fresh load has, but for the seed and the event rings, and the probes where asked. */
static void forget(bool probes_too)
{
	unsigned int i;

	disarm();
	for (i = 0; i < AT_NR_RULES; i++)
		reset_rule(&injector.rule[i]);
	kfree(injector.shown);
	injector.shown = NULL;
	memset(injector.tasks, 0, sizeof(injector.tasks));
	memset(&injector.log, 0, sizeof(injector.log));
	memset(&injector.losses, 0, sizeof(injector.losses));
	/* A phase of an earlier run must not be taken for one of the next. */
	memset(injector.memory, 0, AT_SLOTS_BYTES);
	memset(holds(), 0, injector.header->holds_bytes);
	if (probes_too) {
		remove_call_probes(true);
		remove_probes(true);
	}
	forget_passages();
	remove_sites();
	end_steals();
	WRITE_ONCE(site_ppm, 0);
	WRITE_ONCE(site_long_ppm, AT_SITE_LONG_PPM);
}

/* ---- debugfs: the files of a rule ---- */

static ssize_t rule_write(struct file *file, const char __user *from, size_t len,
			  int (*store)(struct at_rule *rule, char *text))
{
	struct at_rule *rule = ((struct seq_file *)file->private_data)->private;
	char text[32];
	int ret;

	if (len >= sizeof(text))
		return -EINVAL;
	if (copy_from_user(text, from, len))
		return -EFAULT;
	text[len] = '\0';
	mutex_lock(&injector.lock);
	ret = store(rule, strim(text));
	mutex_unlock(&injector.lock);
	return ret ?: len;
}

#define AT_RULE_FILE(name)						\
	static int name##_open(struct inode *inode, struct file *file)	\
	{								\
		return single_open(file, name##_show, inode->i_private); \
	}								\
									\
	static ssize_t name##_write(struct file *file,			\
				    const char __user *from,		\
				    size_t len, loff_t *pos)		\
	{								\
		return rule_write(file, from, len, name##_store);	\
	}								\
									\
	static const struct file_operations name##_fops = {		\
		.owner = THIS_MODULE,					\
		.open = name##_open,					\
		.read = seq_read,					\
		.write = name##_write,					\
		.llseek = seq_lseek,					\
		.release = single_release,				\
	}

/* A whole number: @get reads it off rule, @set takes it from value. */
#define AT_RULE_NUMBER(name, get, set, low, high)			\
	static int name##_show(struct seq_file *seq, void *unused)	\
	{								\
		const struct at_rule *rule = seq->private;		\
									\
		seq_printf(seq, "%lld\n", (long long)(get));		\
		return 0;						\
	}								\
									\
	static int name##_store(struct at_rule *rule, char *text)	\
	{								\
		long long value;					\
		int ret = kstrtoll(text, 0, &value);			\
									\
		if (ret)						\
			return ret;					\
		if (value < (long long)(low) || value > (long long)(high)) \
			return -EINVAL;					\
		set;							\
		return 0;						\
	}								\
									\
	AT_RULE_FILE(name)

AT_RULE_NUMBER(probability, rule->attr.probability,
	       rule->attr.probability = value, 0, 100);
AT_RULE_NUMBER(interval, rule->attr.interval,
	       rule->attr.interval = value, 0, U32_MAX);
/* As the kernel's file on kernels without negative input: 2^32 - 1 is -1. */
AT_RULE_NUMBER(times, atomic_read(&rule->attr.times),
	       atomic_set(&rule->attr.times, (int)value), -1, U32_MAX);
AT_RULE_NUMBER(space, atomic_read(&rule->attr.space),
	       atomic_set(&rule->attr.space, (int)value), 0, INT_MAX);
AT_RULE_NUMBER(verbose, rule->attr.verbose, rule->attr.verbose = value, 0, 2);
AT_RULE_NUMBER(probability_ppm, rule->probability_ppm,
	       rule->probability_ppm = value, 0, AT_PPM);
AT_RULE_NUMBER(nth, rule->nth, rule->nth = value, 0, S64_MAX);
AT_RULE_NUMBER(delay_ns, rule->delay_ns, rule->delay_ns = value, 0,
	       AT_DELAY_MAX_NS);
AT_RULE_NUMBER(cpu, rule->cpu, rule->cpu = value, AT_ANY_CPU,
	       (int)nr_cpu_ids - 1);
AT_RULE_NUMBER(err, rule->err, rule->err = value, 0, AT_ERRNO_MAX);

static int task_filter_show(struct seq_file *seq, void *unused)
{
	const struct at_rule *rule = seq->private;

	seq_puts(seq, rule->attr.task_filter ? "Y\n" : "N\n");
	return 0;
}

static int task_filter_store(struct at_rule *rule, char *text)
{
	return kstrtobool(text, &rule->attr.task_filter);
}

AT_RULE_FILE(task_filter);

static int phase_show(struct seq_file *seq, void *unused)
{
	const struct at_rule *rule = seq->private;

	seq_printf(seq, "%s\n", at_phase_name(rule->phase));
	return 0;
}

static int phase_store(struct at_rule *rule, char *text)
{
	enum at_phase phase;

	for (phase = 0; phase < AT_NR_PHASES; phase++)
		if (!strcmp(text, at_phase_name(phase)))
			break;
	if (phase == AT_NR_PHASES)
		return -EINVAL;
	rule->phase = phase;
	if (!at_action_means(phase, rule->action))
		rule->action = AT_NONE;
	return 0;
}

AT_RULE_FILE(phase);

static int action_show(struct seq_file *seq, void *unused)
{
	const struct at_rule *rule = seq->private;

	seq_printf(seq, "%s\n", at_action_name(rule->action));
	return 0;
}

static int action_store(struct at_rule *rule, char *text)
{
	enum at_action action;

	for (action = 0; action < AT_NR_ACTIONS; action++)
		if (!strcmp(text, at_action_name(action)))
			break;
	if (action == AT_NR_ACTIONS)
		return -EINVAL;
	if (action != AT_NONE && !at_action_means(rule->phase, action))
		return -EINVAL;
	rule->action = action;
	return 0;
}

AT_RULE_FILE(action);

static int cookie_show(struct seq_file *seq, void *unused)
{
	const struct at_rule *rule = seq->private;

	if (rule->slot != AT_ANY_SLOT)
		seq_printf(seq, "slot:%d\n", rule->slot);
	else
		seq_printf(seq, "%#x\n", rule->cookie);
	return 0;
}

static int cookie_store(struct at_rule *rule, char *text)
{
	bool by_slot = !strncmp(text, "slot:", 5);
	u32 value;
	int ret;

	ret = kstrtou32(by_slot ? text + 5 : text, 0, &value);
	if (ret)
		return ret;
	if (value >= (by_slot ? AT_NR_SLOTS : 1U << AT_COOKIE_BITS))
		return -EINVAL;
	rule->slot = by_slot ? value : AT_ANY_SLOT;
	rule->cookie = by_slot ? 0 : value;
	return 0;
}

AT_RULE_FILE(cookie);

#define AT_RULE_COUNT(name)						\
	static int name##_show(struct seq_file *seq, void *unused)	\
	{								\
		const struct at_rule *rule = seq->private;		\
		s64 count = 0;						\
									\
		mutex_lock(&injector.lock);				\
		if (injector.shown)					\
			count = atomic64_read(				\
				&injector.shown->rule[rule->number].name); \
		mutex_unlock(&injector.lock);				\
		seq_printf(seq, "%lld\n", count);			\
		return 0;						\
	}								\
									\
	DEFINE_SHOW_ATTRIBUTE(name)

AT_RULE_COUNT(tried);
AT_RULE_COUNT(fired);
AT_RULE_COUNT(shadowed);

static void create_rule_files(struct at_rule *rule)
{
	struct dentry *dir;
	char name[16];

	snprintf(name, sizeof(name), "rule%u", rule->number);
	if (!at_fault_attr_files(name, injector.dir, &rule->attr, &dir)) {
		dir = debugfs_create_dir(name, injector.dir);
		debugfs_create_file("probability", 0600, dir, rule, &probability_fops);
		debugfs_create_file("interval", 0600, dir, rule, &interval_fops);
		debugfs_create_file("times", 0600, dir, rule, &times_fops);
		debugfs_create_file("space", 0600, dir, rule, &space_fops);
		debugfs_create_file("verbose", 0600, dir, rule, &verbose_fops);
		debugfs_create_file("task-filter", 0600, dir, rule, &task_filter_fops);
	}
	debugfs_create_file("probability_ppm", 0600, dir, rule, &probability_ppm_fops);
	debugfs_create_file("phase", 0600, dir, rule, &phase_fops);
	debugfs_create_file("action", 0600, dir, rule, &action_fops);
	debugfs_create_file("nth", 0600, dir, rule, &nth_fops);
	debugfs_create_file("cookie", 0600, dir, rule, &cookie_fops);
	debugfs_create_file("delay_ns", 0600, dir, rule, &delay_ns_fops);
	debugfs_create_file("cpu", 0600, dir, rule, &cpu_fops);
	debugfs_create_file("err", 0600, dir, rule, &err_fops);
	debugfs_create_file("tried", 0400, dir, rule, &tried_fops);
	debugfs_create_file("fired", 0400, dir, rule, &fired_fops);
	debugfs_create_file("shadowed", 0400, dir, rule, &shadowed_fops);
}

/* ---- debugfs: the files beside the rules ---- */

static int seed_get(void *unused, u64 *value)
{
	mutex_lock(&injector.lock);
	*value = injector.seed;
	mutex_unlock(&injector.lock);
	return 0;
}

static int seed_set(void *unused, u64 value)
{
	mutex_lock(&injector.lock);
	injector.seed = value;
	mutex_unlock(&injector.lock);
	return 0;
}

DEFINE_DEBUGFS_ATTRIBUTE(seed_fops, seed_get, seed_set, "%llu\n");

static int enable_get(void *unused, u64 *value)
{
	*value = rcu_access_pointer(injector.live) ? 1 : 0;
	return 0;
}

static int enable_set(void *unused, u64 value)
{
	int ret = 0;

	if (value > 1)
		return -EINVAL;
	mutex_lock(&injector.lock);
	if (value)
		ret = arm();
	else
		disarm();
	mutex_unlock(&injector.lock);
	return ret;
}

DEFINE_DEBUGFS_ATTRIBUTE(enable_fops, enable_get, enable_set, "%llu\n");

static int clear_set(void *unused, u64 value)
{
	if (value != 1 && value != 2)
		return -EINVAL;
	mutex_lock(&injector.lock);
	forget(value == 1);
	mutex_unlock(&injector.lock);
	return 0;
}

DEFINE_DEBUGFS_ATTRIBUTE(clear_fops, NULL, clear_set, "%llu\n");

static int make_it_fail_show(struct seq_file *seq, void *unused)
{
	unsigned int i;

	for (i = 0; i < AT_MAX_TASKS; i++)
		if (injector.tasks[i])
			seq_printf(seq, "%d\n", injector.tasks[i]);
	return 0;
}

/* /proc/PID/make-it-fail for kernels without it: a PID a write, 0 forgets all. */
static ssize_t make_it_fail_write(struct file *file, const char __user *from,
				  size_t len, loff_t *pos)
{
	unsigned int i;
	int pid, ret;

	ret = kstrtoint_from_user(from, len, 0, &pid);
	if (ret)
		return ret;
	if (pid < 0)
		return -EINVAL;
	ret = pid ? -ENOSPC : 0;
	mutex_lock(&injector.lock);
	if (!pid)
		memset(injector.tasks, 0, sizeof(injector.tasks));
	for (i = 0; pid && i < AT_MAX_TASKS; i++) {
		if (injector.tasks[i] && injector.tasks[i] != pid)
			continue;
		WRITE_ONCE(injector.tasks[i], pid);
		ret = 0;
		break;
	}
	mutex_unlock(&injector.lock);
	return ret ?: len;
}

static int make_it_fail_open(struct inode *inode, struct file *file)
{
	return single_open(file, make_it_fail_show, NULL);
}

static const struct file_operations make_it_fail_fops = {
	.owner = THIS_MODULE,
	.open = make_it_fail_open,
	.read = seq_read,
	.write = make_it_fail_write,
	.llseek = seq_lseek,
	.release = single_release,
};

static void show_counts(struct seq_file *seq, unsigned int number)
{
	const struct at_rule *rule = &injector.rule[number];
	const struct at_armed_rule *armed;

	if (!injector.shown) {
		if (rule->action != AT_NONE)
			seq_printf(seq, "rule=%u phase=%s action=%s tried=0 fired=0\n",
				   number, at_phase_name(rule->phase),
				   at_action_name(rule->action));
		return;
	}
	armed = &injector.shown->rule[number];
	if (armed->action != AT_NONE)
		seq_printf(seq, "rule=%u phase=%s action=%s tried=%lld fired=%lld\n",
			   number, at_phase_name(armed->phase),
			   at_action_name(armed->action),
			   (long long)atomic64_read(&armed->tried),
			   (long long)atomic64_read(&armed->fired));
}

static int counters_show(struct seq_file *seq, void *unused)
{
	unsigned int i;

	mutex_lock(&injector.lock);
	for (i = 0; i < AT_NR_RULES; i++)
		show_counts(seq, i);
	mutex_unlock(&injector.lock);
	return 0;
}

DEFINE_SHOW_ATTRIBUTE(counters);

static int log_show(struct seq_file *seq, void *unused)
{
	const struct at_log *log = seq->private;
	u64 head = atomic64_read(&log->head);
	u64 entry = head > AT_LOG_ENTRIES ? head - AT_LOG_ENTRIES : 0;

	while (entry++ < head) {
		const struct at_firing *from =
			&log->firing[(entry - 1) % AT_LOG_ENTRIES];
		struct at_firing firing;

		/* Pairs with smp_store_release() in log_firing(). */
		if (smp_load_acquire(&from->sequence) != entry)
			continue;
		firing = *from;
		/* The copy before the second look; pairs with smp_wmb(). */
		smp_rmb();
		if (READ_ONCE(from->sequence) != entry)
			continue;
		seq_printf(seq,
			   "time_ns=%llu cpu=%u rule=%u phase=%s action=%s cookie=%#x event=%llu delay_ns=%llu\n",
			   firing.time_ns, firing.cpu, firing.rule,
			   at_phase_name(firing.phase),
			   at_action_name(firing.action), firing.cookie,
			   firing.count, firing.delay_ns);
	}
	return 0;
}

DEFINE_SHOW_ATTRIBUTE(log);

static void create_files(void)
{
	unsigned int i;

	injector.dir = debugfs_create_dir("fail_injector", NULL);
	debugfs_create_file("seed", 0600, injector.dir, NULL, &seed_fops);
	debugfs_create_file("enable", 0600, injector.dir, NULL, &enable_fops);
	debugfs_create_file("clear", 0200, injector.dir, NULL, &clear_fops);
	debugfs_create_file("counters", 0400, injector.dir, NULL, &counters_fops);
	debugfs_create_file("log", 0400, injector.dir, &injector.log, &log_fops);
	debugfs_create_file("losses", 0400, injector.dir, &injector.losses, &log_fops);
	debugfs_create_file("calls", 0600, injector.dir, NULL, &calls_fops);
	debugfs_create_file("probes", 0600, injector.dir, NULL, &probes_fops);
	debugfs_create_file("fail-nth", 0600, injector.dir, NULL, &fail_nth_fops);
	debugfs_create_file("sites", 0600, injector.dir, NULL, &sites_fops);
	debugfs_create_file("steals", 0600, injector.dir, NULL, &steals_fops);
	debugfs_create_file("dma-coherent", 0400, injector.dir, NULL, &coherent_fops);
	debugfs_create_u32("site_ppm", 0600, injector.dir, &site_ppm);
	debugfs_create_u32("site_long_ppm", 0600, injector.dir, &site_long_ppm);
	if (!IS_ENABLED(CONFIG_FAULT_INJECTION))
		debugfs_create_file("make-it-fail", 0600, injector.dir, NULL,
				    &make_it_fail_fops);
	for (i = 0; i < AT_NR_RULES; i++)
		create_rule_files(&injector.rule[i]);
}

/* ---- /dev/fail_injector ---- */

static int injector_mmap(struct file *file, struct vm_area_struct *vma)
{
	unsigned long pages = PAGE_ALIGN(injector.header->total_bytes) >> PAGE_SHIFT;
	bool writable = vma->vm_pgoff >= injector.header->holds_offset >> PAGE_SHIFT;
	unsigned long i;

	if (vma->vm_flags & VM_WRITE && !(writable && vma->vm_flags & VM_SHARED))
		return -EPERM;
	if (vma->vm_pgoff >= pages || vma_pages(vma) > pages - vma->vm_pgoff)
		return -EINVAL;
	at_vm_flags_change(vma, VM_DONTEXPAND | VM_DONTDUMP, writable ? 0 : VM_MAYWRITE);
	for (i = 0; i < vma_pages(vma); i++) {
		void *page = injector.memory + ((vma->vm_pgoff + i) << PAGE_SHIFT);
		int ret = vm_insert_page(vma, vma->vm_start + (i << PAGE_SHIFT),
					 virt_to_page(page));

		if (ret)
			return ret;
	}
	return 0;
}

static ssize_t injector_read(struct file *file, char __user *to, size_t len,
			     loff_t *pos)
{
	return simple_read_from_buffer(to, len, pos, injector.memory,
				       injector.header->total_bytes);
}

static const struct file_operations injector_fops = {
	.owner = THIS_MODULE,
	.mmap = injector_mmap,
	.read = injector_read,
	.llseek = default_llseek,
};

static struct miscdevice injector_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "fail_injector",
	.fops = &injector_fops,
	.mode = 0644,
};

/*
 * One physically contiguous range, so that one address is enough for a host to
 * read it out of a guest that no longer answers; shorter rings where memory is
 * in pieces or CPUs are many.
 */
static int allocate_memory(void)
{
	u32 entries = roundup_pow_of_two(clamp(ring_entries, 64U, 65536U));
	struct at_header *header;
	size_t rings, ring, holds_at, total;

	rings = AT_HEADER_OFFSET + max_t(size_t, AT_HEADER_BYTES, PAGE_SIZE);
	for (;; entries /= 2) {
		if (entries < 64)
			return -ENOMEM;
		ring = sizeof(struct at_ring) + entries * sizeof(struct at_event);
		ring = ALIGN(ring, SMP_CACHE_BYTES);
		holds_at = PAGE_ALIGN(rings + nr_cpu_ids * ring);
		total = holds_at + PAGE_ALIGN(sizeof(struct at_holds));
		injector.memory = alloc_pages_exact(total, GFP_KERNEL | __GFP_ZERO |
						    __GFP_NOWARN);
		if (injector.memory)
			break;
	}
	ring_entries = entries;
	header = injector.memory + AT_HEADER_OFFSET;
	header->magic = AT_MAGIC;
	header->version = AT_LAYOUT_VERSION;
	header->nr_slots = AT_NR_SLOTS;
	header->nr_racers = AT_NR_RACERS;
	header->nr_rings = nr_cpu_ids;
	header->ring_entries = entries;
	header->ring_bytes = ring;
	header->rings_offset = rings;
	header->holds_offset = holds_at;
	header->holds_bytes = total - holds_at;
	header->total_bytes = total;
	header->physical = virt_to_phys(injector.memory);
	injector.header = header;
	return 0;
}

static int __init injector_init(void)
{
	unsigned int i;
	int ret;

	BUILD_BUG_ON(sizeof(struct at_header) > AT_HEADER_BYTES);
	BUILD_BUG_ON(sizeof(struct at_event) != 32 || sizeof(struct at_ring) != 32);
	BUILD_BUG_ON(AT_COOKIE_BITS > AT_SEQUENCE_COOKIE_BITS);
	BUILD_BUG_ON(sizeof(struct at_try) != 256 || sizeof(struct at_call) != 64);

	ret = allocate_memory();
	if (ret)
		return ret;
	for (i = 0; i < AT_NR_RULES; i++) {
		injector.rule[i].number = i;
		at_fault_attr_init(&injector.rule[i].attr);
		reset_rule(&injector.rule[i]);
	}
	ret = misc_register(&injector_device);
	if (ret) {
		free_pages_exact(injector.memory, injector.header->total_bytes);
		return ret;
	}
	create_files();
	place_coherent_probes();
	begin_answers();
	pr_info("slots at physical 0x%llx, header +0x%x, %u rings of %u events +0x%llx, %llu bytes\n",
		injector.header->physical, AT_HEADER_OFFSET,
		injector.header->nr_rings, injector.header->ring_entries,
		injector.header->rings_offset, injector.header->total_bytes);
	return 0;
}

/* Clients hold references on this module, files and mappings too: none is left. */
static void __exit injector_exit(void)
{
	debugfs_remove_recursive(injector.dir);
	misc_deregister(&injector_device);
	remove_call_probes(true);
	remove_probes(true);
	remove_sites();
	end_steals();
	remove_failslab_probe();
	remove_coherent_probes();
	end_answers();
	replace_live(NULL);
	kfree(injector.shown);
	free_pages_exact(injector.memory, injector.header->total_bytes);
}

module_init(injector_init);
module_exit(injector_exit);

MODULE_DESCRIPTION("Seeded fault injection at the phases of asynchronous requests");
MODULE_LICENSE("GPL");
