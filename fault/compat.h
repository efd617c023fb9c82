/* SPDX-License-Identifier: GPL-2.0 */
/* What differs between the kernels from 5.10 on, for fault/ */
#ifndef AT_FAULT_COMPAT_H
#define AT_FAULT_COMPAT_H

#include <linux/atomic.h>
#include <linux/debugfs.h>
#include <linux/err.h>
#include <linux/fault-inject.h>
#include <linux/hrtimer.h>
#include <linux/irqflags.h>
#include <linux/kprobes.h>
#include <linux/mm.h>
#include <linux/ptrace.h>
#include <linux/sched.h>
#include <linux/version.h>

/* 6.3 made vma->vm_flags read-only. */
static inline void at_vm_flags_change(struct vm_area_struct *vma,
				      unsigned long set, unsigned long clear)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 3, 0)
	vm_flags_mod(vma, set, clear);
#else
	vma->vm_flags = (vma->vm_flags | set) & ~clear;
#endif
}

/* An instance lost its pointer to the probe in 5.14 (stable: 5.10.x kept it). */
static inline struct kretprobe *at_kretprobe_of(struct kretprobe_instance *instance)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(5, 11, 0)
	return get_kretprobe(instance);
#else
	return instance->rp;
#endif
}

/* Were interrupts off where the probe was met?  Its handler may have them off either way. */
static inline bool at_irqs_were_disabled(struct pt_regs *regs)
{
#ifdef CONFIG_X86
	return !(regs->flags & X86_EFLAGS_IF);
#else
	return irqs_disabled();
#endif
}

#ifdef CONFIG_FAULT_INJECTION
#define at_fault_attr fault_attr

static inline void at_fault_attr_init(struct fault_attr *attr)
{
	*attr = (struct fault_attr)FAULT_ATTR_INITIALIZER;
}

/* The kernel's own files, where it was built with them. */
static inline bool at_fault_attr_files(const char *name, struct dentry *parent,
				       struct fault_attr *attr,
				       struct dentry **dir)
{
	*dir = fault_create_debugfs_attr(name, parent, attr);
	return !IS_ERR_OR_NULL(*dir);
}
#else
/* The attributes of struct fault_attr that a rule uses, by the same names. */
struct at_fault_attr {
	unsigned long probability;
	unsigned long interval;
	atomic_t times;
	atomic_t space;
	unsigned long verbose;
	bool task_filter;
};

static inline void at_fault_attr_init(struct at_fault_attr *attr)
{
	*attr = (struct at_fault_attr){ .interval = 1 };
}

static inline bool at_fault_attr_files(const char *name, struct dentry *parent,
				       struct at_fault_attr *attr,
				       struct dentry **dir)
{
	return false;
}
#endif

/* hrtimer_setup() came in 6.13; hrtimer_init() and a public .function went. */
static inline void at_hrtimer_setup(struct hrtimer *timer,
				    enum hrtimer_restart (*function)(struct hrtimer *),
				    clockid_t clock, enum hrtimer_mode mode)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 13, 0)
	hrtimer_setup(timer, function, clock, mode);
#else
	hrtimer_init(timer, clock, mode);
	timer->function = function;
#endif
}

#endif /* AT_FAULT_COMPAT_H */
