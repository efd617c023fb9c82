// SPDX-License-Identifier: GPL-2.0
/*
 * Windows without marks: functions of the kernel or of any module, drawn out
 *
 * A name, or name+offset, written to the file `probes` is probed by kprobe; a
 * name alone at its return.  While user space has asked for it (stretch_ppm in
 * struct at_holds), a seeded share of the passages waits there, busily, a drawn
 * time of at most stretch_ns: what lies behind it in the caller, and before the
 * next statement, becomes long enough to be entered.  A passage in the submitter
 * of a request with a try always waits.  No waiting while one CPU is online, and
 * none longer than 100 us.
 *
 * Registers are another place of that kind: a device that is slow to take a
 * write keeps the driver, and its locks, so long (at_stall in aiotorture.h).
 *
 * What could not be placed is told when the file is read: an inlined function
 * has no symbol, and some are refused by the kernel.
 */
#define AT_PROBES		12
#define AT_PROBE_NAME		64
#define AT_PROBE_RULE		(AT_NR_RULES + 1)	/* draws of its own */
#define AT_STALL_RULE		(AT_NR_RULES + 2)

struct at_probe {
	char name[AT_PROBE_NAME];
	struct kretprobe at_return;
	struct kprobe at_offset;
	bool returns;
	bool named;		/* by the last write */
	int error;		/* 0: placed */
	atomic64_t passed;
	atomic64_t stretched;
};

static struct at_probe *probes[AT_PROBES];	/* under injector.lock */
static atomic64_t stall_count;

/* The thread between its submit and queue marks, and its request's try. */
static struct {
	pid_t pid;
	u8 number;		/* of the record + 1 */
} submitting[AT_NR_CALLS];

static bool is_submitting_try(void)
{
	unsigned int at = current->pid % AT_NR_CALLS;

	return in_task() && READ_ONCE(submitting[at].pid) == current->pid &&
	       READ_ONCE(submitting[at].number);
}

static void note_submitting(enum at_phase phase, const struct at_try *try)
{
	unsigned int at = current->pid % AT_NR_CALLS;

	if (phase > AT_QUEUE || !in_task())
		return;
	WRITE_ONCE(submitting[at].pid, current->pid);
	WRITE_ONCE(submitting[at].number, try && phase != AT_QUEUE ? 1 : 0);
}

/* Whoever judges how long a request takes leaves it out. */
static void tell_stretched(u64 waited_ns)
{
	atomic64_add(waited_ns, (atomic64_t *)&holds()->stretched_ns);
}

/* Some of @count's passages, seeded; 0: none, else for so many ns. */
static u64 stretch_drawn_ns(unsigned int rule, u64 count, bool always)
{
	u32 ppm = min(READ_ONCE(holds()->stretch_ppm), AT_PPM);
	u32 bound = min_t(u32, READ_ONCE(holds()->stretch_ns), AT_HOLD_SPIN_MAX_NS);
	u64 random;

	if (!ppm || !bound || num_online_cpus() < 2)
		return 0;
	random = at_draw(READ_ONCE(injector.seed), rule, count);
	if (!always && at_reduce(random, AT_PPM) >= ppm)
		return 0;
	return 1 + at_reduce(at_mix64(random), bound);
}

static void stretch_passage(struct at_probe *probe)
{
	u64 count, delay_ns;

	if (!rcu_access_pointer(injector.live))
		return;
	count = atomic64_inc_return(&probe->passed);
	delay_ns = stretch_drawn_ns(AT_PROBE_RULE, count, is_submitting_try());
	if (!delay_ns)
		return;
	atomic64_inc(&probe->stretched);
	tell_stretched(busy_wait(delay_ns));
}

static int probe_returns(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	stretch_passage(*(struct at_probe **)instance->data);
	return 0;
}
NOKPROBE_SYMBOL(probe_returns);

static int probe_passes(struct kprobe *kprobe, struct pt_regs *regs)
{
	stretch_passage(container_of(kprobe, struct at_probe, at_offset));
	return 0;
}
NOKPROBE_SYMBOL(probe_passes);

static struct at_probe *probe_of(struct kretprobe_instance *instance);

static int probe_enters(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	struct at_probe *probe = probe_of(instance);

	if (!probe)
		return 1;
	*(struct at_probe **)instance->data = probe;
	return 0;
}
NOKPROBE_SYMBOL(probe_enters);

static struct at_probe *probe_of(struct kretprobe_instance *instance)
{
	struct kretprobe *kretprobe = at_kretprobe_of(instance);

