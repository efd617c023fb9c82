/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The algorithms of include/linux/list.h.  There, links that lockless readers
 * look at are written with WRITE_ONCE; here only fs/aio.c has such a reader
 * (list_empty_careful), so only what is compiled with MARKED_LISTS pays for it.
 */
#ifndef MODEL_LINUX_LIST_H
#define MODEL_LINUX_LIST_H

#include <linux/types.h>

#define LIST_POISON1		((struct list_head *)0x100)
#define LIST_POISON2		((struct list_head *)0x122)
#define LIST_HEAD_INIT(name)	{ &(name), &(name) }
#define LIST_HEAD(name)		struct list_head name = LIST_HEAD_INIT(name)

#ifdef MARKED_LISTS
#define LINK(to, value)		WRITE_ONCE(to, value)
/*
 * aio_complete_rw() looks by list_empty_careful() and frees without ctx_lock
 * what list_del_init(), not list_del_init_careful(), took off: by the memory
 * model nothing orders the callback's last loads before that free.  Processors
 * that keep loads before later stores do, and the model grants it.
 */
#define LINK_LAST(to, value)	smp_store_release(&(to), value)
#else
#define LINK(to, value)		((to) = (value))
#define LINK_LAST(to, value)	LINK(to, value)
#endif

static inline void INIT_LIST_HEAD(struct list_head *list)
{
	list->next = list;
	list->prev = list;
}

/* CONFIG_DEBUG_LIST: lib/list_debug.c __list_add_valid(), __list_del_entry_valid() */
static inline void __list_add(struct list_head *node, struct list_head *prev,
			      struct list_head *next, AT_WHERE)
{
	if (next->prev != prev || prev->next != next || node == prev || node == next)
		at_list_corrupt("list_add corruption", AT_PASS);
	next->prev = node;
	node->next = next;
	node->prev = prev;
	LINK(prev->next, node);
}
#define list_add(node, head) ({						\
	struct list_head *_head = (head);				\
	__list_add(node, _head, _head->next, AT_HERE); })
#define list_add_tail(node, head) ({					\
	struct list_head *_head = (head);				\
	__list_add(node, _head->prev, _head, AT_HERE); })

static inline void __list_del(struct list_head *entry, AT_WHERE)
{
	struct list_head *prev = entry->prev, *next = entry->next;

	if (next == LIST_POISON1 || prev == LIST_POISON2 ||
	    prev->next != entry || next->prev != entry)
		at_list_corrupt("list_del corruption", AT_PASS);
	next->prev = prev;
	LINK(prev->next, next);
}
#define list_del(entry) ({						\
	struct list_head *_entry = (entry);				\
	__list_del(_entry, AT_HERE);					\
	_entry->next = LIST_POISON1;					\
	_entry->prev = LIST_POISON2; })
#define list_del_init(entry) ({						\
	struct list_head *_entry = (entry);				\
	__list_del(_entry, AT_HERE);					\
	LINK(_entry->next, _entry);					\
	LINK_LAST(_entry->prev, _entry); })
#define list_move_tail(entry, head) ({					\
	struct list_head *_moved = (entry);				\
	__list_del(_moved, AT_HERE);					\
	list_add_tail(_moved, head); })

#define list_move(entry, head) ({					\
	struct list_head *_moved = (entry);				\
	__list_del(_moved, AT_HERE);					\
	list_add(_moved, head); })

static inline bool list_empty(const struct list_head *head)
{
	return head->next == head;
}
#define list_empty_careful(head) ({					\
	struct list_head *_careful = (head);				\
	struct list_head *_next = smp_load_acquire(&_careful->next);	\
	_next == _careful && _next == smp_load_acquire(&_careful->prev); })

static inline void __list_splice(struct list_head *list, struct list_head *prev,
				 struct list_head *next)
{
	struct list_head *first = list->next, *last = list->prev;

	first->prev = prev;
	prev->next = first;
	last->next = next;
	next->prev = last;
}
static inline void list_splice(struct list_head *list, struct list_head *head)
{
	if (!list_empty(list))
		__list_splice(list, head, head->next);
}
static inline void list_splice_tail(struct list_head *list, struct list_head *head)
{
	if (!list_empty(list))
		__list_splice(list, head->prev, head);
}
static inline void list_splice_init(struct list_head *list, struct list_head *head)
{
	list_splice(list, head);
	INIT_LIST_HEAD(list);
}
static inline void list_splice_tail_init(struct list_head *list, struct list_head *head)
{
	list_splice_tail(list, head);
	INIT_LIST_HEAD(list);
}

#define list_entry(ptr, type, member)	container_of(ptr, type, member)
#define list_first_entry(head, type, member) list_entry((head)->next, type, member)
#define list_first_entry_or_null(head, type, member) ({			\
	struct list_head *_first = (head)->next;			\
	_first != (head) ? list_entry(_first, type, member) : NULL; })
#define list_last_entry(head, type, member) list_entry((head)->prev, type, member)
#define list_is_last(node, head)	((node)->next == (head))
#define list_is_first(node, head)	((node)->prev == (head))
#define list_is_singular(head)		(!list_empty(head) && (head)->next == (head)->prev)
#define list_prev_entry(pos, member)	list_entry((pos)->member.prev, __typeof__(*(pos)), member)
#define list_next_entry(pos, member)	list_entry((pos)->member.next, __typeof__(*(pos)), member)
#define list_for_each_entry(pos, head, member)				\
	for (pos = list_first_entry(head, __typeof__(*pos), member);	\
	     &pos->member != (head); pos = list_next_entry(pos, member))
#define list_for_each_entry_reverse(pos, head, member)			\
	for (pos = list_last_entry(head, __typeof__(*pos), member);	\
	     &pos->member != (head); pos = list_prev_entry(pos, member))
#define list_for_each_entry_safe(pos, n, head, member)			\
	for (pos = list_first_entry(head, __typeof__(*pos), member),	\
	     n = list_next_entry(pos, member);				\
	     &pos->member != (head); pos = n, n = list_next_entry(n, member))

#endif
