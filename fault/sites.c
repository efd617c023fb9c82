// SPDX-License-Identifier: GPL-2.0
/*
 * Sites: any instruction of the driver under test, drawn out
 *
 *	racer A   ... statement 1 ==== waits ==== statement 2 ...
 *	racer B             ... comes in between ...
 *
 * symbol+offset, module:symbol+offset, or either with @ADDRESS behind it, which
 * spares the look-up, written to the file `sites` is probed there; what is
 * written takes the place of what stood.  While rules are armed, a seeded share
 * of the passages (site_ppm) waits before the instruction.  Lengths are drawn
 * evenly over their logarithm: a window of 2 us and one of 500 us are met alike.
 * Where the driver could not have been preempted a share (site_long_ppm) waits
 * longer than 100 us: as long as an SMI or the host of a virtual CPU may take it
 * away anywhere.  The only CPU does not wait: it is given to others.
 *
 * A site that is passed all the time must not eat the machine: it waits at most
 * for its share of the time, and all of them together for theirs.  What was
 * waited is told in struct at_holds, so that nobody takes it for the driver's.
 *
 * An instruction that changes memory waits in its middle half of the time
 * (at_split.h): between its read and its write.  What another CPU has written
 * meanwhile is overwritten, and counted as lost.
 */
#include <linux/irq_work.h>
#include <linux/math64.h>
#include <linux/preempt.h>
#include <linux/sched/task_stack.h>
#include <linux/uaccess.h>

#define AT_SITES		64
#define AT_SITE_SYMBOL		128
#define AT_SITE_RULE		(AT_NR_RULES + 3)	/* draws of its own; and those behind it */
#define AT_SITE_WAIT_MIN_NS	1024U
#define AT_SITE_DOUBLINGS	7	/* to 100 us */
#define AT_SITE_DOUBLINGS_LONG	10	/* to 1 ms, where that may be, … */
#define AT_SITE_LONG_PPM	31250U	/* … and of this share elsewhere, if nobody says otherwise */
#define AT_SITE_SHARE		32	/* of the time, for one */
#define AT_SITES_SHARE		6	/* for all */

struct at_site {
	char symbol[AT_SITE_SYMBOL];
	unsigned int offset;
	struct kprobe kprobe;
	unsigned int number;
	int error;		/* 0: placed */
	atomic64_t passed;
	atomic64_t stretched;
	atomic64_t waited_ns;
	atomic64_t parted;	/* of the stretched, those in the middle */
	atomic64_t lost;	/* of these, those in which another CPU wrote */
#ifdef CONFIG_X86_64
	struct at_split split;
	bool may_part;		/* split is whole, and there is one */
#endif
};

static struct at_site *sites[AT_SITES];	/* under injector.lock */
static unsigned int nr_sites;
static atomic_t sites_alive;		/* that were passed at all */
static u64 sites_since_ns;
static u32 site_ppm;
static u32 site_long_ppm = AT_SITE_LONG_PPM;

/*
 * Could the driver have been preempted here?  A probe comes by int3 as an NMI does
 * (kernel/entry/common.c, irqentry_nmi_enter()), or by ftrace, whose handler has
 * preemption off (kprobe_ftrace_handler()).
 */
static bool may_wait_long(struct pt_regs *regs)
{
	unsigned int count = preempt_count();

	if (!IS_ENABLED(CONFIG_PREEMPT_COUNT) || at_irqs_were_disabled(regs))
		return false;
	if (in_nmi())
		return count == NMI_OFFSET + HARDIRQ_OFFSET;
	return count == PREEMPT_OFFSET;
}

static u64 site_wait_ns(u64 random, bool is_long)
{
	unsigned int doublings = is_long ? AT_SITE_DOUBLINGS_LONG : AT_SITE_DOUBLINGS;
	u32 least = AT_SITE_WAIT_MIN_NS << at_reduce(random, doublings);
	u64 wait_ns = least + at_reduce(at_mix64(random), least);

	return is_long ? wait_ns : min_t(u64, wait_ns, AT_HOLD_SPIN_MAX_NS);
}

/*
 * Has it waited for its share already?  What is drawn is waited out even so: a
 * bound that cut or refused the long ones would leave the short ones alone.
 */
static bool has_waited_enough(struct at_site *site)
{
	u64 elapsed = ktime_get_mono_fast_ns() - READ_ONCE(sites_since_ns);
	u32 share = max_t(u32, AT_SITE_SHARE, AT_SITES_SHARE * atomic_read(&sites_alive));

	return atomic64_read(&site->waited_ns) > div_u64(elapsed, share);
}

