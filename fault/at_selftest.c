// SPDX-License-Identifier: GPL-2.0
/*
 * A client without a device, to try decisions and contexts
 *
 * Writing "RACER PHASE COOKIE TIMES [task|sleeping|hardirq|softirq|all]" to
 * /sys/kernel/debug/at_selftest/mark runs that mark TIMES times; sleeping says that
 * it may sleep, all runs it on every CPU at once, in hard interrupt context.
 * Reading the file gives one line for each mark of the last write that returned true:
 * "event=N action=… err=… cpu=… delay_ns=… random=…", N from 1 (nothing for all).
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/completion.h>
#include <linux/debugfs.h>
#include <linux/interrupt.h>
#include <linux/jump_label.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/overflow.h>
#include <linux/seq_file.h>
#include <linux/smp.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>

#include "aiotorture.h"
#include "at_decide.h"

AT_DEFINE_MARKS("at_selftest");

#define MAX_ANSWERS	4096

struct answer {
	unsigned int event;
	struct at_outcome outcome;
};

struct order {
	unsigned int racer;
	unsigned int phase;
	unsigned int cookie;
	unsigned int events;
};

static DEFINE_MUTEX(lock);
static struct answer *answers;
static unsigned int nr_answers;
static struct order order;
static struct dentry *dir;
static DECLARE_COMPLETION(softirq_done);
static u32 uncounted;
static DEFINE_STATIC_KEY_FALSE(label);

/* An instruction with a name, that reads and writes what all CPUs share. */
static noinline void count_unlocked(void)
{
#ifdef CONFIG_X86_64
	asm volatile("at_selftest_increment: incl %0" : "+m" (uncounted));
#else
	uncounted++;
#endif
}

/* A jump label with a name, where no site may be. */
static noinline void pass_label(void)
{
#ifdef CONFIG_X86_64
	asm volatile("at_selftest_label:");
#endif
	if (static_branch_unlikely(&label))
		uncounted = 0;
}

static void run_marks(void *unused)
{
	unsigned int event;

	for (event = 1; event <= order.events; event++) {
		struct at_outcome outcome;

		if (!at_mark(order.racer, order.phase, order.cookie, &outcome))
			continue;
		if (nr_answers == MAX_ANSWERS)
			continue;
		answers[nr_answers].event = event;
		answers[nr_answers++].outcome = outcome;
	}
}

static void run_sleeping(void)
{
	struct at_outcome outcome;
	unsigned int event;

	for (event = 1; event <= order.events; event++)
		at_mark_may_sleep(order.racer, order.phase, order.cookie, &outcome);
}

static void run_unheard(void *unused)
{
	struct at_outcome outcome;
	unsigned int event;

	for (event = 1; event <= order.events; event++) {
		at_mark(order.racer, order.phase, order.cookie, &outcome);
		count_unlocked();
		pass_label();
	}
}

static void run_in_tasklet(struct tasklet_struct *unused)
{
	run_marks(NULL);
	complete(&softirq_done);
}

static DECLARE_TASKLET(softirq_marks, run_in_tasklet);

static int run_order(const char *context)
{
	nr_answers = 0;
	if (!strcmp(context, "task")) {
		run_marks(NULL);
	} else if (!strcmp(context, "sleeping")) {
		run_sleeping();
	} else if (!strcmp(context, "hardirq")) {
		/* Another CPU's function call interrupt, where there is one. */
		int cpu = cpumask_any_but(cpu_online_mask, raw_smp_processor_id());

		if (cpu >= (int)nr_cpu_ids)
			return -ENODEV;
		return smp_call_function_single(cpu, run_marks, NULL, 1);
	} else if (!strcmp(context, "unheard")) {
		run_unheard(NULL);
	} else if (!strcmp(context, "all")) {
		on_each_cpu(run_unheard, NULL, 1);
	} else if (!strcmp(context, "softirq")) {
		reinit_completion(&softirq_done);
		tasklet_schedule(&softirq_marks);
		wait_for_completion(&softirq_done);
	} else {
		return -EINVAL;
	}
	return 0;
}

static ssize_t mark_write(struct file *file, const char __user *from, size_t len,
			  loff_t *pos)
{
	char text[96], racer[12], phase[12], context[12] = "task";
	struct order wanted = { AT_NR_RACERS, AT_NR_PHASES };
	unsigned int i;
	int ret;

	if (len >= sizeof(text))
		return -EINVAL;
	if (copy_from_user(text, from, len))
		return -EFAULT;
	text[len] = '\0';
	if (sscanf(text, "%11s %11s %i %u %11s", racer, phase, &wanted.cookie,
		   &wanted.events, context) < 4)
		return -EINVAL;
	for (i = 0; i < AT_NR_RACERS; i++)
		if (!strcmp(racer, at_racer_name(i)))
			wanted.racer = i;
	for (i = 0; i < AT_NR_PHASES; i++)
		if (!strcmp(phase, at_phase_name(i)))
			wanted.phase = i;
	if (wanted.racer == AT_NR_RACERS || wanted.phase == AT_NR_PHASES ||
	    wanted.events > 1000000)
		return -EINVAL;

	mutex_lock(&lock);
	order = wanted;
	ret = run_order(context);
	mutex_unlock(&lock);
	return ret ?: len;
}

static int mark_show(struct seq_file *seq, void *unused)
{
	unsigned int i;

	mutex_lock(&lock);
	for (i = 0; i < nr_answers; i++) {
		const struct at_outcome *outcome = &answers[i].outcome;

		seq_printf(seq, "event=%u action=%s err=%d cpu=%d delay_ns=%llu random=%#llx\n",
			   answers[i].event, at_action_name(outcome->action),
			   outcome->err, outcome->cpu, outcome->delay_ns,
			   outcome->random);
	}
	mutex_unlock(&lock);
	return 0;
}

static int mark_open(struct inode *inode, struct file *file)
{
	return single_open(file, mark_show, NULL);
}

static const struct file_operations mark_fops = {
	.owner = THIS_MODULE,
	.open = mark_open,
	.read = seq_read,
	.write = mark_write,
	.llseek = seq_lseek,
	.release = single_release,
};

static int __init selftest_init(void)
{
	answers = vzalloc(array_size(MAX_ANSWERS, sizeof(*answers)));
	if (!answers)
		return -ENOMEM;
	at_marks_attach();
	dir = debugfs_create_dir("at_selftest", NULL);
	debugfs_create_file("mark", 0600, dir, NULL, &mark_fops);
	debugfs_create_u32("uncounted", 0600, dir, &uncounted);
	return 0;
}

static void __exit selftest_exit(void)
{
	debugfs_remove_recursive(dir);
	tasklet_kill(&softirq_marks);
	at_marks_detach();
	vfree(answers);
}

module_init(selftest_init);
module_exit(selftest_exit);

MODULE_DESCRIPTION("Marks without a device, for fail_injector's own test");
MODULE_LICENSE("GPL");
