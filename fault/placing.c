// SPDX-License-Identifier: GPL-2.0
/*
 * What register_kprobe() asks of a place, answered sooner while sites are placed
 *
 * Is a jump label there?  jump_label_text_reserved() (kernel/kprobes.c,
 * check_kprobe_address_safe()) goes through all of the kernel's, and on x86 since 5.14
 * takes each one's instruction apart to know its length (arch_jump_entry_size()).  The
 * kernel's labels lie in no module: for a place in a module that was loaded after this
 * one, those of that module are asked instead.  Near one of them, and of any other
 * place, the kernel's own answer stands.
 *
 * Can it be optimised?  arch_prepare_optimized_kprobe() takes the whole function apart.
 * A site never is (docs/windows.md).
 *
 * Under emulation these are nine tenths of what a site takes.  Where one of the two
 * functions cannot be probed, it answers as ever.
 */
#include <linux/jump_label.h>
#include <linux/module.h>

#if defined(CONFIG_X86_64) && defined(CONFIG_JUMP_LABEL)

#define AT_LABELLED	8	/* modules at a time; of others the kernel answers */
#define AT_LABEL_BYTES	5	/* at most, on x86 */

static struct module *labelled[AT_LABELLED];
static DEFINE_RAW_SPINLOCK(labelled_lock);
static struct task_struct *placer;	/* under injector.lock */

static bool is_placing(void)
{
	return READ_ONCE(placer) == current && in_task();
}
NOKPROBE_SYMBOL(is_placing);

static bool is_near_label(const struct module *module, unsigned long start, unsigned long end)
{
	unsigned int i;

	for (i = 0; i < module->num_jump_entries; i++) {
		unsigned long label = jump_entry_code(&module->jump_entries[i]);

		if (start < label + AT_LABEL_BYTES && end >= label)
			return true;
	}
	return false;
}
NOKPROBE_SYMBOL(is_near_label);

static bool is_away_from_labels(unsigned long start, unsigned long end)
{
	bool away = false;
	unsigned long flags;
	unsigned int i;

	raw_spin_lock_irqsave(&labelled_lock, flags);
	for (i = 0; i < AT_LABELLED && !away; i++)
		away = labelled[i] && within_module_core(start, labelled[i]) &&
		       !is_near_label(labelled[i], start, end);
	raw_spin_unlock_irqrestore(&labelled_lock, flags);
	return away;
}
NOKPROBE_SYMBOL(is_away_from_labels);

/* int jump_label_text_reserved(void *start, void *end) */
static int answer_labels(struct kprobe *probe, struct pt_regs *regs)
{
	if (!is_placing() || !is_away_from_labels(regs_get_kernel_argument(regs, 0),
						  regs_get_kernel_argument(regs, 1)))
		return 0;
	return return_from_probed(regs, 0);
}
NOKPROBE_SYMBOL(answer_labels);

static int refuse_optimisation(struct kprobe *probe, struct pt_regs *regs)
{
	return is_placing() ? return_from_probed(regs, -EILSEQ) : 0;
}
NOKPROBE_SYMBOL(refuse_optimisation);

static struct kprobe labels_probe = {
	.symbol_name = "jump_label_text_reserved",
	.pre_handler = answer_labels,
	.post_handler = after_probed,
};
static struct kprobe optimised_probe = {
	.symbol_name = "arch_prepare_optimized_kprobe",
	.pre_handler = refuse_optimisation,
	.post_handler = after_probed,
};
static bool labels_answered, optimisation_refused;

static int note_labels(struct notifier_block *block, unsigned long state, void *data)
{
	struct module *from = state == MODULE_STATE_COMING ? NULL : data;
	struct module *to = from ? NULL : data;
	unsigned long flags;
	unsigned int i;

	if (state != MODULE_STATE_COMING && state != MODULE_STATE_GOING)
		return NOTIFY_DONE;
	raw_spin_lock_irqsave(&labelled_lock, flags);
	for (i = 0; i < AT_LABELLED; i++) {
		if (labelled[i] != from)
			continue;
		labelled[i] = to;
		break;
	}
	raw_spin_unlock_irqrestore(&labelled_lock, flags);
	return NOTIFY_OK;
}

static struct notifier_block labels_notifier = { .notifier_call = note_labels };

static void __init begin_answers(void)
{
	optimisation_refused = !register_kprobe(&optimised_probe);
	if (register_module_notifier(&labels_notifier))
		return;
	labels_answered = !register_kprobe(&labels_probe);
	if (!labels_answered)
		unregister_module_notifier(&labels_notifier);
}

static void end_answers(void)
{
	if (labels_answered) {
		unregister_kprobe(&labels_probe);
		unregister_module_notifier(&labels_notifier);
	}
	if (optimisation_refused)
		unregister_kprobe(&optimised_probe);
}

static int register_site(struct kprobe *probe)
{
	int ret;

	WRITE_ONCE(placer, current);
	ret = register_kprobe(probe);
	WRITE_ONCE(placer, NULL);
	return ret;
}

#else

static void __init begin_answers(void)
{
}

static void end_answers(void)
{
}

static int register_site(struct kprobe *probe)
{
	return register_kprobe(probe);
}

#endif