static void wait_at(struct at_site *site, u64 wait_ns)
{
	u64 waited_ns = wait_busily(wait_ns);

	atomic64_inc(&site->stretched);
	atomic64_add(waited_ns, &site->waited_ns);
	tell_stretched(waited_ns);
}
NOKPROBE_SYMBOL(wait_at);

#ifdef CONFIG_X86_64
/* The bytes of a probed instruction: the first one is the probe's. */
static void learn_split(struct at_site *site)
{
	u8 code[AT_SPLIT_LONGEST];

	if (kprobe_ftrace(&site->kprobe) ||
	    copy_from_kernel_nofault(code, site->kprobe.addr, sizeof(code)))
		return;
	code[0] = site->kprobe.opcode;
	smp_store_release(&site->may_part, at_split_decode(code, &site->split));
}

static void write_memory(u64 address, u64 value, u8 width)
{
	switch (width) {
	case 1:
		asm volatile("movb %b1, %0" : "=m"(*(u8 *)address) : "q"(value));
		break;
	case 2:
		asm volatile("movw %w1, %0" : "=m"(*(u16 *)address) : "r"(value));
		break;
	case 4:
		asm volatile("movl %k1, %0" : "=m"(*(u32 *)address) : "r"(value));
		break;
	default:
		asm volatile("movq %1, %0" : "=m"(*(u64 *)address) : "r"(value));
	}
}
NOKPROBE_SYMBOL(write_memory);

/*
 * A task's own, which no other writes by such an instruction; but this handler may:
 * copy_from_kernel_nofault() counts in current->pagefault_disabled.
 */
static bool is_of_this_task(u64 address)
{
	unsigned long task = (unsigned long)current;

	return (address >= task && address < task + sizeof(*current)) ||
	       object_is_on_stack((void *)address);
}
NOKPROBE_SYMBOL(is_of_this_task);

/*
 * Does the instruction's work, with the wait inside.  False: it is none that can
 * be taken apart, its memory is nobody else's, or cannot be read; let it fault
 * itself.
 */
static bool wait_inside(struct at_site *site, struct pt_regs *regs, u64 wait_ns)
{
	const struct at_split *split = &site->split;
	const u64 registers[] = {
		regs->ax, regs->cx, regs->dx, regs->bx, regs->sp, regs->bp, regs->si, regs->di,
		regs->r8, regs->r9, regs->r10, regs->r11, regs->r12, regs->r13, regs->r14, regs->r15,
	};
	u64 next, address, value = 0, now = 0;

	if (!smp_load_acquire(&site->may_part))
		return false;
	next = (unsigned long)site->kprobe.addr + split->length;
	address = at_split_address(split, registers, next);
	if (is_of_this_task(address) ||
	    copy_from_kernel_nofault(&value, (void *)address, split->width))
		return false;
	wait_at(site, wait_ns);
	if (!copy_from_kernel_nofault(&now, (void *)address, split->width) && now != value)
		atomic64_inc(&site->lost);
	value = at_split_change(split, value, at_split_operand_value(split, registers), &regs->flags);
	write_memory(address, value, split->width);
	atomic64_inc(&site->parted);
	regs->ip = next;
	return true;
}
NOKPROBE_SYMBOL(wait_inside);
#else
static void learn_split(struct at_site *site)
{
}

static bool wait_inside(struct at_site *site, struct pt_regs *regs, u64 wait_ns)
{
	return false;
}
#endif

static void interrupted(struct irq_work *unused)
{
}

static DEFINE_IRQ_WORK(only_cpu_interrupt, interrupted);

/*
 * On the only CPU a wait lets nobody in; but the driver can be preempted here,
 * where the kernel preempts at all (CONFIG_PREEMPTION): by the interrupt that
 * comes now, if the scheduler has somebody else to run.
 */
static void give_way(struct at_site *site, struct pt_regs *regs)
{
	if (!may_wait_long(regs))
		return;
	atomic64_inc(&site->stretched);
	set_tsk_thread_flag(current, TIF_NEED_RESCHED);
	set_preempt_need_resched();
	irq_work_queue(&only_cpu_interrupt);
}
NOKPROBE_SYMBOL(give_way);

