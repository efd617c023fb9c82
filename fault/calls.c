// SPDX-License-Identifier: GPL-2.0
/*
 * When a racer's system call began and ended, by the kernel's clock
 *
 * A return probe on each system call that is written to the file `calls`.  A
 * thread that is about to race leaves its id in struct at_call (fail_injector.h),
 * at the index that its id gives, so that the probe of any other thread's call
 * costs one look.  What could not be placed is told when the file is read.
 */
#include <linux/kprobes.h>

#define AT_CALL_PROBES		12
#define AT_CALL_NAME		32
#define AT_CALLS_AT_ONCE	128	/* io_destroy() and io_getevents() sleep inside */

struct at_call_probe {
	char name[AT_CALL_NAME];
	char symbol[AT_CALL_NAME + 16];
	struct kretprobe probe;
	int error;		/* 0: placed */
	bool named;		/* by the last write */
};

static struct at_call_probe *call_probes[AT_CALL_PROBES];	/* under injector.lock */

static struct at_call *expected_call(void)
{
	struct at_call *call = &holds()->calls[current->pid % AT_NR_CALLS];

	return READ_ONCE(call->tid) == current->pid ? call : NULL;
}

static void call_arrives(const struct at_call *call, u64 now)
{
	u32 index = READ_ONCE(call->try_index);
	struct at_try *try;

	if (index >= AT_NR_TRIES)
		return;
	try = &holds()->tries[index];
	if (READ_ONCE(try->number) == READ_ONCE(call->try_number))
		arrive(try, now);
}

/* Another answer than 0: the call's return is not waited for. */
static int call_enters(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	struct at_call *call = expected_call();
	u64 now;

	if (!call || READ_ONCE(call->enter_ns))
		return 1;
	now = ktime_get_mono_fast_ns();
	/* The request goes on first: a delay that user space took would not be kept. */
	if (READ_ONCE(call->arrives) == AT_ARRIVES_BEFORE_ENTRY) {
		call_arrives(call, now);
		busy_wait(min_t(u64, READ_ONCE(call->delay_ns), AT_HOLD_SPIN_MAX_NS));
		now = ktime_get_mono_fast_ns();
	}
	WRITE_ONCE(call->enter_ns, now);
	if (READ_ONCE(call->arrives) == AT_ARRIVES_AT_ENTRY)
		call_arrives(call, now);
	return 0;
}
NOKPROBE_SYMBOL(call_enters);

static int call_returns(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	struct at_call *call = expected_call();
	u64 now;

	if (!call)
		return 0;
	now = ktime_get_mono_fast_ns();
	WRITE_ONCE(call->exit_ns, now);
	if (READ_ONCE(call->arrives) == AT_ARRIVES_AT_RETURN)
		call_arrives(call, now);
	return 0;
}
NOKPROBE_SYMBOL(call_returns);

/* A system call's function has the architecture in its name. */
static const char * const call_symbols[] = {
	"__x64_sys_%s", "__arm64_sys_%s", "__riscv_sys_%s", "__s390x_sys_%s", "__se_sys_%s", "sys_%s",
};

static void place_call_probe(struct at_call_probe *call)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(call_symbols); i++) {
		snprintf(call->symbol, sizeof(call->symbol), call_symbols[i], call->name);
		memset(&call->probe, 0, sizeof(call->probe));
		call->probe.kp.symbol_name = call->symbol;
		call->probe.entry_handler = call_enters;
		call->probe.handler = call_returns;
		call->probe.maxactive = AT_CALLS_AT_ONCE;
		call->error = register_kretprobe(&call->probe);
		if (!call->error)
			return;
	}
	call->symbol[0] = '\0';
}

static int add_call_probe(const char *name)
{
	struct at_call_probe *call;
	unsigned int i;

	for (i = 0; i < AT_CALL_PROBES && call_probes[i]; i++) {
		if (strcmp(call_probes[i]->name, name))
			continue;
		call_probes[i]->named = true;
		return 0;
	}
	if (i == AT_CALL_PROBES)
		return -ENOSPC;
	if (strlen(name) >= AT_CALL_NAME)
		return -EINVAL;
	call = kzalloc(sizeof(*call), GFP_KERNEL);
	if (!call)
		return -ENOMEM;
	strscpy(call->name, name, sizeof(call->name));
	call->named = true;
	place_call_probe(call);
	call_probes[i] = call;
	return 0;
}

/* When it returns, no handler of those is under way: unregistering waits for them. */
static void remove_call_probes(bool named_too)
{
	unsigned int i, left = 0;

	for (i = 0; i < AT_CALL_PROBES && call_probes[i]; i++) {
		struct at_call_probe *call = call_probes[i];

		call_probes[i] = NULL;
		if (call->named && !named_too) {
			call_probes[left++] = call;
			continue;
		}
		if (!call->error)
			unregister_kretprobe(&call->probe);
		kfree(call);
	}
}

/* Until the next write, none is. */
static void unname_call_probes(void)
{
	unsigned int i;

	for (i = 0; i < AT_CALL_PROBES && call_probes[i]; i++)
		call_probes[i]->named = false;
}

static int calls_show(struct seq_file *seq, void *unused)
{
	unsigned int i;

	mutex_lock(&injector.lock);
	for (i = 0; i < AT_CALL_PROBES && call_probes[i]; i++) {
		const struct at_call_probe *call = call_probes[i];

		if (call->error)
			seq_printf(seq, "call=%s error=%d\n", call->name, -call->error);
		else
			seq_printf(seq, "call=%s symbol=%s missed=%d\n", call->name,
				   call->symbol, call->probe.nmissed);
	}
	mutex_unlock(&injector.lock);
	return 0;
}

static int calls_open(struct inode *inode, struct file *file)
{
	return single_open(file, calls_show, NULL);
}

/*
 * Names, with blanks between, in place of those that stand.  Where there is a
 * function that removes what was not named, what is named again stays as it is,
 * which spares a look-up and a grace period.
 */
static ssize_t write_names(const char __user *from, size_t len, void (*unname)(void),
			   int (*add)(const char *name), void (*remove)(bool named_too))
{
	char *names, *rest, *name;
	int ret = 0;

	if (len >= PAGE_SIZE)
		return -EINVAL;
	names = memdup_user_nul(from, len);
	if (IS_ERR(names))
		return PTR_ERR(names);
	rest = strim(names);
	mutex_lock(&injector.lock);
	unname();
	while (!ret && (name = strsep(&rest, " \n")))
		if (*name)
			ret = add(name);
	if (remove)
		remove(false);
	mutex_unlock(&injector.lock);
	kfree(names);
	return ret ?: len;
}

static ssize_t calls_write(struct file *file, const char __user *from, size_t len,
			   loff_t *pos)
{
	return write_names(from, len, unname_call_probes, add_call_probe, remove_call_probes);
}

static const struct file_operations calls_fops = {
	.owner = THIS_MODULE,
	.open = calls_open,
	.read = seq_read,
	.write = calls_write,
	.llseek = seq_lseek,
	.release = single_release,
};