	return kretprobe ? container_of(kretprobe, struct at_probe, at_return) : NULL;
}

static void place_probe(struct at_probe *probe)
{
	char *plus = strchr(probe->name, '+');
	unsigned int offset = 0;

	if (plus) {
		*plus = '\0';
		probe->error = kstrtouint(plus + 1, 0, &offset);
		probe->at_offset.symbol_name = probe->name;
		probe->at_offset.offset = offset;
		probe->at_offset.pre_handler = probe_passes;
		if (!probe->error)
			probe->error = register_kprobe(&probe->at_offset);
		return;
	}
	probe->returns = true;
	probe->at_return.kp.symbol_name = probe->name;
	probe->at_return.entry_handler = probe_enters;
	probe->at_return.handler = probe_returns;
	probe->at_return.data_size = sizeof(struct at_probe *);
	probe->at_return.maxactive = AT_CALLS_AT_ONCE;
	probe->error = register_kretprobe(&probe->at_return);
}

static int add_probe(const char *name)
{
	struct at_probe *probe;
	unsigned int i;

	for (i = 0; i < AT_PROBES && probes[i]; i++) {
		if (strcmp(probes[i]->name, name))
			continue;
		probes[i]->named = true;
		return 0;
	}
	if (i == AT_PROBES)
		return -ENOSPC;
	if (strlen(name) >= AT_PROBE_NAME)
		return -EINVAL;
	probe = kzalloc(sizeof(*probe), GFP_KERNEL);
	if (!probe)
		return -ENOMEM;
	strscpy(probe->name, name, sizeof(probe->name));
	probe->named = true;
	place_probe(probe);
	probes[i] = probe;
	return 0;
}

/* When it returns, no handler of those is under way. */
static void remove_probes(bool named_too)
{
	unsigned int i, left = 0;

	for (i = 0; i < AT_PROBES && probes[i]; i++) {
		struct at_probe *probe = probes[i];

		probes[i] = NULL;
		if (probe->named && !named_too) {
			probes[left++] = probe;
			continue;
		}
		if (!probe->error && probe->returns)
			unregister_kretprobe(&probe->at_return);
		else if (!probe->error)
			unregister_kprobe(&probe->at_offset);
		kfree(probe);
	}
}

static void unname_probes(void)
{
	unsigned int i;

	for (i = 0; i < AT_PROBES && probes[i]; i++)
		probes[i]->named = false;
}

/* What was counted, and who is between two marks; the probes stay. */
static void forget_passages(void)
{
	unsigned int i;

	for (i = 0; i < AT_PROBES && probes[i]; i++) {
		atomic64_set(&probes[i]->passed, 0);
		atomic64_set(&probes[i]->stretched, 0);
	}
	memset(submitting, 0, sizeof(submitting));
	atomic64_set(&stall_count, 0);
}

static int probes_show(struct seq_file *seq, void *unused)
{
	unsigned int i;

	mutex_lock(&injector.lock);
	for (i = 0; i < AT_PROBES && probes[i]; i++) {
		const struct at_probe *probe = probes[i];

		if (probe->error)
			seq_printf(seq, "probe=%s error=%d\n", probe->name, -probe->error);
		else
			seq_printf(seq, "probe=%s passed=%lld stretched=%lld\n", probe->name,
				   (long long)atomic64_read(&probe->passed),
				   (long long)atomic64_read(&probe->stretched));
	}
	seq_printf(seq, "registers passed=%lld\n", (long long)atomic64_read(&stall_count));
	mutex_unlock(&injector.lock);
	return 0;
}

static int probes_open(struct inode *inode, struct file *file)
{
	return single_open(file, probes_show, NULL);
}

static ssize_t probes_write(struct file *file, const char __user *from, size_t len,
			    loff_t *pos)
{
	return write_names(from, len, unname_probes, add_probe, remove_probes);
}

static const struct file_operations probes_fops = {
	.owner = THIS_MODULE,
	.open = probes_open,
	.read = seq_read,
	.write = probes_write,
	.llseek = seq_lseek,
	.release = single_release,
};

/* From an engine, before it takes a lock of its own: a register that is slow. */
static void injector_stall(struct at_client *client)
{
	u64 delay_ns;

	if (!rcu_access_pointer(injector.live) || !READ_ONCE(holds()->stretch_ppm))
		return;
	delay_ns = stretch_drawn_ns(AT_STALL_RULE, atomic64_inc_return(&stall_count), false);
	if (delay_ns)
		tell_stretched(busy_wait(delay_ns));
}