/* 1: the instruction's work is done (Documentation/trace/kprobes.rst, "Changing Execution Path"). */
static int site_passes(struct kprobe *kprobe, struct pt_regs *regs)
{
	struct at_site *site = container_of(kprobe, struct at_site, kprobe);
	u32 ppm = READ_ONCE(site_ppm);
	u64 count, random, wait_ns;
	bool is_long;

	if (!ppm || !rcu_access_pointer(injector.live))
		return 0;
	count = atomic64_inc_return(&site->passed);
	if (count == 1)
		atomic_inc(&sites_alive);
	random = at_draw(READ_ONCE(injector.seed), AT_SITE_RULE + site->number, count);
	if (at_reduce(random, AT_PPM) >= ppm || has_waited_enough(site))
		return 0;
	if (num_online_cpus() < 2) {
		give_way(site, regs);
		return 0;
	}
	is_long = may_wait_long(regs) ||
		  at_reduce(at_mix64(~random), AT_PPM) < READ_ONCE(site_long_ppm);
	random = at_mix64(random);
	wait_ns = site_wait_ns(random, is_long);
	if ((at_mix64(~random) & 1) && wait_inside(site, regs, wait_ns))
		return 1;
	wait_at(site, wait_ns);
	return 0;
}
NOKPROBE_SYMBOL(site_passes);

static int place_site(struct at_site *site, const char *name)
{
	const char *plus = strrchr(name, '+');
	char offset[16];
	const char *at;
	int ret;

	if (!plus || plus - name >= AT_SITE_SYMBOL)
		return -EINVAL;
	at = strchrnul(plus, '@');
	if (at - plus > sizeof(offset))
		return -EINVAL;
	strscpy(offset, plus + 1, at - plus);
	ret = kstrtouint(offset, 0, &site->offset);
	if (!ret && *at)
		ret = kstrtoul(at + 1, 0, (unsigned long *)&site->kprobe.addr);
	if (ret)
		return ret;
	memcpy(site->symbol, name, plus - name);
	if (!*at) {
		site->kprobe.symbol_name = site->symbol;
		site->kprobe.offset = site->offset;
	}
	site->kprobe.pre_handler = site_passes;
	site->error = register_site(&site->kprobe);
	if (!site->error)
		learn_split(site);
	return 0;
}

static int add_site(const char *name)
{
	struct at_site *site;
	int ret;

	if (nr_sites == AT_SITES)
		return -ENOSPC;
	site = kzalloc(sizeof(*site), GFP_KERNEL);
	if (!site)
		return -ENOMEM;
	site->number = nr_sites;
	ret = place_site(site, name);
	if (ret) {
		kfree(site);
		return ret;
	}
	sites[nr_sites] = site;
	nr_sites++;
	return 0;
}

/* All at once, so that one grace period is enough; then no handler is under way. */
static void remove_sites(void)
{
	struct kprobe *placed[AT_SITES];
	int count = 0;
	unsigned int i;

	for (i = 0; i < nr_sites; i++)
		if (!sites[i]->error)
			placed[count++] = &sites[i]->kprobe;
	if (count)
		unregister_kprobes(placed, count);
	for (i = 0; i < nr_sites; i++) {
		kfree(sites[i]);
		sites[i] = NULL;
	}
	nr_sites = 0;
	atomic_set(&sites_alive, 0);
	irq_work_sync(&only_cpu_interrupt);
}

static int sites_show(struct seq_file *seq, void *unused)
{
	unsigned int i;

	mutex_lock(&injector.lock);
	for (i = 0; i < nr_sites; i++) {
		struct at_site *site = sites[i];

		seq_printf(seq, "site=%s+%#x", site->symbol, site->offset);
		if (site->error)
			seq_printf(seq, " error=%d\n", -site->error);
		else
			seq_printf(seq, " passed=%lld stretched=%lld waited_us=%lld missed=%lu parted=%lld lost=%lld%s\n",
				   (long long)atomic64_read(&site->passed),
				   (long long)atomic64_read(&site->stretched),
				   (long long)div_u64(atomic64_read(&site->waited_ns),
						      NSEC_PER_USEC),
				   site->kprobe.nmissed,
				   (long long)atomic64_read(&site->parted),
				   (long long)atomic64_read(&site->lost),
				   kprobe_gone(&site->kprobe) ? " gone" : "");
	}
	mutex_unlock(&injector.lock);
	return 0;
}

static int sites_open(struct inode *inode, struct file *file)
{
	return single_open(file, sites_show, NULL);
}

static void begin_sites(void)
{
	remove_sites();
	WRITE_ONCE(sites_since_ns, ktime_get_mono_fast_ns());
}

/* None that is named again stays: each turn counts anew. */
static ssize_t sites_write(struct file *file, const char __user *from, size_t len,
			   loff_t *pos)
{
	return write_names(from, len, begin_sites, add_site, NULL);
}

static const struct file_operations sites_fops = {
	.owner = THIS_MODULE,
	.open = sites_open,
	.read = seq_read,
	.write = sites_write,
	.llseek = seq_lseek,
	.release = single_release,
};
