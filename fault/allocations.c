// SPDX-License-Identifier: GPL-2.0
/*
 * The next slab allocation of a task that has just passed a mark fails
 *
 * should_failslab() is asked before each of them (mm/slab.h,
 * slab_pre_alloc_hook()), in kernels without fault injection too, until 6.11
 * made it empty there.  A probe on it answers for the task.  What the task did
 * not allocate before its next mark it may allocate again.
 *
 * The file fail-nth is /proc/self/fail-nth of kernels with fault injection
 * (Documentation/fault-injection/fault-injection.rst) for slab allocations: N
 * written makes the writer's N-th from now on fail; read, it is 0 when that has
 * happened, and how many are left otherwise.
 */
#include <linux/debugfs.h>
#include <linux/gfp.h>
#include <linux/kprobes.h>

#define AT_STARVING	64	/* tasks at a time, by their id; the last one counts */
#define AT_STARVE_DEPTH	2	/* the first or the second allocation */

struct at_starving {
	pid_t tid;
	unsigned int left;
};

static struct at_starving starving[AT_STARVING];

static int refuse_allocation(struct kprobe *probe, struct pt_regs *regs)
{
	struct at_starving *task = &starving[current->pid % AT_STARVING];
	gfp_t gfp = regs_get_kernel_argument(regs, 1);

	if (READ_ONCE(task->tid) != current->pid || !in_task())
		return 0;
	if ((gfp & __GFP_NOFAIL) || !(gfp & __GFP_DIRECT_RECLAIM) || --task->left)
		return 0;
	WRITE_ONCE(task->tid, 0);
	return return_from_probed(regs, -ENOMEM);
}
NOKPROBE_SYMBOL(refuse_allocation);

static struct kprobe failslab_probe = {
	.symbol_name = "should_failslab",
	.pre_handler = refuse_allocation,
	.post_handler = after_probed,
};
static bool failslab_placed;	/* written under injector.lock */

/* Where it cannot be placed no rule of this action fires. */
static void place_failslab_probe(void)
{
	if (!failslab_placed && !register_kprobe(&failslab_probe))
		WRITE_ONCE(failslab_placed, true);
}

static void remove_failslab_probe(void)
{
	if (failslab_placed)
		unregister_kprobe(&failslab_probe);
	failslab_placed = false;
}

static bool can_starve(void)
{
	return READ_ONCE(failslab_placed) && in_task();
}

static void starve_task(u64 random)
{
	struct at_starving *task = &starving[current->pid % AT_STARVING];

	task->left = 1 + at_reduce(random, AT_STARVE_DEPTH);
	WRITE_ONCE(task->tid, current->pid);
}

static void feed_task(void)
{
	struct at_starving *task = &starving[current->pid % AT_STARVING];

	if (READ_ONCE(task->tid) == current->pid && in_task())
		WRITE_ONCE(task->tid, 0);
}

static int fail_nth_get(void *unused, u64 *value)
{
	struct at_starving *task = &starving[current->pid % AT_STARVING];

	*value = READ_ONCE(task->tid) == current->pid ? task->left : 0;
	feed_task();
	return 0;
}

static int fail_nth_set(void *unused, u64 value)
{
	struct at_starving *task = &starving[current->pid % AT_STARVING];

	if (!value || value > INT_MAX)
		return -EINVAL;
	mutex_lock(&injector.lock);
	place_failslab_probe();
	mutex_unlock(&injector.lock);
	if (!can_starve())
		return -EOPNOTSUPP;
	task->left = value;
	WRITE_ONCE(task->tid, current->pid);
	return 0;
}

DEFINE_DEBUGFS_ATTRIBUTE(fail_nth_fops, fail_nth_get, fail_nth_set, "%llu\n");
