/* SPDX-License-Identifier: GPL-2.0 */
#ifndef MODEL_LINUX_POLL_H
#define MODEL_LINUX_POLL_H

#include <linux/wait.h>

struct task_struct;

struct poll_table_entry {
	__poll_t key;
	struct wait_queue_entry wait;
};

/* no queue lists one */
struct poll_wqueues {
	struct task_struct *polling_task;
	int triggered;
	struct poll_table_entry inline_entries[1];
};

#endif
