/* SPDX-License-Identifier: GPL-2.0 */
#ifndef MODEL_LINUX_SCHED_H
#define MODEL_LINUX_SCHED_H

#include <linux/fs.h>

/* no queue lists one */
struct task_struct {
	unsigned int __state;
	int on_rq;
	pid_t pid;
	unsigned long nvcsw;
};
#define TASK_INTERRUPTIBLE 1
#define TASK_NORMAL 3

#endif
